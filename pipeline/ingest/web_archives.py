"""Web archives (WARC): pages whose main text is extracted, or text that was extracted before (WET), as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

import polars as pl

from pipeline.errors import UserError
from pipeline.ingest.extraction import PAGES_BYTES, main_texts
from pipeline.ingest.open_files import Damaged, Part, decompressed, readable
from pipeline.ingest.records import LONGEST_DOCUMENT, Reading, Tally, record_frame

Row = dict[str, Any]
PAGES = ("text/html", "application/xhtml+xml")
# ISO 639-3, as the crawl identifies languages, to the codes that recipes use.
LANGUAGES = {
    "kor": "ko", "eng": "en", "jpn": "ja", "zho": "zh", "deu": "de", "fra": "fr", "spa": "es", "ita": "it", "por": "pt",
    "rus": "ru", "nld": "nl", "pol": "pl", "tur": "tr", "vie": "vi", "ind": "id", "tha": "th", "ara": "ar", "fas": "fa",
    "hin": "hi", "ben": "bn", "ces": "cs", "slk": "sk", "hun": "hu", "ron": "ro", "bul": "bg", "ell": "el", "ukr": "uk",
    "swe": "sv", "dan": "da", "nor": "no", "nob": "no", "fin": "fi", "est": "et", "lav": "lv", "lit": "lt", "heb": "he",
    "hrv": "hr", "srp": "sr", "slv": "sl", "cat": "ca", "msa": "ms", "tam": "ta", "tel": "te", "urd": "ur", "kat": "ka",
}  # fmt: skip


def read_web_archive(part: Part, lang: str | None, reading: Reading) -> Iterator[pl.DataFrame]:
    """Records of one WARC or WET file: a page's main text, or a `conversion` record's text as it is.

    lang: leave out pages that are identified as another language.
    """
    from warcio.exceptions import ArchiveLoadFailed

    rows: list[Row] = []
    size = 0
    with readable(part), part.open() as packed, decompressed(packed, part) as stream:
        try:
            for record in whole_records(stream):
                found = row_of(record, lang, reading.tally)
                if found is None:
                    continue
                rows.append(found)
                size += len(found["raw"])
                if size >= PAGES_BYTES:
                    yield frame_of(rows, reading)
                    rows, size = [], 0
        except ArchiveLoadFailed:  # its own words quote the file
            raise UserError(f"{part.name} is no web archive, or is damaged: fetch it again.") from None
    if rows:
        yield frame_of(rows, reading)


def whole_records(stream: IO[bytes]) -> Iterator[Any]:
    """The records of a web archive. Raises Damaged for one that is not as long as it says.

    `warcio` takes what there is of a record for all of it, and writes the line that follows to the standard error.
    """
    from warcio.archiveiterator import ArchiveIterator

    class Whole(ArchiveIterator):  # type: ignore[misc]
        def _consume_blanklines(self) -> tuple[bytes | None, int]:
            size = 0
            while line := self.reader.readline():
                if line.strip():
                    if size == 0:
                        raise Damaged("a record is longer than it says")
                    return line, size
                size += len(line)
            return None, size

    try:
        for record in Whole(stream):
            length = record.rec_headers.get_header("Content-Length") or ""
            if not (length.isascii() and length.isdigit()) and record.format == "warc":
                raise Damaged("a record does not say how long it is")
            yield record
            while record.raw_stream.read(1 << 16):
                pass
            if getattr(record.raw_stream, "limit", 0) > 0:
                raise Damaged("it ends in the middle of a record")
    except (ValueError, TypeError, AttributeError, KeyError, IndexError):
        raise Damaged("a record of it is broken") from None


def row_of(record: Any, wanted: str | None, tally: Tally) -> Row | None:
    """What a record holds; None (and a count) for what is left out, None for records that are no pages."""
    headers = record.rec_headers
    if record.rec_type == "response":
        said = record.http_headers
        kind = ((said and said.get_header("Content-Type")) or "").split(";")[0].strip().lower()
        if said is None or said.get_statuscode() != "200" or kind not in (*PAGES, "text/plain"):
            return None
        is_page = kind in PAGES
    elif record.rec_type == "conversion":
        is_page = False
    else:
        return None
    identified = (headers.get_header("WARC-Identified-Content-Language") or "").split(",")[0].strip()
    lang = LANGUAGES.get(identified, identified) or None
    if wanted is not None and lang is not None and lang != wanted:
        tally.skip("other_language")
        return None
    raw = record.content_stream().read(LONGEST_DOCUMENT + 1)
    if len(raw) > LONGEST_DOCUMENT:
        tally.skip("too_long")
        return None
    return {
        "raw": raw,
        "is_page": is_page,
        "id": (headers.get_header("WARC-Record-ID") or "").strip("<>").removeprefix("urn:uuid:") or None,
        "lang": lang,
        "url": headers.get_header("WARC-Target-URI"),
        "meta": json.dumps({"date": headers.get_header("WARC-Date")}),
    }


def frame_of(rows: list[Row], reading: Reading) -> pl.DataFrame:
    """Records of rows, pages as their main text."""
    texts = iter(main_texts([row["raw"] for row in rows if row["is_page"]], reading.execution))
    names = ("id", "lang", "url", "meta")
    columns = {name: pl.Series([row[name] for row in rows], dtype=pl.String) for name in names}
    # Text that is not UTF-8 in a WET file was lost before it came here: it is replaced, not refused.
    text = [next(texts) if row["is_page"] else row["raw"].decode(errors="replace") for row in rows]
    frame = record_frame(pl.DataFrame({"text": pl.Series(text, dtype=pl.String), **columns}))
    found = frame.filter(pl.col("text").is_not_null())
    reading.tally.skip("no_text", frame.height - found.height)
    return found
