"""Rows of files as they are: what tuning data and evaluation sets are read with.

They lie where sources may lie and are written as sources may be, so opening, unpacking, decoding, parsing and every
error are those of sources. What differs is what comes out: not records of text but each row whole, as a dict whose
values are as nested as the format holds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import BeforeValidator, Field

from pipeline.errors import UserError
from pipeline.ingest.archives import is_archive
from pipeline.ingest.cache import observed_or_remembered
from pipeline.ingest.files import InFiles, state
from pipeline.ingest.formats import parts_by_format, reading_version
from pipeline.ingest.http import OverHttp
from pipeline.ingest.huggingface import OnTheHub
from pipeline.ingest.json_files import LINES_ASKED, Row, json_objects, json_records, keys_of
from pipeline.ingest.open_files import Part, format_of, readable
from pipeline.ingest.records import Reading
from pipeline.ingest.row_format import USUAL, RowFormat, refuse_missing
from pipeline.ingest.source_kind import HOW_FETCHED, Log, Observed, Place
from pipeline.ingest.table_files import checked_text, csv_batches, is_text, parquet_batches, tsv_batches
from pipeline.ingest.text_files import read_lines
from pipeline.store.artifact import digest, file_digest

# Keys that tuning data and evaluation sets did not have in version 0.1: in a fingerprint where not as by default.
LATER = ("format", "records", "encoding", "invalid")
# Versions of reading rows, as READ_AS of sources.
ROWS_READ = {"archive": 2, "csv": 2}
FORMATS = ("parquet", "jsonl", "json", "csv", "tsv")


class Contents(NamedTuple):
    """What rows depend on, without where it lies, and what is needed to read exactly that."""

    digests: list[str]
    observed: Observed


class RowSet(RowFormat, Place):
    """A set of rows that a recipe names; where it lies is said by the class that this is joined with."""

    noun: ClassVar[str] = "set"
    text_lines: ClassVar[bool] = False  # whether a text file is a row a line (`{"text": line}`), or an error
    keep_malformed: ClassVar[bool] = False  # whether a broken line of JSON is a row (None), whatever `invalid` says

    def contents(self, cache: Path, log: Log = print) -> Contents:
        """What is there now. Raises UserError where nothing is, Unreachable where it cannot be seen and never was."""
        entry = cache / "sets" / digest([self.noun, self.name])[:16]
        settings = self.model_dump(mode="json", exclude=set(HOW_FETCHED))
        observed = observed_or_remembered(entry, self.label, settings, lambda: self.observe(cache, log), log)
        return Contents([observed["digest"]], observed)

    def rows(
        self, contents: Contents, reading: Reading, asked: list[str], known: Collection[str]
    ) -> Iterator[Row | None]:
        """All rows in order; None for a broken line of JSON if `keep_malformed`.

        asked: columns that the recipe names; UserError where a file does not have one. known: keys by which a row is
        recognised in a JSON file that holds several lists.
        """
        with self.opened(contents.observed, reading) as parts:
            for kind, part in parts_by_format(parts, self, reading.tally):
                rows = rows_of(kind, part, self, reading, known)
                yield from having(rows, asked, part, self, header=kind in ("csv", "tsv"))
        for confirm in reading.confirm:
            confirm()

    def read_as(self, name: str) -> list[str]:
        return reading_version(name, self.format, ROWS_READ)

    def later_settings(self) -> dict[str, Any]:
        """What a fingerprint has of how to read the rows."""
        fields, own = type(self).model_fields, self.model_dump(mode="json", include=set(LATER))
        return {key: value for key, value in own.items() if value != fields[key].default}


class RowsInFiles(RowSet, InFiles):
    def contents(self, cache: Path, log: Log = print) -> Contents:
        found = self.matching()
        states = [state(path) for _, path in found]
        digests = []
        for name, path in found:
            with readable(Part.of_file(path, name)):
                content, how = file_digest(Path(path)), self.read_as(name)
            digests.append(digest([content, *how]) if how else content)
        return Contents(digests, {"states": states})

    def matching(self) -> list[tuple[str, str]]:
        """(stable name, path) of all files, folder by folder."""
        return sorted(super().matching(), key=lambda file: file[0].split("/"))

    def in_folder(self, path: str) -> bool:
        kind = self.format or format_of(path)
        return is_archive(path) or kind in FORMATS or (kind == "text" and self.text_lines)


class RowsOverHttp(RowSet, OverHttp):
    pass


class RowsOnTheHub(RowSet, OnTheHub):
    pass


def files_by_default(data: Any) -> Any:
    """What a recipe says of a set; it lies in files where the recipe names no kind."""
    return {"kind": "files", **{k: v for k, v in data.items() if v is not None}} if isinstance(data, dict) else data


# Of the classes of sets that a recipe may name: which one it is, and what it is where the recipe does not say.
KIND = Field(discriminator="kind", description="where the rows are; left out: files")
FILES_BY_DEFAULT = BeforeValidator(files_by_default)


def rows_of(
    kind: str | None, part: Part, how: RowSet, reading: Reading, known: Collection[str]
) -> Iterator[Row | None]:
    """The rows of one file of the format `kind`."""
    tally = reading.tally
    if kind == "jsonl":
        yield from json_objects(part, how, tally, how.keep_malformed)
    elif kind == "json":
        yield from json_records(part, how, reading, known)
    elif kind == "parquet":
        yield from table_rows(parquet_batches(part, all_columns), part, how, reading)
    elif kind == "csv":
        yield from table_rows(csv_batches(part, how, tally, all_columns), part, how, reading, bytes_are_text=True)
    elif kind == "tsv":
        yield from table_rows(tsv_batches(part, how, tally, all_columns), part, how, reading, bytes_are_text=True)
    elif kind == "text" and how.text_lines:
        for line in read_lines(part, how, tally):
            yield {"text": line}
    else:
        raise UserError(
            f"{part.name} holds no rows that are read: name files of {', '.join(FORMATS)} in {how.label}, or say what "
            "they are with `format`."
        )


def all_columns(there: list[str]) -> list[str]:
    return list(dict.fromkeys(there))


def table_rows(
    batches: Iterable[pa.RecordBatch], part: Part, how: RowFormat, reading: Reading, bytes_are_text: bool = False
) -> Iterator[Row]:
    """The rows of a table. A row with text that is not UTF-8 is treated as `invalid` says."""
    done = 0
    for batch in batches:
        with readable(part):
            frame = decoded_rows(batch, part, how, reading, bytes_are_text, done)
        yield from frame.iter_rows(named=True)
        done += batch.num_rows


def decoded_rows(
    batch: pa.RecordBatch, part: Part, how: RowFormat, reading: Reading, bytes_are_text: bool, done: int
) -> pl.DataFrame:
    """The rows of a batch before which the part has `done` others, without those whose text is left out."""
    columns: dict[str, Any] = {}
    right = np.ones(batch.num_rows, bool)
    for place, (name, given) in enumerate(zip(batch.schema.names, batch.columns), 1):
        decodable = bytes_are_text or pa.types.is_string(given.type) or pa.types.is_large_string(given.type)
        label = f"column `{name}`" if name in USUAL else f"column {place}"
        columns[name] = checked_text(given, label, part, how, done) if is_text(given.type) and decodable else given
        right &= ~given.is_valid().to_numpy(False) | columns[name].is_valid().to_numpy(False)
    reading.tally.skip("invalid_encoding", int((~right).sum()))
    return pl.DataFrame(pl.from_arrow(pa.table(columns))).filter(right)


def having(
    rows: Iterator[Row | None], asked: list[str], part: Part, how: RowFormat, header: bool = False
) -> Iterator[Row | None]:
    """The same rows, if the first of them have the columns that are asked for. header: see `shown_names`."""
    first = list(islice(rows, LINES_ASKED))
    found = [row for row in first if row is not None]
    if found:
        refuse_missing(asked, keys_of(found, asked), part, how, header)
    yield from first
    yield from rows
