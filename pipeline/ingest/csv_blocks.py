"""CSV in blocks of whole records, so that each can be parsed by itself and a mistake has a line.

Fields are quoted as RFC 4180 has it: a quote opens one at the start of a field alone, and two within it are one of the
text. A quote that is never closed makes one field of all lines up to the next quote, and its file three rows instead of
three thousand. It shows as a field that goes on after its closing quote, or as a file that ends within a field: both
are refused. What stands behind a closing quote in the same line (`"5" screen`) is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

import numpy as np

from pipeline.ingest.open_files import Damaged
from pipeline.ingest.records import LONGEST_RECORD

# Bytes that are looked through at once: they stay in a processor's cache, which halves the time.
PIECE = 8 * 2**20
NEVER = "a quote may never be closed"
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'
# A field or a part of one: no quote; a quote within; or quoted, up to its end. Possessive: nothing is tried twice.
_PIECE = rb'[^"\r\n]++|"(?<=[^,\r\n]")|' + _QUOTED + rb"(?=[,\r\n])"
_RECORDS = re.compile(rb"(?:(?:" + _PIECE + rb")*+[\r\n]++)*+")
_PIECES = re.compile(rb"(?:" + _PIECE + rb")*+")
_ODD = re.compile(_QUOTED)
_QUOTED_FIELD = re.compile(rb'"(?<![^,\r\n]")[^"]*+(?:""[^"]*+)*+"')


def record_blocks(stream: IO[bytes], size: int = PIECE) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole records of about `size` bytes, with the number of their first line, counted from 1.

    Raises Damaged for a quote that is never closed and for a record of more than LONGEST_RECORD bytes.
    """
    rest, line = b"", 1
    while piece := stream.read(
        max(size, len(rest))
    ):  # of a long record ever more, so that it is gone through few times
        block = rest + piece
        end = whole_records(block, line)
        rest = block[end:]
        if end:
            yield block[:end], line
            line += lines_in(block, end)
        if len(rest) > LONGEST_RECORD:
            raise Damaged(f"the record that starts in line {line:,} is longer than {LONGEST_RECORD >> 20} MB: {NEVER}")
    if not rest:
        return
    end = whole_records(rest + b"\n", line)
    if end <= len(rest):
        at = line + lines_in(rest, _PIECES.match(rest + b"\n", end).end())  # type: ignore[union-attr]
        raise Damaged(f"the quote that opens in line {at:,} is never closed")
    yield rest, line


def whole_records(block: bytes, line: int) -> int:
    """Where the last whole record of a block ends; 0 where none does. Raises Damaged. line: the number of its first."""
    if (plain := end_of_plain(block)) is not None:
        return plain
    place = ended = 0
    while True:
        end = _end(_RECORDS, block, place)
        ended = end if end > place else ended
        odd = _ODD.match(block, _end(_PIECES, block, end))
        if odd is None or odd.end() == len(block):  # goes on in the next block
            return ended
        if b"\n" in odd[0] or b"\r" in odd[0]:
            first = line + lines_in(block, odd.start())
            raise Damaged(f"the quote that opens in line {first:,} is closed in the middle of a later one: {NEVER}")
        place = odd.end()


def end_of_plain(block: bytes) -> int | None:
    """As `whole_records`, ten times faster, of a block whose quotes all stand where they belong; None for others.

    Then every other quote opens a field (or, next to the one before it, is the second of two within one), and what is
    between an open one and the next is quoted.
    """
    marks = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(marks == ord('"'))
    around = np.zeros(256, bool)
    around[np.frombuffer(b',\r\n"', np.uint8)] = True
    opened, closed = quotes[::2], quotes[1::2]
    if opened.size and not (
        around[marks[opened[opened > 0] - 1]].all() and around[marks[closed[closed < len(block) - 1] + 1]].all()
    ):
        return None
    end = len(block)
    while True:
        end = max(block.rfind(b"\n", 0, end), block.rfind(b"\r", 0, end))
        before = int(np.searchsorted(quotes, end))  # quotes before this line end
        if end < 0 or before % 2 == 0:
            return end + 1
        end = int(quotes[before - 1])


def _end(pattern: re.Pattern[bytes], block: bytes, start: int) -> int:
    found = pattern.match(block, start)
    assert found is not None, "both match nothing as well"
    return found.end()


def lines_in(block: bytes, end: int) -> int:
    """Line ends of the block before `end`; files of old Macs have CR alone."""
    return block.count(b"\n", 0, end) or block.count(b"\r", 0, end)


def first_record(block: bytes, start: int = 0) -> int:
    """Where the record that starts at `start` ends, with its line end."""
    place = start
    while True:
        end = _end(_PIECES, block, place)
        if block[end : end + 2] == b"\r\n":
            return end + 2
        odd = _ODD.match(block, end)
        if odd is None:
            return len(block) if block[end : end + 1] == b'"' else min(end + 1, len(block))
        place = odd.end()


def records_in(block: bytes) -> Iterator[tuple[int, int]]:
    """(line within the block, counted from 0, number of fields) of each record that is not empty; for errors."""
    start = line = 0
    while start < len(block):
        end = first_record(block, start)
        record = block[start:end]
        if record.strip(b"\r\n"):
            yield line, _QUOTED_FIELD.sub(b"", record).count(b",") + 1
        line += lines_in(record, len(record))
        start = end
