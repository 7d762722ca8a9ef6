"""JSON: an object a line, or one value a file.

Lines are parsed by Polars as whole blocks. Only a block in which something is wrong, or whose text lies in nested
objects, is gone through line by line, to say which line it is or to leave that line out.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any

import polars as pl

from pipeline.errors import UserError
from pipeline.ingest.open_files import Part, readable, utf8_stream
from pipeline.ingest.records import BATCH, LONGEST_RECORD, Tally
from pipeline.ingest.source import Source
from pipeline.ingest.table_files import column_names, counted_from, records_of
from pipeline.ingest.text_files import decode

# A JSON file is one value, so it is read whole.
LONGEST_JSON_FILE = 512 * 2**20
# Records of JSON may each have other keys: so many are looked at before a column counts as missing.
LINES_ASKED = 100


def read_jsonl(part: Part, source: Source, tally: Tally) -> Iterator[pl.DataFrame]:
    wanted: dict[str, list[str]] | None = None
    with utf8_stream(part, source.encoding, source.invalid) as stream, readable(part):
        for block, first_line in line_blocks(stream, tally):
            wanted = wanted or json_columns(block, source, part)
            if wanted is None:  # nothing but blank (or broken) lines so far
                tally.skip("malformed", sum(1 for line in io.BytesIO(block) if line.strip()))
                continue
            yield jsonl_block(block, first_line, wanted, part, source, tally)


def line_blocks(stream: IO[bytes], tally: Tally, size: int = BATCH) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines of about `size` bytes, with the number of their first line.

    A line of more than LONGEST_RECORD bytes is read past, not kept; an empty line stands in its place.
    """
    rest, line = b"", 1
    passing = False  # within a line that is too long
    while piece := stream.read(size):
        end = piece.rfind(b"\n") + 1
        if passing:
            first = piece.find(b"\n")
            if first < 0:
                continue
            passing, piece, end = False, piece[first:], end - first
        if end == 0:
            rest += piece
            if len(rest) > LONGEST_RECORD:
                tally.skip("too_long")
                rest, passing = b"", True
            continue
        block = rest + piece[:end]
        rest = piece[end:]
        yield block, line
        line += block.count(b"\n")
    if rest.strip():
        yield rest, line


def json_columns(block: bytes, source: Source, part: Part) -> dict[str, list[str]] | None:
    """The keys to read, told by the block's first lines; None where all of it is blank."""
    found: list[dict[str, Any]] = []
    for line in io.BytesIO(block):
        if len(found) == LINES_ASKED:
            break
        if line.strip():
            with suppress(ValueError):
                record = json.loads(line.decode(errors="replace"))
                if isinstance(record, dict):
                    found.append(record)
    if not found:
        if source.invalid == "skip" or not block.strip():
            return None
        raise malformed(part, 1, "it is not a JSON object")
    return column_names(source, keys_of(found, source.columns.text_columns), part, all_seen=False)


def keys_of(records: Sequence[dict[str, Any]], wanted: Sequence[str]) -> list[str]:
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
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a surrogate pair is no text
    return json.dumps(value, ensure_ascii=False)


def jsonl_block(
    block: bytes, first_line: int, wanted: dict[str, list[str]], part: Part, source: Source, tally: Tally
) -> pl.DataFrame:
    columns = sorted({column for names in wanted.values() for column in names})
    # The fast way knows no nested keys, and blank lines vanish in it, and with them the numbers of lines.
    if not any("." in column for column in columns):
        try:
            frame = pl.read_ndjson(io.BytesIO(block), schema=dict.fromkeys(columns, pl.String))
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            if (
                frame.height == lines
                and not frame.select(pl.any_horizontal(pl.all().str.contains("\0", literal=True)).any()).item()
            ):
                return records_of(frame, wanted, part, counted_from(first_line, frame.height))
        except pl.exceptions.PolarsError:
            pass  # the slow way says which line it is
    rows: list[dict[str, str | None]] = []
    numbers: list[int] = []
    for number, line in enumerate(io.BytesIO(block), first_line):
        record = json_line(line, number, part, source, tally)
        if record is not None:
            values = {column: nested(record, column) for column in columns}
            rows.append({column: None if value is None else as_text(value) for column, value in values.items()})
            numbers.append(number)
    return records_of(
        pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String)), wanted, part, pl.Series(numbers, dtype=pl.Int64)
    )


def json_line(line: bytes, number: int, part: Part, source: Source, tally: Tally) -> dict[str, Any] | None:
    if not line.strip():
        return None
    text = decode(line, part, source.invalid, tally, "line", number)
    if text is None:
        return None
    try:
        record = json.loads(text)
        if isinstance(record, dict):
            return record
        problem = "it is not a JSON object"
    except (ValueError, RecursionError) as error:
        problem = str(error)
    if source.invalid == "error":
        raise malformed(part, number, problem)
    tally.skip("malformed")
    return None


def malformed(part: Part, line: int, problem: str) -> UserError:
    return UserError(
        f"{part.name}: line {line} cannot be read ({problem}): mend it, fetch the file again if it was cut off, or say "
        "`invalid: skip` in the source."
    )


def read_json(part: Part, source: Source, tally: Tally) -> Iterator[pl.DataFrame]:
    """One JSON value a file: a list of records, an object that holds such a list (`records`), or one record."""
    with utf8_stream(part, source.encoding, source.invalid) as stream, readable(part):
        raw = stream.read(LONGEST_JSON_FILE + 1)
    if len(raw) > LONGEST_JSON_FILE:
        raise UserError(
            f"{part.name} is a JSON value of over {LONGEST_JSON_FILE >> 20} MB: make JSON lines of it (`jq -c '.[]'`)."
        )
    text = decode(raw, part, source.invalid, tally)
    if text is None or not text.strip():
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if source.invalid == "skip":
            tally.skip("malformed")
            return
        raise UserError(
            f"{part.name} is not JSON ({error}): mend it, or say `format: jsonl` if it holds an object a line."
        ) from error
    records = json_records(value, source, part)
    if not records:
        return
    wanted = column_names(source, keys_of(records[:LINES_ASKED], source.columns.text_columns), part, False)
    columns = sorted({column for names in wanted.values() for column in names})
    for start in range(0, len(records), 10_000):
        rows = [
            {column: None if (value := nested(record, column)) is None else as_text(value) for column in columns}
            for record in records[start : start + 10_000]
        ]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String))
        yield records_of(frame, wanted, part, counted_from(start + 1, frame.height))


def json_records(value: Any, source: Source, part: Part) -> list[dict[str, Any]]:
    if source.records is not None:
        for key in source.records.split("."):
            if not isinstance(value, dict) or key not in value:
                raise UserError(f"{part.name} has no key `{source.records}`: mend `records` of source `{source.name}`.")
            value = value[key]
    elif isinstance(value, dict):
        lists = [inner for inner in value.values() if isinstance(inner, list) and inner and isinstance(inner[0], dict)]
        held = [column for column in source.columns.text_columns if nested(value, column) is not None]
        value = lists[0] if len(lists) == 1 and not held else [value]
    records = value if isinstance(value, list) else [value]
    if not all(isinstance(record, dict) for record in records):
        raise UserError(f"{part.name} holds no list of JSON objects: say under which key it lies with `records: a.b`.")
    return records
