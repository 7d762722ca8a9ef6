"""Near-duplicate removal with 5 % new documents: CPU seconds compared with a run from scratch.

    python -m benchmarks.dedup_incremental 28600 200000

For each number of documents, the new ones are placed in three ways. Each run is a process of its own with one thread,
and its artifact is compared with that of the run from scratch. The 28,600 documents are those of `dedup_vs_peers`; any
other number is mixed line by line from installed files. Results: docs/results/deduplication.md.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.dedup_vs_peers import BANDS, ROWS, THRESHOLD
from benchmarks.documents import COPIES, PIECES, installed_lines, mixed, pieces_and_copies
from benchmarks.making import context, raw_documents
from benchmarks.measuring import ONE_THREAD, cpu_of_all, output_of, program
from pipeline.curation.duplicates import near
from pipeline.store.store import Store

# The source of the last 5 % of the documents: that of all others, so that they are spread over all of its fragments;
# one that comes after it; one that takes precedence over it, so that others are removed for its documents.
CASES = {"spread over the same source": "old", "a source after the others": "zz", "a source before the others": "new"}
DOCUMENTS_OF_A_FRAGMENT = 8192


def compare(number: int) -> None:
    """Print a line for each case."""
    with tempfile.TemporaryDirectory() as folder:
        pl.DataFrame({"id": [f"d{place}" for place in range(number)], "text": texts(number)}).write_parquet(
            Path(folder) / "given.parquet"
        )
        for case in CASES:
            full, expected = run(folder, case, "full")
            run(folder, case, "before")
            step, found = run(folder, case, "after")
            print(f"{number:,} documents, 5 % of them {case}: {step:.2f} of {full:.2f} CPU-s ({step / full:.1%}), "
                  f"the same bytes: {found == expected}", flush=True)  # fmt: skip


def texts(number: int) -> list[str]:
    if number == PIECES + COPIES:
        return pieces_and_copies()
    draw = random.Random(1)
    found = mixed(number, draw, installed_lines(), COPIES / (PIECES + COPIES))
    draw.shuffle(found)
    return found


def run(folder: str, case: str, part: str) -> tuple[float, str]:
    """CPU seconds and the artifact's digest of one run, in a process of its own."""
    seconds, digest = output_of(program("dedup_incremental", "--run", folder, case, part), ONE_THREAD).split()
    return float(seconds), digest


def measure(folder: Path, case: str, part: str) -> tuple[float, str]:
    """The run itself. part: `full` from nothing; `before` without the new documents, then `after` in the same store."""
    frame = pl.read_parquet(folder / "given.parquet")
    old = frame.height * 19 // 20
    frame = frame.with_columns(source=pl.Series(["old"] * old + [CASES[case]] * (frame.height - old)))
    settings = near.Settings(threshold=THRESHOLD, bands=(BANDS, ROWS))
    # Everything is imported, and every table of constants made, before time is taken.
    warm = Store(folder / f"warm {part} {case}", "all")
    for few in (200, 300):
        near.make(context(warm), {"raw_documents": raw_documents(warm, frame.tail(few), 100)}, settings)
    store = Store(folder / f"{'full' if part == 'full' else 'steps'} {case}", "all")
    rows = frame.head(old) if part == "before" else frame
    # As many fragments before and after: which documents share one is then the same.
    fragments = max(1, frame.height // DOCUMENTS_OF_A_FRAGMENT)
    raw = raw_documents(store, rows, -(-rows.filter(source="old").height // fragments))
    start = cpu_of_all()
    made = near.make(context(store), {"raw_documents": raw}, settings)
    return cpu_of_all() - start, made.digest


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=int, default=[PIECES + COPIES])
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.run:
        folder, case, part = given.run
        print(*measure(Path(folder), case, part))
    else:
        for number in given.documents:
            compare(number)


if __name__ == "__main__":
    main()
