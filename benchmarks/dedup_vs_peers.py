"""Near-duplicate removal against other programs: CPU seconds, duplicates left behind, documents removed wrongly.

    python -m benchmarks.dedup_vs_peers --peers /path/to/venv/bin/python [--rounds 3] [--without datatrove]

The other Python needs `pip install datatrove[processing] datasketch rensa spacy`; never install these into the
project's own environment. Each system reads one Parquet file and writes Parquet, in a process of its own with one
thread. The systems take turns within a round, because the machine's speed drifts. What counts is the CPU time of the
process after its imports. All use 14 bands of 8 rows and word 5-grams, and a Jaccard similarity of 0.7 where a system
asks for a threshold.

The documents are 25,000 pieces of 2,300 characters from the source and documentation files installed with the running
Python, and 3,600 edited copies of them. The reported similarities are exact, cover all pairs, and are computed without
any code of the pipeline. Results: docs/results/deduplication.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# Everything else is imported where it is used: this file also runs under the peers' Python, which lacks most of it.
from benchmarks.measuring import ONE_THREAD, cpu_of_all, output_of, program

if TYPE_CHECKING:
    import numpy as np

BANDS, ROWS, THRESHOLD = 14, 8, 0.7


# -- systems: each reads `given`, writes the ids of what it keeps to `out`, and returns CPU seconds -------------------


def ours(given: Path, out: Path) -> float:
    import polars as pl

    from benchmarks.making import context, raw_documents
    from pipeline.curation.duplicates import near
    from pipeline.store.store import Store

    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder, "all")
        raw = raw_documents(store, pl.read_parquet(given).with_columns(source=pl.lit("installed")))
        settings = near.Settings(threshold=THRESHOLD, bands=(BANDS, ROWS))
        start = cpu_of_all()
        made = near.make(context(store), {"raw_documents": raw}, settings)
        seconds = cpu_of_all() - start
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
        start = cpu_of_all()
        for number, (pipeline, tasks) in enumerate(steps):
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs{number}").run()
        seconds = cpu_of_all() - start
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

    start = cpu_of_all()
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
    return cpu_of_all() - start


def rensa(given: Path, out: Path) -> float:
    from rensa import RMinHash, RMinHashDeduplicator

    start = cpu_of_all()
    ids, texts = read(given)
    sketches = RMinHash.from_token_sets([shingles_of(text) for text in texts], num_perm=BANDS * ROWS, seed=42)
    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=BANDS * ROWS, use_lsh=True, num_bands=BANDS)
    added = index.add_pairs(list(zip(ids, sketches)))
    write([name for name, new in zip(ids, added) if new], out)
    return cpu_of_all() - start


SYSTEMS: dict[str, Callable[[Path, Path], float]] = {
    "ours, verified": ours,
    "datatrove, as shipped": datatrove,
    "datatrove, words split at spaces": lambda given, out: datatrove(given, out, "spaces"),
    "datasketch MinHash + LSH": datasketch,
    "rensa": rensa,
}


# -- comparing ---------------------------------------------------------------------------------------------------------

COLUMNS = (
    "", "CPU-s (all rounds)", "docs/cpu-s", "ours is faster by", "removed", "no kept document at 0.7",
    "both left of pairs at 0.7", "at 0.8",
)  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """All pairs of documents, by their numbers, of a similarity of at least THRESHOLD."""

    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray

    def left_behind(self, stays: np.ndarray) -> np.ndarray:
        """Similarities of the pairs of which both documents stay."""
        return self.similarity[stays[self.left] & stays[self.right]]

    def unjust(self, stays: np.ndarray) -> int:
        """How many documents are removed that no document that stays is similar to."""
        import numpy as np

        near_kept = np.zeros(len(stays), dtype=bool)
        near_kept[self.right[stays[self.left]]] = True
        near_kept[self.left[stays[self.right]]] = True
        return int((~stays & ~near_kept).sum())


def run(system: str, python: str, given: Path, out: Path) -> float:
    """CPU seconds of one system, in a process of its own."""
    command = program("dedup_vs_peers", "--one", system, given, out, python=python)
    return float(output_of(command, ONE_THREAD | {"HF_HUB_OFFLINE": "1"}).splitlines()[-1])


def compare(peers: str, rounds: int, without: list[str]) -> None:
    """Run all systems in turns and print a row for each."""
    import polars as pl

    from benchmarks.documents import pieces_and_copies
    from benchmarks.quality_of_dedup import all_pairs

    systems = [name for name in SYSTEMS if not any(name.startswith(left_out) for left_out in without)]
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.parquet", Path(folder) / "out.parquet"
        texts = pieces_and_copies()
        names = pl.Series("id", [f"d{number:07d}" for number in range(len(texts))])
        pl.DataFrame({"id": names, "text": texts}).write_parquet(given)
        pairs = Pairs(*all_pairs(texts, THRESHOLD))
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        print(f"{len(texts):,} documents, {megabytes:.1f} MB; {len(pairs.left):,} pairs of {THRESHOLD} or more, "
              f"{(pairs.similarity >= 0.8).sum():,} of 0.8 or more")  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in systems}
        stays: dict[str, np.ndarray] = {}
        for turn in range(rounds):
            for name in systems:
                seconds[name].append(run(name, sys.executable if name.startswith("ours") else peers, given, out))
                stays[name] = names.is_in(pl.read_parquet(out)["id"].to_list()).to_numpy()
                print(f"round {turn + 1}: {name}: {seconds[name][-1]:.2f} CPU-s", file=sys.stderr)
    median = {name: sorted(seconds[name])[rounds // 2] for name in systems}
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for name in systems:
        removed, unjust = int((~stays[name]).sum()), pairs.unjust(stays[name])
        both = pairs.left_behind(stays[name])
        spread = ", ".join(f"{value:.2f}" for value in seconds[name])
        print(f"| {name} | {spread} | {len(texts) / median[name]:,.0f} | {median[name] / median[systems[0]]:.1f} | "
              f"{removed:,} | {unjust:,} ({unjust / max(1, removed):.0%}) | {len(both)} | {(both >= 0.8).sum()} |"
        )  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="a Python with the peers; default: this one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="beginnings of names of systems to leave out")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.one:
        system, source, out = given.one
        print(SYSTEMS[system](Path(source), Path(out)))
    else:
        compare(given.peers, given.rounds, given.without)


if __name__ == "__main__":
    main()
