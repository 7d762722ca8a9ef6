"""Tables: Parquet, CSV and TSV, read a batch of rows at a time and handled as columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.ingest.open_files import Part, readable, utf8_stream
from pipeline.ingest.records import BATCH, LONGEST_RECORD, Tally, record_frame
from pipeline.ingest.source import Source
from pipeline.ingest.text_files import decode

FIELDS = ("id", "lang", "license", "url")


def read_parquet(part: Part, source: Source, tally: Tally) -> Iterator[pl.DataFrame]:
    import pyarrow.parquet as pq

    with readable(part), part.open() as stream:
        # Without `pre_buffer`, which fetches a file whole before its first row; column by column in small reads.
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20)
        wanted = column_names(source, file.schema_arrow.names, part)
        rows = max(file.metadata.num_rows, 1)
        unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        batch_rows = max(1, min(65_536, BATCH * rows // max(unpacked, 1), source.limit or 65_536))
        done = 0
        for batch in file.iter_batches(
            batch_rows, columns=sorted({column for names in wanted.values() for column in names})
        ):
            yield table_records(batch, wanted, part, source, tally, done)
            done += batch.num_rows


def read_csv(part: Part, source: Source, tally: Tally, delimiter: str = ",") -> Iterator[pl.DataFrame]:
    """CSV as RFC 4180 has it; TSV without quoting (a tab in a text is written as something else there)."""
    import pyarrow.csv

    def ragged(row: Any) -> str:
        if source.invalid == "error":
            return "error"
        tally.skip("malformed")
        return "skip"

    with utf8_stream(part, source.encoding, source.invalid) as stream, readable(part):
        first = stream.peek(1 << 20).split(b"\n", 1)[0].decode(errors="replace").rstrip("\r")  # type: ignore[attr-defined]
        header = first.split("\t") if delimiter == "\t" else next(csv.reader([first]), [])
        if not header:
            return
        wanted = column_names(source, header, part)
        columns = sorted({column for names in wanted.values() for column in names})
        reader = pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(block_size=BATCH),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if delimiter == "," else False,
                newlines_in_values=delimiter == ",",
                invalid_row_handler=ragged,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.binary()), strings_can_be_null=False
            ),
        )
        done = 0
        for batch in reader:
            yield table_records(batch, wanted, part, source, tally, done)
            done += batch.num_rows


def read_tsv(part: Part, source: Source, tally: Tally) -> Iterator[pl.DataFrame]:
    return read_csv(part, source, tally, "\t")


def table_records(
    batch: pa.RecordBatch, wanted: dict[str, list[str]], part: Part, source: Source, tally: Tally, done: int
) -> pl.DataFrame:
    """Records of a batch of a table whose first row is row `done` of the part."""
    names = sorted({column for columns in wanted.values() for column in columns})
    given = {name: batch.column(name) for name in names}
    right = np.ones(batch.num_rows, bool)
    for name in wanted["text"]:
        if is_text(given[name].type):
            fits = pc.fill_null(pc.less_equal(pc.binary_length(given[name]), LONGEST_RECORD), True)
            right &= fits.to_numpy(zero_copy_only=False)
            given[name] = given[name] if right.all() else pc.if_else(fits, given[name], None)
    tally.skip("too_long", int((~right).sum()))
    checked = {name: checked_text(given[name], name, part, source, done) for name in names}
    frame = pl.DataFrame(pl.from_arrow(pa.table(checked))).with_columns(pl.col(pl.List(pl.String)).list.join(" OR "))
    for name in names:
        if frame[name].dtype.is_nested():
            raise UserError(f"{part.name}: column `{name}` holds no text but {frame[name].dtype}: name another one.")
    fit = int(right.sum())
    for name in wanted["text"]:  # what is null now and was not before could not be read (`invalid: skip`)
        right &= ~(given[name].is_valid().to_numpy(zero_copy_only=False) & frame[name].is_null().to_numpy())
    tally.skip("invalid_encoding", fit - int(right.sum()))
    rows = counted_from(done + 1, batch.num_rows)
    return records_of(frame.with_columns(pl.all().cast(pl.String)).filter(right), wanted, part, rows.filter(right))


def checked_text(column: pa.Array, name: str, part: Part, source: Source, done: int) -> pa.Array:
    """A column whose text is certainly UTF-8; what is not is an error, null (`skip`) or U+FFFD."""
    if not is_text(column.type):
        return column
    large = column.cast(pa.large_binary())
    try:
        return large.cast(pa.large_string())
    except pa.ArrowInvalid:
        where = f"column `{name}` of row"
        return pa.array(
            [
                None if raw is None else decode(raw, part, source.invalid, Tally(), where, done + row)
                for row, raw in enumerate(large.to_pylist(), 1)
            ],
            pa.large_string(),
        )


def is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def records_of(frame: pl.DataFrame, wanted: dict[str, list[str]], part: Part, rows: pl.Series) -> pl.DataFrame:
    """Records from a frame of text columns; one without an id is called by its part and its row, counted from 1."""
    texts = wanted["text"]
    text = pl.col(texts[0]) if len(texts) == 1 else pl.concat_str(texts, separator="\n\n", ignore_nulls=True)
    called = pl.format("{}#{}", pl.lit(part.name), pl.lit(rows))
    made = {"text": text, "id": called}
    made |= {field: pl.col(wanted[field][0]) for field in FIELDS if field in wanted}
    if "id" in wanted:
        made["id"] = pl.coalesce(made["id"], called)
    if part.url is not None:
        made["url"] = pl.coalesce(made.get("url"), pl.lit(part.url))
    return record_frame(frame.select(expression.alias(name) for name, expression in made.items()))


def counted_from(first: int, count: int) -> pl.Series:
    return pl.int_range(first, first + count, eager=True)


def column_names(source: Source, there: Sequence[str], part: Part, all_seen: bool = True) -> dict[str, list[str]]:
    """Which of the columns that are there hold what; a UserError where one that the recipe names is missing.

    all_seen: false where later records may have keys that are not among these.
    """
    wanted = {"text": source.columns.text_columns}
    for name in FIELDS:
        given = getattr(source.columns, name)
        if given is not None:
            wanted[name] = [given]
        elif name in there or not all_seen:
            wanted[name] = [name]
    asked = [*source.columns.text_columns, *(getattr(source.columns, name) for name in FIELDS)]
    missing = [column for column in asked if column is not None and column not in there]
    if missing:
        near = get_close_matches(missing[0], there, n=1)
        hint = f"perhaps `{near[0]}`" if near else f"there are {', '.join(there[:20])}"
        raise UserError(f"{part.name} has no column `{missing[0]}` ({hint}): mend `columns` of source `{source.name}`.")
    return wanted
