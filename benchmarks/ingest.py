"""Ingest from Parquet: CPU-seconds of each step, and end to end, in one run.

    nice python benchmarks/ingest.py TEXT... [--copies 20] [--folder DIR]

TEXT: Parquet files with a column `text`. Their documents are written out `copies` times over, each copy with a line of
its own in front, so that all documents differ; then the corpus is read into raw documents. Shown: the share of each
step, measured alone on the same rows, and what the whole took. With `--change`, one document is changed and the whole
is made once more.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.context import RunContext
from pipeline.ingest import fragments, raw_documents
from pipeline.ingest.files import FileSource
from pipeline.ingest.formats import read_parts
from pipeline.ingest.open_files import Part
from pipeline.ingest.records import Reading, Tally, tidy
from pipeline.store.store import Store
from pipeline.store.tables import write_table


def corpus(texts: list[str], copies: int, folder: Path) -> None:
    rows = pl.read_parquet(texts, columns=["text"]).with_row_index("row")
    for copy in range(copies):
        made = rows.select(
            pl.format("{}-{}", pl.lit(copy), "row").alias("id"),
            pl.format("copy {} {}\n{}", pl.lit(copy), "row", "text").alias("text"),
        )
        write_table(made, folder / f"{copy:04d}.parquet")


def cpu(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def steps(path: Path, source: FileSource, scratch: Path) -> None:
    """Each step alone, on one file."""
    tally = Tally()
    seconds: dict[str, float] = {}
    seconds["read Parquet"], frames = cpu(
        lambda: list(read_parts([Part.of_file(path, path.name)], source, Reading(scratch, tally)))
    )
    seconds["tidy"], tidied = cpu(lambda: [tidy(frame, None, None, tally) for frame in frames])
    text = pl.concat(tidied)["text"]
    size = text.str.len_bytes().sum() / 1e6
    seconds["normalise and hash"], documents = cpu(lambda: [fragments.documents_of(frame, "s") for frame in tidied])
    sorter = fragments.Sorter(scratch / "spill", 1)
    seconds["to buckets and back"], cut = cpu(
        lambda: (
            [sorter.add(frame) for frame in documents]
            and list(sorter.fragments(fragments.fragment_bits(sorter.text_bytes)))
        )
    )
    seconds["digest"], _ = cpu(lambda: [fragments.frame_digest(frame) for _, frame in cut])
    seconds["write Parquet"], _ = cpu(lambda: [write_table(frame, scratch / "x.parquet") for _, frame in cut])
    total = sum(seconds.values())
    print(f"| step, {size:.0f} MB | CPU-s | share | MB/cpu-s |\n|---|---|---|---|")
    for name, taken in [*seconds.items(), ("all", total)]:
        print(f"| {name} | {taken:.2f} | {taken / total:.0%} | {size / max(taken, 1e-9):,.0f} |")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("texts", nargs="+")
    arguments.add_argument("--copies", type=int, default=20)
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--change", action="store_true")
    given = arguments.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "text").mkdir(parents=True)
    corpus(given.texts, given.copies, folder / "text")
    source = FileSource(name="s", path=[str(folder / "text" / "*.parquet")])
    steps(sorted((folder / "text").iterdir())[0], source, folder)
    runs = ["first", *(["one document changed"] if given.change else [])]
    for run in runs:
        context = RunContext(Store(folder / "data", "bench"), lambda line: None)
        taken, artifact = cpu(lambda: raw_documents.make(context, {}, [source]))  # noqa: B023
        size = artifact.facts["sources"]["s"]["bytes"] / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        written = artifact.manifest["fragments"]["computed"]
        print(
            f"{run}: {artifact.counts['kept']:,} documents, {size:,.0f} MB, {written} of {len(artifact.fragments)} "
            f"fragments written: {taken:.1f} CPU-s, {size / taken:.0f} MB/cpu-s, peak memory {peak:,.0f} MB"
        )
        path = folder / "text" / "0000.parquet"
        changed = pl.read_parquet(path).with_columns(
            text=pl.when(pl.int_range(pl.len()) == 7).then(pl.col("text") + " changed").otherwise("text")
        )
        write_table(changed, path)
    if given.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
