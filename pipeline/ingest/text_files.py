"""Text and pages: one document a file, or several parts of a file that is too long to be one."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import IO

from pipeline.errors import UserError
from pipeline.ingest.open_files import Part, invalid_bytes, readable, utf8_stream
from pipeline.ingest.records import LONGEST_DOCUMENT, Tally, cut_pieces
from pipeline.ingest.source import Source


def read_text(part: Part, source: Source, tally: Tally) -> Iterator[tuple[str, str]]:
    """(id, text) of a file; of one that is longer than a document may be, of each of its parts."""
    with utf8_stream(part, source.encoding, source.invalid) as stream, readable(part):
        raw = stream.read(LONGEST_DOCUMENT + 1)
        if b"\0" in raw[:8192]:
            if source.invalid == "error":
                raise UserError(
                    f"{part.name} is no text (it holds NUL bytes): leave it out of `path`, or say `invalid: skip`."
                )
            tally.skip("binary")
        elif len(raw) <= LONGEST_DOCUMENT:
            text = decode(raw, part, source.invalid, tally)
            if text is not None:
                yield part.name, text
        else:
            tally.cut += 1
            yield from enumerated(part, cut_pieces(decoded(raw, stream, part, source, tally)))


def enumerated(part: Part, pieces: Iterator[str]) -> Iterator[tuple[str, str]]:
    for number, piece in enumerate(pieces):
        yield f"{part.name}#{number}", piece


def decoded(raw: bytes, stream: IO[bytes], part: Part, source: Source, tally: Tally) -> Iterator[str]:
    """A long text in pieces. Where it is not UTF-8, `invalid: skip` leaves out all that comes after."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace" if source.invalid == "replace" else "strict")
    done = 0
    while True:
        held = len(decoder.getstate()[0])
        try:
            yield decoder.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            if source.invalid == "error":
                raise invalid_bytes(part, done - held + error.start, "utf-8") from error
            tally.skip("invalid_encoding")
            return
        if not raw:
            return
        done += len(raw)
        raw = stream.read(LONGEST_DOCUMENT)


def decode(
    raw: bytes, part: Part, invalid: str, tally: Tally, where: str = "byte", at: int | None = None
) -> str | None:
    """UTF-8 to text, by the source's policy on what is not."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if invalid == "replace":
            return raw.decode(errors="replace")
        if invalid == "error":
            raise invalid_bytes(part, error.start if at is None else at, "utf-8", where) from error
        tally.skip("invalid_encoding")
        return None


def read_page(part: Part, source: Source, tally: Tally) -> str | None:
    """The markup of a page, whole; None (and a count) where it is left out."""
    with utf8_stream(part, source.encoding, source.invalid) as stream, readable(part):
        raw = stream.read(LONGEST_DOCUMENT + 1)
    if len(raw) > LONGEST_DOCUMENT:
        tally.skip("too_long")
        return None
    return decode(raw, part, source.invalid, tally)
