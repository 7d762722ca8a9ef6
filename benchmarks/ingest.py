"""Reading Parquet into raw documents: CPU seconds of each step, and of the whole, in one run.

    nice python -m benchmarks.ingest TEXT... [--copies 20] [--folder DIR] [--change]

TEXT are Parquet files with a column `text`. Their documents are written `copies` times, each copy with a first line of
its own, so that all documents differ; the resulting corpus is then read into raw documents. The output shows the share
of each step, measured alone on the rows of one file, and the cost of the whole. With `--change`, one document is then
changed and the whole is made again.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.documents import megabytes
from benchmarks.making import quiet
from benchmarks.measuring import cpu_of
from pipeline.graph import RAW, Project
from pipeline.ingest import fragments
from pipeline.ingest.files import FileSource
from pipeline.ingest.formats import read_parts
from pipeline.ingest.open_files import Part
from pipeline.ingest.records import Reading, Tally, tidy
from pipeline.recipe import Recipe
from pipeline.store.store import Store
from pipeline.store.tables import write_table

SOURCE = "s"


def write_corpus(texts: list[str], copies: int, folder: Path) -> None:
    rows = pl.read_parquet(texts, columns=["text"]).with_row_index("row")
    for copy in range(copies):
        made = rows.select(
            pl.format("{}-{}", pl.lit(copy), "row").alias("id"),
            pl.format("copy {} {}\n{}", pl.lit(copy), "row", "text").alias("text"),
        )
        write_table(made, folder / f"{copy:04d}.parquet")


def change_one_document(path: Path) -> None:
    changed = pl.int_range(pl.len()) == 7
    text = pl.when(changed).then(pl.col("text") + " changed").otherwise("text")
    write_table(pl.read_parquet(path).with_columns(text=text), path)


def steps(path: Path, recipe: Recipe, scratch: Path) -> None:
    """Print what each step takes alone, on one file."""
    tally = Tally()
    parts, reading = [Part.of_file(path, path.name)], Reading(scratch, tally)
    source, seconds = recipe.sources[0], dict[str, float]()
    assert isinstance(source, FileSource)
    frames, seconds["read Parquet"] = cpu_of(lambda: list(read_parts(parts, source, reading)))
    tidied, seconds["tidy"] = cpu_of(lambda: [tidy(frame, None, None, tally) for frame in frames])
    documents, seconds["normalise and hash"] = cpu_of(
        lambda: [fragments.documents_of(frame, SOURCE) for frame in tidied]
    )

    def through_buckets() -> list[tuple[int, pl.DataFrame]]:
        sorter = fragments.Sorter(scratch / "spill", 1)
        for frame in documents:
            sorter.add(frame)
        return list(sorter.fragments(fragments.fragment_bits(sorter.text_bytes)))

    cut, seconds["to buckets and back"] = cpu_of(through_buckets)
    _, seconds["digest"] = cpu_of(lambda: [fragments.frame_digest(frame) for _, frame in cut])

    def write() -> None:
        for _, frame in cut:
            write_table(frame, scratch / "x.parquet")

    _, seconds["write Parquet"] = cpu_of(write)
    total = sum(seconds.values())
    size = sum(megabytes(frame["text"]) for frame in tidied)
    print(f"| step, {size:.0f} MB | CPU-s | share | MB/cpu-s |\n|---|---|---|---|")
    for name, taken in [*seconds.items(), ("all", total)]:
        print(f"| {name} | {taken:.2f} | {taken / total:.0%} | {size / max(taken, 1e-9):,.0f} |")


def whole(run: str, recipe: Recipe, folder: Path) -> None:
    """Make the raw documents and print what it took."""
    project = Project(recipe, Store(folder / "data", recipe.name), quiet)
    artifact, taken = cpu_of(lambda: project.make(RAW))
    size = artifact.facts["sources"][SOURCE]["bytes"] / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    written = artifact.manifest["fragments"]["computed"]
    print(
        f"{run}: {artifact.counts['kept']:,} documents, {size:,.0f} MB, {written} of {len(artifact.fragments)} "
        f"fragments written: {taken:.1f} CPU-s, {size / taken:.0f} MB/cpu-s, peak memory {peak:,.0f} MB"
    )


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where everything goes; emptied first, and kept")
    parser.add_argument("--change", action="store_true", help="then change a document and make it again")
    return parser


def main() -> None:
    given = arguments().parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    shutil.rmtree(folder, ignore_errors=True)
    corpus = folder / "text"
    corpus.mkdir(parents=True)
    write_corpus(given.texts, given.copies, corpus)
    source = {"name": SOURCE, "kind": "files", "path": f"{corpus}/*.parquet"}
    recipe = Recipe.model_validate({"name": "bench", "sources": [source]})
    steps(corpus / "0000.parquet", recipe, folder)
    whole("first", recipe, folder)
    if given.change:
        change_one_document(corpus / "0000.parquet")
        whole("one document changed", recipe, folder)
    if given.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
