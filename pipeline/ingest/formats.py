"""From a source's files to frames of records, whatever their format and wrapping, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import polars as pl

from pipeline.ingest.archives import is_archive, members
from pipeline.ingest.extraction import PAGES_BYTES, main_texts
from pipeline.ingest.json_files import read_json, read_jsonl
from pipeline.ingest.open_files import Part, format_of
from pipeline.ingest.records import BATCH, Reading, Tally, record_frame
from pipeline.ingest.row_format import RecordFormat, RowFormat
from pipeline.ingest.source_kind import Observed, Place
from pipeline.ingest.table_files import read_csv, read_parquet, read_tsv
from pipeline.ingest.text_files import read_page, read_text
from pipeline.ingest.web_archives import read_web_archive

READ_RECORDS: dict[str, Callable[[Part, RecordFormat, Tally], Iterator[pl.DataFrame]]] = {
    "parquet": read_parquet, "jsonl": read_jsonl, "csv": read_csv, "tsv": read_tsv,
}  # fmt: skip


# Versions of reading, where above 1, by format or `archive`. They are part of what a source is: one that has such files
# is read again, since what was read of a broken one may have been less or other than what is there. What comes out the
# same makes nothing after it anew. 2: archives that are cut off, quotes in CSV that are never closed, lists as text in
# Parquet and records of web archives that are cut off are refused.
READ_AS = {"archive": 2, "csv": 2, "parquet": 2, "warc": 2, "wet": 2}


class FilesOfRecords(RecordFormat, Place):
    """A source whose text lies in files; where they lie is said by the class that this is joined with."""

    def read_as(self, name: str) -> list[str]:
        return reading_version(name, self.format, READ_AS)

    def read(self, observed: Observed, reading: Reading) -> Iterator[pl.DataFrame]:
        with self.opened(observed, reading) as parts:
            yield from read_parts(parts, self, reading)


def reading_version(name: str, format: str | None, versions: Mapping[str, int]) -> list[str]:
    """What stands in a digest for how a file is read; nothing while it is read in the first way. name: or a glob."""
    kind = "archive" if is_archive(name) else format or format_of(name) or ""
    return [f"read as {versions[kind]}"] if kind in versions else []


def parts_by_format(parts: Iterable[Part], how: RowFormat, tally: Tally) -> Iterator[tuple[str | None, Part]]:
    """(format, part) of all files and members of archives. The format is that of the recipe, else told by the name."""
    for whole in parts:
        for part in members(whole, tally, any_format=how.format is not None):
            yield how.format or format_of(part.name), part


def read_parts(parts: Iterable[Part], how: RecordFormat, reading: Reading) -> Iterator[pl.DataFrame]:
    """Frames of records of all parts, in order; texts of small files are gathered into one frame."""
    tally = reading.tally
    texts, pages = Gathered(), Gathered()
    for kind, part in parts_by_format(parts, how, tally):
        if kind is None or kind == "text":
            for name, text in read_text(part, how, tally):
                texts.add(name, text, part.url)
                if texts.bytes >= BATCH:
                    yield texts.frame()
        elif kind == "html":
            page = read_page(part, how, tally)
            if page is not None:
                pages.add(part.name, page, part.url)
                if pages.bytes >= PAGES_BYTES:
                    yield extracted(pages, reading)
        elif kind in ("warc", "wet"):
            yield from read_web_archive(part, how.lang, reading)
        elif kind == "json":
            yield from read_json(part, how, reading)
        else:
            yield from READ_RECORDS[kind](part, how, tally)
    if texts.bytes:
        yield texts.frame()
    if pages.bytes:
        yield extracted(pages, reading)


class Gathered:
    """Texts of files until there are enough of them for a frame."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str | None]] = []
        self.bytes = 0

    def add(self, name: str, text: str, url: str | None) -> None:
        self.rows.append((name, text, url))
        self.bytes += len(text) + 64

    def frame(self) -> pl.DataFrame:
        frame = pl.DataFrame(self.rows, schema=dict.fromkeys(("id", "text", "url"), pl.String), orient="row")
        self.rows, self.bytes = [], 0
        return record_frame(frame)


def extracted(pages: Gathered, reading: Reading) -> pl.DataFrame:
    """The main texts of gathered pages."""
    frame = pages.frame()
    texts = main_texts(frame["text"].to_list(), reading.execution)
    frame = frame.with_columns(text=pl.Series(texts, dtype=pl.String)).filter(pl.col("text").is_not_null())
    reading.tally.skip("no_text", len(texts) - frame.height)
    return frame
