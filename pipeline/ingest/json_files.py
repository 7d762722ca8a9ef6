"""JSON: an object a line, or one value a file.

Lines are parsed by Polars as whole blocks. Only a block in which something is wrong, or whose text lies in nested
objects, is gone through line by line, to name the line or to leave it out.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.ingest.json_values import NotJson, parsed, without_halves
from pipeline.ingest.open_files import Part, readable, utf8_stream
from pipeline.ingest.records import Reading, Tally
from pipeline.ingest.row_format import RecordFormat, RowFormat, is_plain, shown_names
from pipeline.ingest.table_files import column_names, columns_of, counted_from, records_of
from pipeline.ingest.text_files import decode, line_blocks

Row = dict[str, Any]

# A JSON file is one value, so it is read whole.
LONGEST_JSON_FILE = 512 * 2**20
# Records of JSON may each have other keys: this many are looked at before a column counts as missing.
LINES_ASKED = 100


# -- JSON lines --------------------------------------------------------------------------------------------------------


def read_jsonl(part: Part, how: RecordFormat, tally: Tally) -> Iterator[pl.DataFrame]:
    """Frames of records of the objects of a file, one a line."""
    wanted: dict[str, list[str]] | None = None
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        for block, first_line in line_blocks(stream, tally):
            wanted = wanted or columns_of_block(block, how, part)
            if wanted is not None:
                yield records_of_block(block, first_line, wanted, part, how, tally)
            else:  # nothing but blank or broken lines so far: count or refuse them
                for _ in json_lines(block, first_line, part, how, tally):
                    pass


def json_objects(part: Part, how: RowFormat, tally: Tally, keep_malformed: bool = False) -> Iterator[Row | None]:
    """The objects of a file, one a line, as they are.

    keep_malformed: a line that is no JSON object comes as None, whatever `invalid` says.
    """
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        for block, first_line in line_blocks(stream, tally):
            for _, record in json_lines(block, first_line, part, how, tally, keep_malformed):
                yield record


def columns_of_block(block: bytes, how: RecordFormat, part: Part) -> dict[str, list[str]] | None:
    """The keys to read, as the block's first lines have them; None where no line is a JSON object."""
    found: list[Row] = []
    for line in io.BytesIO(block):
        if len(found) == LINES_ASKED:
            break
        if line.strip():
            with suppress(NotJson):
                record = parsed(line.decode(errors="replace"), keys=())
                if isinstance(record, dict):
                    found.append(record)
    if not found:
        return None
    return column_names(how, keys_of(found, how.columns.text_columns), part, all_seen=False)


def keys_of(records: Sequence[Row], wanted: Sequence[str]) -> list[str]:
    """The keys of some records, and those of `a.b` that lead into nested objects."""
    keys = dict.fromkeys(key for record in records for key in record)
    inner = [name for name in wanted if "." in name and any(nested(record, name) is not None for record in records)]
    return [*keys, *inner]


def nested(record: Any, name: str) -> Any:
    """The value at the key `name`, or at `a`, then `b` for `a.b`; lists on the way are joined line by line."""
    if isinstance(record, list):
        found = [value for value in (nested(item, name) for item in record) if value is not None]
        return "\n".join(map(as_text, found)) if found else None
    if not isinstance(record, dict):
        return None
    if name in record:
        return record[name]
    head, dot, tail = name.partition(".")
    return nested(record.get(head), tail) if dot else None


def as_text(value: Any) -> str:
    return without_halves(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def records_of_block(
    block: bytes, first_line: int, wanted: dict[str, list[str]], part: Part, how: RowFormat, tally: Tally
) -> pl.DataFrame:
    columns = columns_of(wanted)
    # The fast way knows no nested keys, and blank lines vanish in it, and with them the numbers of lines.
    if not any("." in column for column in columns):
        try:
            frame = pl.read_ndjson(io.BytesIO(block), schema=dict.fromkeys(columns, pl.String))
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            if (
                frame.height == lines
                and not any_twice(block, frame)
                and not frame.select(pl.any_horizontal(pl.all().str.contains("\0", literal=True)).any()).item()
            ):
                return records_of(frame, wanted, part, counted_from(first_line, frame.height))
        except pl.exceptions.PolarsError:
            pass  # the slow way says which line it is
    numbers: list[int] = []
    found: list[Row] = []
    for number, record in json_lines(block, first_line, part, how, tally, keys=steps(columns)):
        if record is not None:
            numbers.append(number)
            found.append(record)
    return records_of(texts_of(found, columns), wanted, part, pl.Series(numbers, dtype=pl.Int64))


def texts_of(records: Sequence[Row], columns: Sequence[str]) -> pl.DataFrame:
    """A frame of text of the values at `columns`."""
    rows = [
        {column: None if (value := nested(record, column)) is None else as_text(value) for column in columns}
        for record in records
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))


def steps(columns: Sequence[str]) -> set[str]:
    """The keys on the way to columns: `a.b`, `a` and `b`."""
    return {step for column in columns for step in (column, *column.split("."))}


def any_twice(block: bytes, frame: pl.DataFrame) -> bool:
    """Whether an object has a key twice; block: lines of one object each, frame: the values at the keys that are read.

    Each line is searched for the keys. One that has more of them than values came of it is looked at more closely: they
    may stand in objects within.
    """
    import pyarrow.json

    named = "|".join(re.escape(json.dumps(key, ensure_ascii=False)) for key in frame.columns)
    lines = lines_of(block)
    counted = lines.str.count_matches(rf"(?:{named})\s*:")
    values = frame.select(pl.sum_horizontal(pl.all().is_not_null())).to_series()
    doubtful = lines.filter(counted > values)
    if doubtful.is_empty():
        return False
    together = block if len(doubtful) == len(lines) else "\n".join(doubtful.to_list()).encode()
    try:  # Arrow refuses a key twice, and is faster than Python
        pyarrow.json.read_json(
            pa.BufferReader(together),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(together) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([(name, pa.string()) for name in frame.columns]),
                unexpected_field_behavior="ignore",
            ),
        )
        return False
    except pa.ArrowInvalid:  # for this or for another reason
        pass
    try:
        for line in doubtful.to_list():
            parsed(line, frame.columns)
    except NotJson:
        return True
    return False


def lines_of(block: bytes) -> pl.Series:
    """The lines of a block of UTF-8, with their line ends."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    offsets = np.concatenate([[0], ends, [] if block.endswith(b"\n") else [len(block)]]).astype(np.int64)
    buffers = [pa.py_buffer(offsets), pa.py_buffer(block)]
    texts = pl.from_arrow(pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers))
    assert isinstance(texts, pl.Series)
    return texts


def json_lines(
    block: bytes,
    first_line: int,
    part: Part,
    how: RowFormat,
    tally: Tally,
    keep_malformed: bool = False,
    *,
    keys: Collection[str] | None = None,
) -> Iterator[tuple[int, Row | None]]:
    """(number of the line, its object) of all lines that are not blank; what is malformed is refused or counted.

    keys: those that are read, and may not stand in an object twice; None: all.
    """
    for number, line in enumerate(io.BytesIO(block), first_line):
        if not line.strip():
            continue
        text = decode(line, part, how.invalid, tally, "line", number)
        if text is None:
            continue
        try:
            record = parsed(text, keys)
            problem = None if isinstance(record, dict) else "it is not a JSON object"
        except NotJson as error:
            problem = str(error)
        if problem is None:
            yield number, record
        elif keep_malformed:
            yield number, None
        elif how.invalid == "error":
            raise UserError(
                f"{part.name}: line {number:,} cannot be read ({problem}): fix it, fetch the file again if it was cut "
                f"off, or say `invalid: skip` in {how.label}."
            )
        else:
            tally.skip("malformed")


# -- one value a file --------------------------------------------------------------------------------------------------


def read_json(part: Part, how: RecordFormat, reading: Reading) -> Iterator[pl.DataFrame]:
    """Frames of records of a file that is one JSON value."""
    records = json_records(part, how, reading, how.columns.text_columns)
    if not records:
        return
    wanted = column_names(how, keys_of(records[:LINES_ASKED], how.columns.text_columns), part, all_seen=False)
    for start in range(0, len(records), 10_000):
        frame = texts_of(records[start : start + 10_000], columns_of(wanted))
        yield records_of(frame, wanted, part, counted_from(start + 1, frame.height))


def json_records(part: Part, how: RowFormat, reading: Reading, names: Collection[str]) -> list[Row]:
    """The records of a file that is one JSON value: a list of them, an object that holds such a list, or one record.

    names: keys by which a record is known, where an object could be one or hold a list of them.
    """
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        raw = stream.read(LONGEST_JSON_FILE + 1)
    if len(raw) > LONGEST_JSON_FILE:
        raise UserError(
            f"{part.name} is a JSON value of over {LONGEST_JSON_FILE >> 20} MB: make JSON lines of it (`jq -c '.[]'`)."
        )
    text = decode(raw, part, how.invalid, reading.tally)
    if text is None or not text.strip():
        return []
    try:
        value = parsed(text)
    except NotJson as error:
        if how.invalid == "skip":
            reading.tally.skip("malformed")
            return []
        raise UserError(
            f"{part.name} is not JSON ({error}): fix it, or say `format: jsonl` if it holds an object a line."
        ) from None
    if how.records is not None:
        value = at_key(value, how.records, part, how)
    elif isinstance(value, dict):
        value = list_in(value, names, part, how, reading)
    records = value if isinstance(value, list) else [value]
    if not all(isinstance(record, dict) for record in records):
        raise UserError(f"{part.name} holds no list of JSON objects: say under which key it lies with `records: a.b`.")
    return records


def at_key(value: Any, key: str, part: Part, how: RowFormat) -> Any:
    for step in key.split("."):
        if not isinstance(value, dict) or step not in value:
            raise UserError(f"{part.name} has no key `{key}`: fix `records` of {how.label}.")
        value = value[step]
    return value


def list_in(value: Row, names: Collection[str], part: Part, how: RowFormat, reading: Reading) -> Any:
    """The list of records that an object holds, or the object itself where it is the record.

    Of several lists, the one whose records have one of `names` is read, and the log says so. UserError where that does
    not tell which.
    """

    def known(record: Row) -> bool:
        return any(nested(record, name) is not None for name in names)

    lists = {
        key: inner for key, inner in value.items() if isinstance(inner, list) and inner and isinstance(inner[0], dict)
    }
    if not lists or known(value):
        return value
    fitting = list(lists) if len(lists) == 1 else [key for key, inner in lists.items() if known(inner[0])]
    listed = shown_names(lists, mark="`")
    if len(fitting) != 1:
        raise UserError(
            f"{part.name} holds several lists ({listed}): name the one to read in {how.label}, "
            f"such as `records: {next((key for key in fitting or lists if is_plain(key)), 'data.items')}`."
        )
    if len(lists) > 1:
        chosen = shown_names(fitting, mark="`")
        reading.log_once(
            f"{how.heading}: {part.name} holds several lists ({listed}); {chosen} is read, which has the columns "
            "asked for (`records` names another)",
            about=f"{how.name}.{fitting[0]}",
        )
    return lists[fitting[0]]
