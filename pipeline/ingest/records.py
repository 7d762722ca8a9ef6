"""Records: what every kind of source hands over, before it is a document.

A frame of records has six text columns. `Tally` counts what was left out and why, so that nothing is lost in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.reasons import Reason, meanings_of
from pipeline.errors import UserError

RECORD_SCHEMA: dict[str, type[pl.DataType]] = {
    "text": pl.String,
    "id": pl.String,  # unique at its source: the record's own id, or file and row
    "lang": pl.String,
    "license": pl.String,
    "url": pl.String,
    "meta": pl.String,  # JSON
}

# A longer document is cut at paragraph ends into parts (`id#0`, `id#1`, ...): no stage has to hold a giant in memory.
LONGEST_DOCUMENT = 8 * 2**20
# A longer line of JSON, file of markup or row is no document but a wrong format: it is left out and counted.
LONGEST_RECORD = 64 * 2**20
# Bytes of text that are read and worked on at once.
BATCH = 32 * 2**20

SKIP_REASONS = (
    Reason("empty", "no text, or white space alone"),
    Reason("too_long", f"a single line, row or file of more than {LONGEST_RECORD >> 20} MB"),
    Reason("invalid_encoding", "bytes that are not of the encoding (`invalid: skip`)"),
    Reason("malformed", "a line that is no JSON object, or a row of too many or few fields (`invalid: skip`)"),
    Reason("binary", "a file with NUL bytes, so no text (`invalid: skip`)"),
    Reason("no_text", "a page in which no main text was found"),
    Reason("unknown_format", "a file in an archive, of a kind that is not read"),
    Reason("unsafe_name", "a file in an archive, with a name that leads out of it"),
    Reason("other_language", "a page in another language than the source's"),
    Reason("forgotten", "on the list of documents to be forgotten"),
)
SKIPPED = meanings_of(SKIP_REASONS)


class Unreachable(UserError):
    """The place that a source names does not answer. What other sources have given by then stays in the draft."""

    draft_stays = True


@dataclass
class Tally:
    """What was left out, by reason, and how many documents were cut because of their length."""

    skipped: Counter[str] = field(default_factory=Counter)
    cut: int = 0

    def skip(self, reason: str, count: int = 1) -> None:
        assert reason in SKIPPED, reason
        if count:
            self.skipped[reason] += count


@dataclass(frozen=True)
class Reading:
    """What every reader of a source is given: where to keep files, what to count in, where to log."""

    cache: Path
    tally: Tally = field(default_factory=Tally)
    log: Callable[[str], None] = print
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    logged: set[str] = field(default_factory=set)
    # Of a source of files on this machine, those to read by name; None: all.
    only: frozenset[str] | None = None
    # Called when all was read: they raise UserError where what was read is not what was observed.
    confirm: list[Callable[[], None]] = field(default_factory=list)

    def log_once(self, line: str, about: str) -> None:
        """Log a line unless one `about` the same was logged: thousands of files may have the same shape."""
        if about not in self.logged:
            self.logged.add(about)
            self.log(line)


def record_frame(columns: pl.DataFrame) -> pl.DataFrame:
    """A frame of records from the columns that there are; the others are null."""
    return columns.select(
        pl.col(name).cast(dtype) if name in columns.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in RECORD_SCHEMA.items()
    )


def tidy(records: pl.DataFrame, lang: str | None, license: str | None, tally: Tally) -> pl.DataFrame:
    """Fill in what the source declares, leave out empty texts, make line ends one, cut giants at paragraph ends."""
    full = records.filter(pl.col("text").str.contains(r"\S"))  # null where there is no text: left out too
    tally.skip("empty", records.height - full.height)
    declared = {"lang": lang, "license": license}
    full = full.with_columns(plain_lines(full["text"]))
    full = full.with_columns(pl.col(name).fill_null(value) for name, value in declared.items() if value is not None)
    giant = full["text"].str.len_bytes() > LONGEST_DOCUMENT
    if not giant.any():
        return full
    tally.cut += int(giant.sum())
    parts = full.with_columns(pl.col("text").map_elements(cut_text, return_dtype=pl.List(pl.String)))
    parts = parts.with_columns(part=pl.int_ranges(pl.col("text").list.len()), giant=giant)
    parts = parts.explode("text", "part").with_columns(
        pl.when("giant").then(pl.format("{}#{}", "id", "part")).otherwise("id").alias("id")
    )
    return parts.select(RECORD_SCHEMA.keys())


def plain_lines(texts: pl.Series) -> pl.Series:
    """The texts with line ends of all systems as a line feed, and without a byte-order mark at their start."""
    returns, marked = texts.str.contains("\r", literal=True), texts.str.starts_with("\ufeff")
    if returns.any():
        plain = (
            texts.filter(returns).str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True)
        )
        texts = texts.clone().scatter(returns.arg_true(), plain)
    if marked.any():
        texts = texts.clone().scatter(marked.arg_true(), texts.filter(marked).str.strip_chars_start("\ufeff"))
    return texts


def cut_text(text: str) -> list[str]:
    """The parts of a document that are no longer than LONGEST_DOCUMENT bytes; joined they are the document."""
    if len(text) * 4 <= LONGEST_DOCUMENT or len(text.encode()) <= LONGEST_DOCUMENT:
        return [text]
    return list(cut_pieces(iter([text])))


def cut_pieces(pieces: Iterator[str]) -> Iterator[str]:
    """A text that comes in pieces, cut at blank lines, else line ends, else blanks, into parts that are not too long.

    Each part is cut off in the second half of what may be in it, so it does not depend on the pieces that came.
    """
    longest = LONGEST_DOCUMENT // 4  # code points: no part is too long whatever the script
    text = ""
    for piece in pieces:
        text += piece
        start = 0
        while len(text) - start > longest:
            end = start + longest
            for mark in ("\n\n", "\n", " "):
                at = text.rfind(mark, start + longest // 2, end)
                if at >= 0:
                    end = at + len(mark)
                    break
            yield text[start:end]
            start = end
        text = text[start:]
    if text:
        yield text
