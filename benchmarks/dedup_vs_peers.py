"""Near-duplicate removal beside its peers: CPU seconds, what is left behind, what is removed unjustly.

    python benchmarks/dedup_vs_peers.py --peers /path/to/venv/bin/python [--rounds 3] [--without datatrove]
    python benchmarks/dedup_vs_peers.py --incremental 28600 200000
    python benchmarks/dedup_vs_peers.py --scale 100000 1000000

The other Python needs `pip install datatrove[processing] datasketch rensa spacy`; it is never the project's own. Every
system reads one Parquet file and writes Parquet, in a process of its own with one thread; systems take turns within a
round, since the machine's speed drifts. Counted is the CPU time of the process after its imports. 14 bands of 8 rows,
word 5-grams, Jaccard 0.7 where a system asks for a threshold.

The documents: 25,000 pieces of 2,300 characters of whatever source and documentation the running Python has installed,
and 3,600 edited copies of them. Similarities that are told are exact, over all pairs, and computed with no code of the
pipeline. Figures of a run are in docs/results/deduplication.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REAL, COPIES, LENGTH = 25_000, 3_600, 2_300
BANDS, ROWS, THRESHOLD = 14, 8, 0.7
ONE_THREAD = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


# -- documents ---------------------------------------------------------------------------------------------------------


def installed_documents(number: int) -> list[str]:
    """Pieces of the source and documentation files that are installed, in an order that is always the same."""
    folders = [Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("stdlib"))]
    pieces = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).parts
            if path.suffix not in (".py", ".pyi", ".md", ".rst", ".txt", ".html") or "site-packages" in inside:
                continue
            try:
                text = path.read_text(encoding="utf-8")[:40_000]
            except (UnicodeDecodeError, OSError):
                continue
            pieces += [text[start : start + LENGTH] for start in range(0, len(text), LENGTH)]
    pieces = [piece for piece in pieces if len(piece) > 200]
    random.Random(3).shuffle(pieces)
    assert len(pieces) >= number, f"{len(pieces)} pieces are installed"
    return pieces[:number]


def edited(text: str, draw: random.Random) -> str:
    """A copy as they are met with: some words changed, a frame around it, its end missing, or nothing at all."""
    kind = draw.randrange(4)
    if kind == 0:
        return text
    if kind == 1:
        return f"Home | News | About\nYou are here: Articles\n\n{text}\n\nAll rights reserved. Terms of use | Privacy"
    if kind == 2:
        return text[: int(len(text) * draw.uniform(0.6, 0.98))]
    words, share = text.split(" "), draw.choice([0.01, 0.02, 0.04, 0.08])
    return " ".join(draw.choice(words) if draw.random() < share else word for word in words)


def corpus(path: Path) -> list[str]:
    import polars as pl

    texts = installed_documents(REAL)
    draw = random.Random(5)
    texts += [edited(draw.choice(texts[:REAL]), draw) for _ in range(COPIES)]
    draw.shuffle(texts)
    frame = pl.DataFrame({"id": [f"d{number:07d}" for number in range(len(texts))], "text": texts})
    frame.write_parquet(path)
    return texts


# -- systems: each reads `given`, writes the ids of what it keeps to `out`, and returns CPU seconds -------------------


def cpu() -> float:
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + of_children.ru_utime + of_children.ru_stime


def ours(given: Path, out: Path) -> float:
    sys.path.extend([str(ROOT), str(ROOT / "benchmarks")])
    import polars as pl
    from quality_of_dedup import HERE, raw_documents

    from pipeline.curation.duplicates import near
    from pipeline.store.store import Store

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, "all")
        raw = raw_documents(store, pl.read_parquet(given).with_columns(source=pl.lit("installed")))
        settings = near.Settings(threshold=THRESHOLD, bands=(BANDS, ROWS))
        start = cpu()
        made = near.make(store, raw, None, settings, HERE, lambda line: None)
        seconds = cpu() - start
        kept = [
            pl.read_parquet(raw.table(name), columns=["source_id"]).filter(pl.read_parquet(made.table(name))["keep"])
            for name in raw.fragments
        ]
        pl.concat(kept).rename({"source_id": "id"}).write_parquet(out)
    return seconds


def datatrove(given: Path, out: Path, words: str = "as shipped") -> float:
    import pyarrow.parquet as pq
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    class Spaces:
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

    config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
    with tempfile.TemporaryDirectory() as folder:
        reader = ParquetReader(str(given.parent), glob_pattern=given.name, text_key="text", id_key="id")
        signature = MinhashDedupSignature(f"{folder}/signatures", config)
        if words == "spaces":
            signature.word_tokenizer = Spaces()
        steps = [
            ([reader, signature], 1),
            ([MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)], BANDS),
            ([MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config)], 1),
            ([reader, MinhashDedupFilter(f"{folder}/remove"), ParquetWriter(f"{folder}/kept")], 1),
        ]
        start = cpu()
        for number, (pipeline, tasks) in enumerate(steps):
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs{number}").run()
        seconds = cpu() - start
        pq.write_table(pq.read_table(f"{folder}/kept", columns=["id"]), out)
    return seconds


def shingles_of(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[place : place + 5]) for place in range(len(words) - 4)] or [" ".join(words)]


def read(given: Path) -> tuple[list[str], list[str]]:
    """Ids and texts, the longest first: what the other systems keep is what they meet first."""
    import pyarrow.parquet as pq

    table = pq.read_table(given)
    rows = sorted(zip(table["id"].to_pylist(), table["text"].to_pylist()), key=lambda row: -len(row[1]))
    return [row[0] for row in rows], [row[1] for row in rows]


def write(kept: list[str], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": kept}), out)


def datasketch(given: Path, out: Path) -> float:
    from datasketch import MinHash, MinHashLSH

    start = cpu()
    ids, texts = read(given)
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    kept = []
    for name, text in zip(ids, texts):
        sketch = MinHash(num_perm=BANDS * ROWS)
        sketch.update_batch([shingle.encode() for shingle in shingles_of(text)])
        if not index.query(sketch):
            kept.append(name)
            index.insert(name, sketch, check_duplication=False)
    write(kept, out)
    return cpu() - start


def rensa(given: Path, out: Path) -> float:
    from rensa import RMinHash, RMinHashDeduplicator

    start = cpu()
    ids, texts = read(given)
    sketches = RMinHash.from_token_sets([shingles_of(text) for text in texts], num_perm=BANDS * ROWS, seed=42)
    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=BANDS * ROWS, use_lsh=True, num_bands=BANDS)
    added = index.add_pairs(list(zip(ids, sketches)))
    write([name for name, new in zip(ids, added) if new], out)
    return cpu() - start


SYSTEMS = {
    "ours, verified": ours,
    "datatrove, as shipped": datatrove,
    "datatrove, words split at spaces": lambda given, out: datatrove(given, out, "spaces"),
    "datasketch MinHash + LSH": datasketch,
    "rensa": rensa,
}


# -- comparing ---------------------------------------------------------------------------------------------------------


def run(system: str, python: str, given: Path, out: Path) -> float:
    command = [python, str(Path(__file__).resolve()), "--one", system, str(given), str(out)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{system}:\n{done.stderr[-3000:]}")
    return float(done.stdout.strip().splitlines()[-1])


def compare(peers: str, rounds: int, without: list[str]) -> None:
    import polars as pl

    sys.path.extend([str(ROOT), str(ROOT / "benchmarks")])
    from quality_of_dedup import all_pairs

    systems = [name for name in SYSTEMS if not any(name.startswith(left_out) for left_out in without)]
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "given.parquet"
        texts = corpus(given)
        left, right, similarity = all_pairs(texts, THRESHOLD)
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        print(f"{len(texts):,} documents, {megabytes:.1f} MB; {len(left):,} pairs of {THRESHOLD} or more, "
              f"{(similarity >= 0.8).sum():,} of 0.8 or more")  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in systems}
        kept: dict[str, set[str]] = {}
        for turn in range(rounds):
            for name in systems:
                out = Path(folder) / "out.parquet"
                seconds[name].append(run(name, sys.executable if name.startswith("ours") else peers, given, out))
                kept[name] = set(pl.read_parquet(out)["id"])
                print(f"round {turn + 1}: {name}: {seconds[name][-1]:.2f} CPU-s", file=sys.stderr)
        names = [f"d{number:07d}" for number in range(len(texts))]
        mine = sorted(seconds[systems[0]])[rounds // 2]
        print(
            "| | CPU-s (all rounds) | docs/cpu-s | ours is faster by | removed | no kept document at 0.7 "
            "| both left of pairs at 0.7 | at 0.8 |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for name in systems:
            stays = [identity in kept[name] for identity in names]
            near_kept = set()
            both = both_high = 0
            for one, other, value in zip(left.tolist(), right.tolist(), similarity.tolist()):
                if stays[one] and stays[other]:
                    both += 1
                    both_high += value >= 0.8
                if stays[one]:
                    near_kept.add(other)
                if stays[other]:
                    near_kept.add(one)
            removed = [number for number in range(len(names)) if not stays[number]]
            unjust = sum(number not in near_kept for number in removed)
            middle = sorted(seconds[name])[rounds // 2]
            spread = ", ".join(f"{value:.2f}" for value in seconds[name])
            print(f"| {name} | {spread} | {len(texts) / middle:,.0f} | {middle / mine:.1f} | {len(removed):,} | "
                  f"{unjust:,} ({unjust / max(1, len(removed)):.0%}) | {both} | {both_high} |")  # fmt: skip


# -- incremental, and scale --------------------------------------------------------------------------------------------

# What the last 5 % of the documents are: spread over all fragments of the source, a source after the others, or one
# that takes precedence over them, so that others go for its documents.
CASES = {"spread over the same source": "old", "a source after the others": "zz", "a source before the others": "new"}
DOCUMENTS_OF_A_FRAGMENT = 8192


def mixed(number: int, draw: random.Random, lines: list[str], copies: float) -> list[str]:
    """Documents of 2 KB, each of six runs of lines of real ones; a share of them are edited copies of others."""
    texts: list[str] = []
    for _ in range(number):
        if texts and draw.random() < copies:
            texts.append(edited(texts[draw.randrange(len(texts))], draw))
            continue
        pieces: list[str] = []
        for _ in range(6):
            start = draw.randrange(len(lines))
            pieces += lines[start : start + 7]
        texts.append("\n".join(pieces)[:2048])
    return texts


def lines_of_real() -> list[str]:
    return [line for text in installed_documents(REAL) for line in text.splitlines() if len(line) > 20]


def of_this(*arguments: object) -> str:
    """What this program prints, run with other arguments in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout.strip()


def incremental(numbers: list[int]) -> None:
    """5 % new documents, each run in a process of its own."""
    import polars as pl

    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            given = Path(folder) / "given.parquet"
            if number == REAL + COPIES:
                texts = corpus(given)
            else:
                draw = random.Random(1)
                texts = mixed(number, draw, lines_of_real(), COPIES / (REAL + COPIES))
                draw.shuffle(texts)
            pl.DataFrame({"id": [f"d{place}" for place in range(number)], "text": texts}).write_parquet(given)
            for case in CASES:
                full, same = of_this("--step", folder, case, "full").split()
                of_this("--step", folder, case, "before")
                step, bytes_ = of_this("--step", folder, case, "after").split()
                print(f"{number:,} documents, 5 % of them {case}: {float(step):.2f} of {float(full):.2f} CPU-s "
                      f"({float(step) / float(full):.1%}), the same bytes: {same == bytes_}", flush=True)  # fmt: skip


def step(folder: Path, case: str, part: str) -> None:
    """Print CPU seconds and digest of one run. part: `full` from nothing, `before` and `after` in the same store."""
    sys.path.extend([str(ROOT), str(ROOT / "benchmarks")])
    import polars as pl
    from quality_of_dedup import HERE, raw_documents

    from pipeline.curation.duplicates import near
    from pipeline.store.store import Store

    frame = pl.read_parquet(folder / "given.parquet")
    old = frame.height * 19 // 20
    frame = frame.with_columns(source=pl.Series(["old"] * old + [CASES[case]] * (frame.height - old)))
    settings = near.Settings(threshold=THRESHOLD, bands=(BANDS, ROWS))
    # Everything is imported, and every table of constants made, before time is taken.
    warm = Store(folder / f"warm {part} {case}", "all")
    for few in (200, 300):
        near.make(warm, raw_documents(warm, frame.tail(few), 100), None, settings, HERE, lambda line: None)
    store = Store(folder / f"{'full' if part == 'full' else 'steps'} {case}", "all")
    rows = frame.head(old) if part == "before" else frame
    # As many fragments before and after: which documents share one is then the same.
    fragments = max(1, frame.height // DOCUMENTS_OF_A_FRAGMENT)
    raw = raw_documents(store, rows, -(-rows.filter(source="old").height // fragments))
    start = cpu()
    made = near.make(store, raw, None, settings, HERE, lambda line: None)
    print(cpu() - start, made.digest)


def scale(numbers: list[int]) -> None:
    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            of_this("--scale-documents", number, folder)  # elsewhere, so that their making is not in the peak
            print(of_this("--scale-one", number, folder), flush=True)


def scale_documents(number: int, folder: Path) -> None:
    """Raw documents as `mixed` makes them, one in ten an edited copy of another of its fragment."""
    sys.path.append(str(ROOT))
    import polars as pl
    import xxhash

    from pipeline.documents.document import DOCUMENT_SCHEMA
    from pipeline.store.store import Store

    lines = lines_of_real()
    per_fragment = 16_000

    def table(part: int) -> pl.DataFrame:
        texts = mixed(min(per_fragment, number - part * per_fragment), random.Random(part), lines, 0.1)
        ids = [xxhash.xxh3_128_hexdigest(" ".join(text.split()).encode()) for text in texts]
        rows = pl.DataFrame({"doc_id": ids, "text": texts, "source": "mixed", "source_id": ids})
        rows = rows.with_columns(pl.lit(None).alias(name) for name in DOCUMENT_SCHEMA if name not in rows.columns)
        return rows.select(pl.col(name).cast(kind) for name, kind in DOCUMENT_SCHEMA.items()).sort("doc_id")

    def build(draft) -> None:
        for part in range(-(-number // per_fragment)):
            draft.table(f"mixed-{part:04x}", {"part": part}, lambda part=part: table(part))

    store = Store(folder, "scale")
    store.make("raw_documents", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)


def scale_one(number: int, folder: Path) -> None:
    """Speed and memory of the stage alone."""
    import threading

    sys.path.append(str(ROOT))
    from pipeline.curation.duplicates import near
    from pipeline.documents.execution import ExecutionSettings
    from pipeline.store.store import Store

    store = Store(folder, "scale")
    raw = store.require("raw_documents")
    stop: list[bool] = []
    samples: list[tuple[int, int]] = []

    def watch() -> None:
        while not stop:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            samples.append((int(status["VmRSS"].split()[0]), int(status["RssAnon"].split()[0])))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, wall = cpu(), time.time()
    made = near.make(store, raw, None, near.Settings(), ExecutionSettings(executor="in_process"), lambda line: None)
    spent, wall = cpu() - start, time.time() - wall
    stop.append(True)
    watcher.join()
    peak, anonymous = (max(sample[which] for sample in samples) / 1024 for which in (0, 1))
    print(f"{number:,} documents: {spent:.1f} CPU-s ({number / spent:,.0f} docs/cpu-s), {wall:.1f} s; "
          f"peak {peak:,.0f} MB, of it anonymous {anonymous:,.0f} MB (before: {samples[0][0] / 1024:,.0f} MB); "
          f"{json.dumps(made.facts)} {json.dumps(made.counts['removed'])}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--incremental", nargs="*", type=int)
    parser.add_argument("--step", nargs=3)
    parser.add_argument("--scale", nargs="*", type=int)
    parser.add_argument("--scale-documents", nargs=2)
    parser.add_argument("--scale-one", nargs=2)
    parser.add_argument("--one", nargs=3)
    chosen = parser.parse_args()
    # Other benchmarks beside this one may bear the names of packages.
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]
    if chosen.one:
        print(SYSTEMS[chosen.one[0]](Path(chosen.one[1]), Path(chosen.one[2])))
    elif chosen.incremental is not None:
        incremental(chosen.incremental or [REAL + COPIES])
    elif chosen.step:
        step(Path(chosen.step[0]), *chosen.step[1:])
    elif chosen.scale_documents:
        scale_documents(int(chosen.scale_documents[0]), Path(chosen.scale_documents[1]))
    elif chosen.scale_one:
        scale_one(int(chosen.scale_one[0]), Path(chosen.scale_one[1]))
    elif chosen.scale:
        scale(chosen.scale)
    else:
        compare(chosen.peers, chosen.rounds, chosen.without)


if __name__ == "__main__":
    main()
