"""Curation of a million documents on one machine: throughput compared with a small corpus, and peak memory.

    python -m benchmarks.scale DIRECTORY --documents 25000 1000000
    python -m benchmarks.scale DIRECTORY --documents 100000 1000000 --short

The documents are mixed from real text (`write_corpus` in benchmarks/documents.py): words, sentence lengths, scripts and
markup are real, hardly any sentence occurs twice, and one document in twenty is a near copy, so that the search for
duplicates has something to find. With `--short` they have 40 words, some 330 bytes, and eight in a hundred are copies,
so that what grows with their number is seen (`write_short_corpus`). The texts are those of SLM_SHARED_DATA where it is
set (Korean, English, code), else those that come with installed packages.

Each corpus is curated by `dagster job execute -j curate_job`, with a store and an instance of its own; `--make` leaves
Dagster out (`slm make curated_documents`). The seconds of the stages are wall time without Dagster's part.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import psutil

from benchmarks.documents import write_corpus, write_short_corpus
from benchmarks.measuring import ROOT, cpu_of_children

MAKE = ("-m", "pipeline.cli", "make", "curated_documents")
JOB = ("-m", "dagster", "job", "execute", "-m", "assets.definitions", "-j", "curate_job")
# Else most short documents are gone before the search for duplicates.
ALL_LENGTHS = "curation: {heuristics: {gopher: {min_words: 10, min_words_ko: 10}}}\n"


class Watch(threading.Thread):
    """Resident memory of the largest process of a tree, sampled: (time, bytes)."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.root, self.running = psutil.Process(pid), True
        self.samples: list[tuple[float, int]] = []

    def run(self) -> None:
        while self.running:
            with suppress(psutil.Error):
                used = [process.memory_info() for process in [self.root, *self.root.children(recursive=True)]]
                self.samples.append((time.time(), max(memory.rss - memory.shared for memory in used)))
            time.sleep(0.2)

    def peak(self, begun: float = 0, ended: float = math.inf) -> int:
        """The most between two times, in MiB."""
        return max((used >> 20 for at, used in self.samples if begun <= at <= ended), default=0)


def peaks(watch: Watch, manifests: list[Path]) -> dict[str, int]:
    """MiB of the largest process while each artifact was made: each follows the one before."""
    ended = sorted((path.stat().st_mtime, path.parts[-3]) for path in manifests)
    return {name: watch.peak(begun, end) for (begun, _), (end, name) in pairwise([(0.0, ""), *ended])}


def environment(folder: Path, name: str, corpus: Path, store: Path, further: str = "") -> dict[str, str]:
    """The environment that has `corpus` curated into `store`; its recipe and Dagster's instance are put in `folder`.

    further: lines of the recipe.
    """
    home = folder / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "dagster_home" / "dagster.yaml", home / "dagster.yaml")
    recipe = folder / f"{name}.yaml"
    recipe.write_text(
        f"name: {name}\nsources:\n  - {{name: mixed, kind: files, path: '{corpus}/*.parquet'}}\n"
        "execution: {executor: processes}\n" + further
    )
    places = {"SLM_DATA": str(store), "SLM_RECIPE": str(recipe), "DAGSTER_HOME": str(home)}
    return {**os.environ, **places, "SLM_TRACKING": "off"}


def curate(
    directory: Path, documents: int, command: tuple[str, ...], write: Callable[[Path, int], None]
) -> dict[str, object]:
    """Curate the corpus that `write` leaves in a new store; returns figures."""
    folder = directory / f"scale-{documents}"
    corpus, store = directory / f"corpus-{documents}", folder / "store"
    writer = get_context("spawn").Process(target=write, args=(corpus, documents))  # its memory and time do not count
    writer.start()
    writer.join()
    shutil.rmtree(folder, ignore_errors=True)
    given = environment(folder, "scale", corpus, store, ALL_LENGTHS if write is write_short_corpus else "")
    used, started = cpu_of_children(), time.monotonic()
    # A log file and no pipe: what the bars of two hours write would fill one that is read at the end.
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, *command], env=given, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )  # fmt: skip
    watch = Watch(process.pid)
    watch.start()
    process.wait()
    watch.running = False
    wall, cpu = time.monotonic() - started, cpu_of_children() - used
    if process.returncode:
        raise SystemExit(f"failed: see {log.name}")
    paths = sorted(store.glob("scale/*/*/manifest.json"))
    manifests = [json.loads(path.read_text()) for path in paths]
    return {
        "documents": documents,
        "cpu_seconds": round(cpu, 1),
        "wall_seconds": round(wall, 1),
        "documents_per_second": round(documents / wall, 1),
        "documents_per_cpu_second": round(documents / cpu, 1),
        "peak_mib_of_any_process": watch.peak(),
        "peak_mib_by_artifact": peaks(watch, paths),
        "stages_seconds": {manifest["asset"]: manifest["seconds"]["total"] for manifest in manifests},
        "text_mb": round(sum(path.stat().st_size for path in corpus.glob("*.parquet")) / 1e6),
    }


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--documents", type=int, nargs="+", default=[25_000, 1_000_000])
    parser.add_argument("--short", action="store_true", help="documents of 330 bytes, many of them copies")
    parser.add_argument("--make", action="store_true", help="without Dagster")
    return parser


def main() -> None:
    given = arguments().parse_args()
    for documents in given.documents:
        write = write_short_corpus if given.short else write_corpus
        figures = curate(given.directory.resolve(), documents, MAKE if given.make else JOB, write)
        print(json.dumps(figures, indent=1), flush=True)


if __name__ == "__main__":
    main()
