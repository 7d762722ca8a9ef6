"""Passages of a text that stand in parts of the index, in characters of the text.

The index holds tokens, and how the first word of a text is split depends on what stands before it: a blank, a line
break, or nothing. So the beginning of a text is looked up in all three forms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.tokens.tokenizer import Tokenizer
from pipeline.trace import search
from pipeline.trace.part import Part
from pipeline.trace.search import Span

BEFORE = ("", " ", "\n")  # what may stand before a text
WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Passage:
    """A passage of a text that stands in the index, and in no longer one that does."""

    start: int  # characters of the text
    end: int
    query: np.ndarray  # ids of the text in the form in which it was found, int64
    span: Span  # of that query

    @property
    def tokens(self) -> np.ndarray:
        return self.query[self.span.start : self.span.end]


@dataclass(frozen=True)
class Spelled:
    """A text as ids, int64, and where each of them ends in the text's UTF-8 bytes (from 0 on)."""

    ids: np.ndarray
    ends: np.ndarray


def readable(tokenizer: Tokenizer, text: str) -> str:
    """The text as its tokens spell it: some tokenizers change characters before they split them."""
    if tokenizer.about["normalisation"] == "nfc":
        text = unicodedata.normalize("NFC", text)
    ids = tokenizer.encode([text])[0]
    return text if tokenizer.decode_bytes(ids).endswith(text.encode()) else tokenizer.decode(ids)


def spelled(tokenizer: Tokenizer, text: str, before: str = "") -> Spelled:
    """A text that `readable` returned, behind `before`; tokens that hold nothing of the text are left out."""
    ids = tokenizer.encode([before + text])[0].astype(np.int64)
    table = tokenizer.token_bytes()
    ends = np.cumsum([len(table[i]) for i in ids.tolist()], dtype=np.int64)
    ends -= (int(ends[-1]) if len(ends) else 0) - len(text.encode())
    kept = ends > 0
    return Spelled(ids[kept], ends[kept])


def passages(parts: Sequence[Part], tokenizer: Tokenizer, text: str, least: int) -> list[Passage]:
    """The longest passages of `text` (as `readable` returns it) of at least `least` tokens, in their order."""
    forms: list[Spelled] = []
    found: list[tuple[int, int, Spelled, Span]] = []
    for before in BEFORE:
        form = spelled(tokenizer, text, before)
        if any(np.array_equal(form.ids, other.ids) for other in forms):
            continue
        # Of another form only passages that begin where it differs are new.
        first = differing(forms[0].ids, form.ids) if forms else None
        forms.append(form)
        for span in search.spans(parts, form.ids, least, first):
            start = int(form.ends[span.start - 1]) if span.start else 0
            found.append((start, int(form.ends[span.end - 1]), form, span))
    edges = np.cumsum([0, *(len(letter.encode()) for letter in text)])
    placed = []
    for start, end, form, span in without_contained(found):
        low = int(np.searchsorted(edges, start))  # a character of which a part stands there does not count
        high = int(np.searchsorted(edges, end, side="right")) - 1
        if low < high:
            placed.append(Passage(low, high, form.ids, span))
    return placed


def differing(one: np.ndarray, other: np.ndarray) -> int:
    """How many of the first ids of `other` there are before the end that it has in common with `one`."""
    most = min(len(one), len(other))
    same = one[len(one) - most :][::-1] == other[len(other) - most :][::-1]
    return len(other) - (most if same.all() else int(same.argmin()))


def without_contained(found: list[tuple[int, int, Spelled, Span]]) -> list[tuple[int, int, Spelled, Span]]:
    """Those that lie in no other one, by their start; of equal ones the first."""
    kept: list[tuple[int, int, Spelled, Span]] = []
    for one in sorted(found, key=lambda one: (one[0], -one[1])):
        if not kept or one[1] > kept[-1][1]:
            kept.append(one)
    return kept


def uncovered(text: str, covered: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The rest of a text, without white space around each piece, and without pieces that have no letter or digit.

    covered: (start, end) in characters, by start.
    """
    found, at = [], 0
    for start, end in [*covered, (len(text), len(text))]:
        if start > at:
            piece = text[at:start]
            low, high = at + len(piece) - len(piece.lstrip()), at + len(piece.rstrip())
            if any(letter.isalnum() for letter in piece):
                found.append((low, high))
        at = max(at, end)
    return found


def folded_places(text: str) -> tuple[str, list[int]]:
    """The text as `index.folded` has it, and the place in `text` of each of its characters."""
    pieces: list[str] = []
    at: list[int] = []
    for word in WORD.finditer(text):
        if pieces:
            pieces.append(" ")
            at.append(word.start() - 1)
        low = word.group().lower()
        own = [word.start() + i for i, letter in enumerate(word.group()) for _ in letter.lower()]
        at += own[: len(low)] + own[-1:] * (len(low) - len(own))
        pieces.append(low)
    return "".join(pieces), at
