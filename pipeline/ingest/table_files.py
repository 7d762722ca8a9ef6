"""Tables: Parquet, CSV and TSV, read a batch of rows at a time and handled as columns."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError
from pipeline.ingest.csv_blocks import first_record, lines_in, record_blocks, records_in
from pipeline.ingest.open_files import Damaged, Part, readable, utf8_stream
from pipeline.ingest.records import BATCH, LONGEST_RECORD, Tally, record_frame
from pipeline.ingest.row_format import RecordFormat, RowFormat, refuse_missing
from pipeline.ingest.text_files import decode, line_blocks, refuse_old_mac

FIELDS = ("id", "lang", "license", "url")
# The columns to read of those that a file has.
Choose = Callable[[list[str]], Sequence[str]]


# -- batches of columns ------------------------------------------------------------------------------------------------


def parquet_batches(part: Part, choose: Choose, most_rows: int | None = None) -> Iterator[pa.RecordBatch]:
    """Batches of the chosen columns, each of about BATCH bytes and at most `most_rows` rows."""
    import pyarrow.parquet as pq

    with readable(part), part.open() as stream:
        # Without `pre_buffer`, which fetches a file whole before its first row; column by column in small reads.
        file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True)
        columns = list(choose(file.schema_arrow.names))
        refuse_twice(columns, file.schema_arrow.names, part)
        rows = max(file.metadata.num_rows, 1)
        unpacked = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        batch_rows = max(1, min(65_536, BATCH * rows // max(unpacked, 1), most_rows or 65_536))
        read = 0
        for batch in file.iter_batches(batch_rows, columns=columns):
            read += batch.num_rows
            yield batch
        if columns and read != file.metadata.num_rows:
            raise Damaged(f"it says that it has {file.metadata.num_rows:,} rows and has {read:,}")


def refuse_twice(columns: Sequence[str], there: Sequence[str], part: Part) -> None:
    """UserError where one of the columns that are read stands in a file twice: nothing tells which is meant."""
    counted = Counter(there)
    twice = next((name for name in columns if counted[name] > 1), None)
    if twice is not None:
        places = " and ".join(str(place) for place, name in enumerate(there, 1) if name == twice)
        raise UserError(f"{part.name}: columns {places} have the same name: rename all but the one to read.")


def csv_batches(part: Part, how: RowFormat, tally: Tally, choose: Choose) -> Iterator[pa.RecordBatch]:
    """Batches of the chosen columns of CSV as RFC 4180 has it, as bytes. Rows of too many or few fields: `invalid`."""
    header: list[str] = []
    columns: list[str] = []
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        for block, line in record_blocks(stream):
            if not header:
                bare = block.lstrip(b"\r\n")
                line += lines_in(block, len(block) - len(bare))
                end = first_record(bare)
                header = next(csv.reader([bare[:end].decode(errors="replace").rstrip("\r\n")]), [])
                line, block = line + lines_in(bare, end), bare[end:]
                columns = list(choose(header))
            if block.strip(b"\r\n"):
                yield csv_batch(block, line, unique(header), columns, (part, how, tally))


def csv_batch(
    block: bytes, line: int, names: list[str], columns: list[str], reading: tuple[Part, RowFormat, Tally]
) -> pa.RecordBatch:
    """The chosen columns of whole records, of which the first stands in line `line`."""
    import pyarrow.csv

    part, how, tally = reading
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=ragged(how, tally)),
            convert_options=as_bytes(columns),
        )
    except pa.ArrowInvalid:
        for at, fields in records_in(block):
            if fields != len(names):
                raise wrong_fields(part, how, line + at, fields, len(names)) from None
        raise
    return one_batch(table)


def one_batch(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], table.schema)


def wrong_fields(part: Part, how: RowFormat, line: int, fields: int, expected: int) -> UserError:
    return UserError(
        f"{part.name}: line {line:,} has {fields:,} fields and the header {expected:,}: fix it, or say `invalid: skip` "
        f"in {how.label} to leave such rows out."
    )


def tsv_batches(part: Part, how: RowFormat, tally: Tally, choose: Choose) -> Iterator[pa.RecordBatch]:
    """Batches of the chosen columns of TSV, as bytes: a row a line, a field between tabs, nothing is quoted.

    Each line that is not empty is a row or is refused, whatever else it holds: the rows of each block are counted.
    """
    header: list[str] = []
    columns: list[str] = []
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        for block, line in line_blocks(stream, tally):
            refuse_old_mac(block, part)
            raw = without_blank_lines(block)
            if raw and not header:
                first, _, raw = raw.partition(b"\n")
                header = first.decode(errors="replace").rstrip("\r").split("\t")
                columns = list(choose(header))
            if not raw:
                continue
            try:
                yield tsv_batch(raw, unique(header), columns, how, tally)
            except pa.ArrowInvalid:
                for at, row in enumerate(block.split(b"\n")):
                    if row.rstrip(b"\r") and row.count(b"\t") + 1 != len(header):
                        raise wrong_fields(part, how, line + at, row.count(b"\t") + 1, len(header)) from None
                raise


def without_blank_lines(block: bytes) -> bytes:
    """The lines that are not blank, each ended by a line feed alone, but for the last."""
    raw = block.replace(b"\r\n", b"\n").strip(b"\n")
    while b"\n\n" in raw:
        raw = raw.replace(b"\n\n", b"\n")
    return raw


def tsv_batch(raw: bytes, names: list[str], columns: list[str], how: RowFormat, tally: Tally) -> pa.RecordBatch:
    """The chosen columns of lines without blank ones. A row of too many or few fields is ArrowInvalid, or counted."""
    import pyarrow.csv

    if b"\r" in raw:  # Arrow would end a line there
        return tsv_batch_by_hand(raw, names, columns, how, tally)
    refused = Tally()
    table = pyarrow.csv.read_csv(
        pa.BufferReader(raw),
        read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(raw) + 1),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter="\t", quote_char=False, invalid_row_handler=ragged(how, refused)
        ),
        convert_options=as_bytes(columns),
    )
    tally.skip("malformed", refused.skipped.total())
    assert table.num_rows + refused.skipped.total() == raw.count(b"\n") + 1, "a line of TSV was lost"
    return one_batch(table)


def tsv_batch_by_hand(raw: bytes, names: list[str], columns: list[str], how: RowFormat, tally: Tally) -> pa.RecordBatch:
    """As `tsv_batch`, of lines in which carriage returns are part of the text."""
    kept = []
    for line in raw.split(b"\n"):
        row = line.split(b"\t")
        if len(row) == len(names):
            kept.append(row)
        elif how.invalid == "error":
            raise pa.ArrowInvalid("a row of too many or few fields")
        else:
            tally.skip("malformed")
    places = [names.index(column) for column in columns]
    return pa.record_batch([pa.array([row[place] for row in kept], pa.binary()) for place in places], names=columns)


def unique(header: Sequence[str]) -> list[str]:
    """Names of columns, in which a repeated one is not called like the first any more: the first is the one read."""
    seen: set[str] = set()
    names = []
    for place, name in enumerate(header):
        names.append(f"{name}\0{place}" if name in seen else name)
        seen.add(name)
    return names


def ragged(how: RowFormat, tally: Tally) -> Callable[[Any], str]:
    """What to do with a row of too many or few fields."""

    def handle(row: Any) -> str:
        if how.invalid == "error":
            return "error"
        tally.skip("malformed")
        return "skip"

    return handle


def as_bytes(columns: list[str]) -> Any:
    import pyarrow.csv

    return pyarrow.csv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.binary()), strings_can_be_null=False
    )


# -- records of text ---------------------------------------------------------------------------------------------------


def read_parquet(part: Part, how: RecordFormat, tally: Tally) -> Iterator[pl.DataFrame]:
    choose = ChosenColumns(how, part, header=False)
    yield from records_of_batches(parquet_batches(part, choose, how.limit), choose, tally)


def read_csv(part: Part, how: RecordFormat, tally: Tally) -> Iterator[pl.DataFrame]:
    choose = ChosenColumns(how, part, header=True)
    yield from records_of_batches(csv_batches(part, how, tally, choose), choose, tally)


def read_tsv(part: Part, how: RecordFormat, tally: Tally) -> Iterator[pl.DataFrame]:
    choose = ChosenColumns(how, part, header=True)
    yield from records_of_batches(tsv_batches(part, how, tally, choose), choose, tally)


class ChosenColumns:
    """The columns that a source reads of a table; known (`wanted`: field -> columns) once the header was seen."""

    def __init__(self, how: RecordFormat, part: Part, header: bool):
        self.how, self.part, self.header = how, part, header
        self.wanted: dict[str, list[str]] = {}

    def __call__(self, there: list[str]) -> list[str]:
        self.wanted = column_names(self.how, there, self.part, header=self.header)
        refuse_twice(self.wanted["text"], there, self.part)
        return columns_of(self.wanted)


def records_of_batches(
    batches: Iterator[pa.RecordBatch], chosen: ChosenColumns, tally: Tally
) -> Iterator[pl.DataFrame]:
    done = 0
    for batch in batches:
        with readable(chosen.part):
            records = table_records(batch, chosen.wanted, chosen.part, chosen.how, tally, done)
        yield records
        done += batch.num_rows


def columns_of(wanted: dict[str, list[str]]) -> list[str]:
    return sorted({column for columns in wanted.values() for column in columns})


def table_records(
    batch: pa.RecordBatch, wanted: dict[str, list[str]], part: Part, how: RowFormat, tally: Tally, done: int
) -> pl.DataFrame:
    """Records of a batch of a table whose first row is row `done` of the part."""
    names = columns_of(wanted)
    given = {name: batch.column(name) for name in names}
    right = np.ones(batch.num_rows, bool)
    for name in wanted["text"]:
        if is_text(given[name].type):
            fits = pc.fill_null(pc.less_equal(pc.binary_length(given[name]), LONGEST_RECORD), True)
            right &= fits.to_numpy(zero_copy_only=False)
            given[name] = given[name] if right.all() else pc.if_else(fits, given[name], None)
    tally.skip("too_long", int((~right).sum()))
    for name in names:
        kind = given[name].type
        if not is_written_out(kind) and (name in wanted["text"] or not pa.types.is_nested(kind)):
            called = "lists or objects" if pa.types.is_nested(kind) else str(kind)
            raise UserError(f"{part.name}: column `{name}` holds no text but {called}: name another one.")
    checked = {name: checked_text(given[name], f"column `{name}`", part, how, done) for name in names}
    # Of what is no text, a list is of licences: any of them may be chosen.
    frame = pl.DataFrame(pl.from_arrow(pa.table(checked))).with_columns(pl.col(pl.List(pl.String)).list.join(" OR "))
    for name in names:
        if frame[name].dtype.is_nested():
            raise UserError(f"{part.name}: column `{name}` holds no text but lists or objects: name another one.")
    fit = int(right.sum())
    for name in wanted["text"]:  # what is null now and was not before could not be read (`invalid: skip`)
        right &= ~(given[name].is_valid().to_numpy(zero_copy_only=False) & frame[name].is_null().to_numpy())
    tally.skip("invalid_encoding", fit - int(right.sum()))
    rows = counted_from(done + 1, batch.num_rows)
    return records_of(frame.with_columns(pl.all().cast(pl.String)).filter(right), wanted, part, rows.filter(right))


def checked_text(column: pa.Array, label: str, part: Part, how: RowFormat, done: int) -> pa.Array:
    """A column whose text is certainly UTF-8; what is not is an error, null (`skip`) or U+FFFD.

    label: how an error calls the column. done: rows of the part before these.
    """
    if not is_text(column.type):
        return column
    large = column.cast(pa.large_binary())
    try:
        return large.cast(pa.large_string())
    except pa.ArrowInvalid:
        where = f"{label} of row"
        return pa.array(
            [
                None if raw is None else decode(raw, part, how.invalid, Tally(), where, done + row)
                for row, raw in enumerate(large.to_pylist(), 1)
            ],
            pa.large_string(),
        )


def is_written_out(kind: pa.DataType) -> bool:
    """Whether values of a type are text, or can be written as it."""
    if pa.types.is_dictionary(kind):
        return is_written_out(kind.value_type)
    known = (
        is_text, pa.types.is_string_view, pa.types.is_null, pa.types.is_boolean, pa.types.is_integer,
        pa.types.is_floating, pa.types.is_decimal128, pa.types.is_date, pa.types.is_timestamp, pa.types.is_time,
    )  # fmt: skip
    return any(check(kind) for check in known)


def is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def records_of(frame: pl.DataFrame, wanted: dict[str, list[str]], part: Part, rows: pl.Series) -> pl.DataFrame:
    """Records from a frame of text columns; one without an id is named by its part and its row, counted from 1."""
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


def column_names(
    how: RecordFormat, there: list[str], part: Part, all_seen: bool = True, header: bool = False
) -> dict[str, list[str]]:
    """Which of the columns that are there hold what; a UserError where one that the recipe names is missing.

    all_seen: false where later records may have keys that are not among these. header: whether the names are a first
    row, which could be data.
    """
    wanted = {"text": how.columns.text_columns}
    for name in FIELDS:
        given = getattr(how.columns, name)
        if given is not None:
            wanted[name] = [given]
        elif name in there or not all_seen:
            wanted[name] = [name]
    named = [getattr(how.columns, name) for name in FIELDS]
    asked = [*how.columns.text_columns, *(name for name in named if name is not None)]
    refuse_missing(asked, there, part, how, header)
    return wanted
