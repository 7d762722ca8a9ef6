"""Text and pages: one document a file, or several parts of a file that is too long to be one; and lines of text.

A line ends at a line feed alone. U+0085, U+2028 and U+2029, at which Python's `splitlines` ends one too, may stand in a
JSON string and in a field of TSV.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from pipeline.errors import UserError
from pipeline.ingest.open_files import Part, invalid_bytes, readable, utf8_stream
from pipeline.ingest.records import BATCH, LONGEST_DOCUMENT, LONGEST_RECORD, Tally, cut_pieces
from pipeline.ingest.row_format import RowFormat


def read_text(part: Part, how: RowFormat, tally: Tally) -> Iterator[tuple[str, str]]:
    """(id, text) of a file; of one that is longer than a document may be, of each of its parts."""
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        raw = stream.read(LONGEST_DOCUMENT + 1)
        if b"\0" in raw[:8192]:
            if how.invalid == "error":
                raise UserError(
                    f"{part.name} is not text (it holds NUL bytes): leave it out of `path`, or say `invalid: skip`."
                )
            tally.skip("binary")
        elif len(raw) <= LONGEST_DOCUMENT:
            text = decode(raw, part, how.invalid, tally)
            if text is not None:
                yield part.name, text
        else:
            tally.cut += 1
            yield from enumerated(part, cut_pieces(decoded(raw, stream, part, how, tally)))


def enumerated(part: Part, pieces: Iterator[str]) -> Iterator[tuple[str, str]]:
    for number, piece in enumerate(pieces):
        yield f"{part.name}#{number}", piece


def decoded(raw: bytes, stream: IO[bytes], part: Part, how: RowFormat, tally: Tally) -> Iterator[str]:
    """A long text in pieces. Where it is not UTF-8, `invalid: skip` leaves out all that comes after."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace" if how.invalid == "replace" else "strict")
    done = 0
    while True:
        held = len(decoder.getstate()[0])
        try:
            yield decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            if how.invalid == "error":
                raise invalid_bytes(part, done - held + error.start, "utf-8") from None
            tally.skip("invalid_encoding")
            return
        if not raw:
            return
        done += len(raw)
        raw = stream.read(LONGEST_DOCUMENT)


def decode(
    raw: bytes, part: Part, invalid: str, tally: Tally, where: str = "byte", at: int | None = None
) -> str | None:
    """UTF-8 to text; what is not UTF-8 is treated as `invalid` says. where, at: the place that an error names."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if invalid == "replace":
            return raw.decode(errors="replace")
        if invalid == "error":
            raise invalid_bytes(part, error.start if at is None else at, "utf-8", where) from None
        tally.skip("invalid_encoding")
        return None


def read_page(part: Part, how: RowFormat, tally: Tally) -> str | None:
    """The markup of a page, whole; None (and a count) where it is left out."""
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        raw = stream.read(LONGEST_DOCUMENT + 1)
    if len(raw) > LONGEST_DOCUMENT:
        tally.skip("too_long")
        return None
    return decode(raw, part, how.invalid, tally)


def line_blocks(stream: IO[bytes], tally: Tally, size: int = BATCH) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines of about `size` bytes, with the number of their first line, counted from 1.

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


def refuse_old_mac(block: bytes, part: Part) -> None:
    """UserError for lines that all end with a carriage return: they would be taken for one."""
    if b"\n" not in block and b"\r" in block.rstrip(b"\r"):
        raise UserError(
            f"{part.name} has lines that end with a carriage return alone, as on old Macs: write line feeds in their "
            "place (`tr '\\r' '\\n'`)."
        )


def read_lines(part: Part, how: RowFormat, tally: Tally) -> Iterator[str]:
    """The lines of a text file that are not blank."""
    with utf8_stream(part, how.encoding, how.invalid) as stream, readable(part):
        for block, first_line in line_blocks(stream, tally):
            refuse_old_mac(block, part)
            for number, line in enumerate(block.split(b"\n"), first_line):
                text = decode(line.removesuffix(b"\r"), part, how.invalid, tally, "line", number)
                if text is not None and text.strip():
                    yield text
