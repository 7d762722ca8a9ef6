"""Near-duplicate removal on many documents: CPU seconds and memory of the stage alone, in one process and one thread.

    python -m benchmarks.dedup_scale 100000 1000000
    python -m benchmarks.dedup_scale 1000000 --short
    python -m benchmarks.dedup_scale 1000000 --short --stage sentences

The documents are mixed line by line from installed files; one in ten is an edited copy of another in its fragment. A
separate process makes them, so that this does not count towards the peak. `--short`: of 250 characters instead of 2 KB,
so that what grows with the number of documents is seen. `--stage sentences`: repeated sentences instead of duplicates.
Results: docs/results/deduplication.md.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.documents import installed_lines, mixed, short
from benchmarks.making import as_documents, context, quiet
from benchmarks.measuring import ONE_THREAD, cpu_of_all, output_of, program
from pipeline.curation.duplicates import near, repetition
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store

DOCUMENTS_OF_A_FRAGMENT = 16_000
COPIES = 0.1
RECIPE = "scale"
STAGES: dict[str, tuple[Callable[..., Artifact], Any]] = {
    "duplicates": (near.make, near.Settings()),
    "sentences": (repetition.make, repetition.Settings()),
}


def make_documents(number: int, folder: Path, mix: Callable[..., list[str]]) -> None:
    """Raw documents below `folder`."""
    lines = installed_lines()

    def table(part: int) -> pl.DataFrame:
        count = min(DOCUMENTS_OF_A_FRAGMENT, number - part * DOCUMENTS_OF_A_FRAGMENT)
        frame = pl.DataFrame({"text": mix(count, random.Random(part), lines, COPIES)})
        return as_documents(frame.with_columns(id=pl.format("{}", pl.int_range(pl.len())), source=pl.lit("mixed")))

    def build(draft: Draft) -> None:
        for part in range(-(-number // DOCUMENTS_OF_A_FRAGMENT)):
            draft.table(f"mixed-{part:04x}", {"part": part}, lambda part=part: table(part))  # type: ignore[misc]

    Store(folder, RECIPE).make(
        "raw_documents", code_version="1", settings={}, inputs={}, build=build, log=quiet
    )  # fmt: skip


class Watch(threading.Thread):
    """Resident memory of this process, all of it and what is anonymous, in MB, every 50 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[tuple[float, float]] = []
        self.running = True

    def run(self) -> None:
        while self.running:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            self.samples.append((int(status["VmRSS"].split()[0]) / 1024, int(status["RssAnon"].split()[0]) / 1024))
            time.sleep(0.05)


def measure(number: int, folder: Path, stage: str) -> None:
    """Print speed and memory of the stage on the documents below `folder`."""
    make, settings = STAGES[stage]
    store = Store(folder, RECIPE)
    raw = store.require("raw_documents")
    watch = Watch()
    watch.start()
    start, wall = cpu_of_all(), time.time()
    made = make(context(store), {"raw_documents": raw}, settings)
    spent, wall = cpu_of_all() - start, time.time() - wall
    watch.running = False
    watch.join()
    anonymous = max(sample[1] for sample in watch.samples)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{number:,} documents: {spent:.1f} CPU-s ({number / spent:,.0f} docs/cpu-s), {wall:.1f} s; "
          f"peak {peak:,.0f} MB, of it anonymous {anonymous:,.0f} MB (before: {watch.samples[0][0]:,.0f} MB); "
          f"{json.dumps(made.facts)} {json.dumps(made.counts['removed'])}")  # fmt: skip


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="+", type=int)
    parser.add_argument("--short", action="store_true", help="documents of 250 characters instead of 2 KB")
    parser.add_argument("--stage", choices=list(STAGES), default="duplicates")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    for number in given.documents:
        if given.make:
            make_documents(number, given.make, short if given.short else mixed)
        elif given.measure:
            measure(number, given.measure, given.stage)
        else:
            with tempfile.TemporaryDirectory() as folder:
                kind = ["--short"] if given.short else []
                output_of(program("dedup_scale", number, *kind, "--make", folder), ONE_THREAD)
                print(
                    output_of(program("dedup_scale", number, "--stage", given.stage, "--measure", folder), ONE_THREAD),
                    flush=True,
                )


if __name__ == "__main__":
    main()
