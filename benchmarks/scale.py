"""Curation of a million documents on one machine: throughput against that of a small corpus, and the peak memory.

    python benchmarks/scale.py DIRECTORY --documents 25000 1000000

The documents are made from real ones: a window of some 330 words (about 2 KB) of a real text, in which a quarter of
the words are replaced by words drawn from anywhere in the texts of the same language. So words, sentence lengths,
scripts and markup are those of real text, while hardly a sentence occurs twice; one document in twenty is a copy of
another with a few words changed, so that the search for duplicates has something to find. The texts are those of
SLM_SHARED_DATA where it is set (Korean, English, code), else those that come with the installed packages.

Each corpus is curated by `dagster job execute -j curate_job` in a store and an instance of its own; `--make` leaves
Dagster out (`slm make curated_documents`). `seconds` of the stages are wall time, without Dagster's part.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil

WORDS = 330
REPLACED = 0.25
COPIES = 0.05
SHARD = 50_000
ROOT = Path(__file__).resolve().parent.parent
MAKE = ("-m", "pipeline.cli", "make", "curated_documents")
JOB = ("-m", "dagster", "job", "execute", "-m", "assets.definitions", "-j", "curate_job")


def real_texts() -> dict[str, list[str]]:
    """Texts by language."""
    shared = os.environ.get("SLM_SHARED_DATA")
    if shared:
        frames = [pl.read_parquet(path) for path in sorted(Path(shared, "text").glob("*.parquet"))]
        table = pl.concat(frames).filter(pl.col("lang").is_in(["ko", "en", "code"]))
        return {
            lang[0]: part["text"].to_list() for lang, part in sorted(table.group_by("lang"), key=lambda p: str(p[0]))
        }
    from pipeline.ingest.bundled import DATASETS

    chosen = {"en": "sotu", "code": "python-stdlib", "ko": "jupyterlab-ko"}
    return {lang: [str(row["text"]) for row in DATASETS[name][0]()] for lang, name in chosen.items()}


def write_corpus(directory: Path, documents: int, seed: int = 0) -> None:
    """Write `documents` documents as Parquet shards below `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    # A word keeps the white space behind it, so that lines and indentation stay what they are.
    pools = {
        lang: np.array(
            [word for text in texts for word in pl.Series([text]).str.extract_all(r"\S+\s*")[0]], dtype=object
        )
        for lang, texts in real_texts().items()
    }
    shares = {lang: len(pool) for lang, pool in pools.items()}
    langs, total = sorted(pools), sum(shares.values())
    for shard, first in enumerate(range(0, documents, SHARD)):
        path = directory / f"part-{shard:04d}.parquet"
        if path.exists():
            continue
        rng = np.random.default_rng([seed, shard])
        count = min(SHARD, documents - first)
        texts: list[str] = []
        languages = rng.choice(langs, count, p=[shares[lang] / total for lang in langs])
        for lang in languages:
            pool = pools[lang]
            if len(texts) > 100 and rng.random() < COPIES:
                words = np.array(texts[int(rng.integers(len(texts)))].split(" "), dtype=object)
                words[rng.integers(len(words), size=3)] = "changed"
                texts.append(" ".join(words))
                continue
            start = int(rng.integers(len(pool) - WORDS))
            words = pool[start : start + WORDS].copy()
            places = rng.random(WORDS) < REPLACED
            words[places] = pool[rng.integers(len(pool), size=int(places.sum()))]
            texts.append("".join(words))
        ids = [f"{first + row}" for row in range(count)]
        frame = pl.DataFrame({"id": ids, "text": texts, "lang": languages.tolist()})
        temporary = path.with_suffix(".tmp")
        frame.write_parquet(temporary)
        temporary.rename(path)


class Watch(threading.Thread):
    """Peak resident memory of the largest process of a tree, sampled."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.root, self.peak, self.running = psutil.Process(pid), 0, True

    def run(self) -> None:
        while self.running:
            try:
                for process in [self.root, *self.root.children(recursive=True)]:
                    self.peak = max(self.peak, process.memory_info().rss - process.memory_info().shared)
            except psutil.Error:
                pass
            time.sleep(0.2)


def children_cpu() -> float:
    """CPU seconds of all processes that this one started and that have ended, with their own children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def curate(directory: Path, documents: int, command: tuple[str, ...]) -> dict[str, object]:
    """Curate the corpus in a new store; returns figures."""
    corpus, store = directory / f"corpus-{documents}", directory / f"store-{documents}"
    write_corpus(corpus, documents)
    recipe = directory / f"scale-{documents}.yaml"
    recipe.write_text(
        f"name: scale\nsources:\n  - {{name: mixed, kind: files, path: '{corpus}/*.parquet'}}\n"
        "execution: {executor: processes}\n"
    )
    home = directory / f"dagster-{documents}"
    home.mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "dagster_home" / "dagster.yaml", home / "dagster.yaml")
    environment = {**os.environ, "SLM_DATA": str(store), "SLM_RECIPE": str(recipe), "DAGSTER_HOME": str(home)}
    environment["SLM_TRACKING"] = "off"
    used = children_cpu()
    started = time.monotonic()
    # A log file and no pipe: what the bars of two hours write would fill one that is read at the end.
    with open(directory / f"scale-{documents}.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    watch = Watch(process.pid)
    watch.start()
    process.wait()
    watch.running = False
    wall, cpu = time.monotonic() - started, children_cpu() - used
    if process.returncode:
        raise SystemExit(f"failed: see {log.name}")
    stages = {}
    for path in sorted(store.glob("scale/*/*/manifest.json")):
        manifest = json.loads(path.read_text())
        stages[manifest["asset"]] = manifest["seconds"]["total"]
    return {
        "documents": documents,
        "cpu_seconds": round(cpu, 1),
        "wall_seconds": round(wall, 1),
        "documents_per_second": round(documents / wall, 1),
        "documents_per_cpu_second": round(documents / cpu, 1),
        "peak_mib_of_any_process": round(watch.peak / 2**20),
        "stages_seconds": stages,
        "text_mb": round(sum(path.stat().st_size for path in corpus.glob("*.parquet")) / 1e6),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, nargs="+", default=[25_000, 1_000_000])
    parser.add_argument("--make", action="store_true", help="without Dagster")
    arguments = parser.parse_args()
    for count in arguments.documents:
        figures = curate(arguments.directory.resolve(), count, MAKE if arguments.make else JOB)
        print(json.dumps(figures, indent=1), flush=True)
