"""The longest passages of some token ids that stand in parts of the index, how often, and where.

For every place of the query, two neighbours in the order of suffixes share the longest beginning with what stands there
(Manber and Myers 1993). All places are looked up at once, so that a step of the binary search is a few operations on
columns; a comparison begins behind the tokens that the neighbours so far are known to share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.trace.part import Part

AT_ONCE = 8  # tokens compared in one operation
BEFORE_ALL, AFTER_ALL = -1, 2**31  # what stands in place of a token behind the end of what is looked for


@dataclass(frozen=True)
class Span:
    """A passage of the query that stands in the text, and in no longer one that does."""

    start: int
    end: int  # exclusive
    found: tuple[tuple[int, int, int], ...]  # of each part that has it: (part, first, behind last) in its suffixes

    @property
    def count(self) -> int:
        """How many times it stands there."""
        return sum(behind - first for _, first, behind in self.found)


def spans(parts: Sequence[Part], query: np.ndarray, least: int = 1, first: int | None = None) -> list[Span]:
    """The longest passages of `query` (ids, int64) of at least `least` tokens that stand in documents of the parts.

    None lies within another. A passage never goes across the end of a document. first: only those that begin at one of
    so many first tokens.
    """
    begins = np.arange(len(query) if first is None else min(first, len(query)))
    if not len(begins) or not parts:
        return []
    asked = cleaned(parts, query)
    by_part = np.stack([longest(part, asked, begins) for part in parts])
    length = by_part.max(0)
    kept = length >= max(1, least)
    kept[1:] &= length[1:] >= length[:-1]  # else it is the rest of the passage that begins one token earlier
    starts = np.flatnonzero(kept)
    found: list[list[tuple[int, int, int]]] = [[] for _ in starts]
    for number, (part, own) in enumerate(zip(parts, by_part, strict=True)):
        here = np.flatnonzero(own[starts] == length[starts])
        low, high = ranges(part, asked, starts[here], length[starts[here]])
        for at, first_place, behind in zip(here.tolist(), low.tolist(), high.tolist(), strict=True):
            found[at].append((number, first_place, behind))
    return [
        Span(start, start + int(length[start]), tuple(where))
        for start, where in zip(starts.tolist(), found, strict=True)
    ]


def cleaned(parts: Sequence[Part], query: np.ndarray) -> np.ndarray:
    """The query with an id that never occurs in place of those that end documents."""
    ends = np.array(sorted({part.end for part in parts}))
    return np.where(np.isin(query, ends) | (query < 0), BEFORE_ALL, query.astype(np.int64))


def longest(part: Part, query: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """For each of some places of the query, how many tokens from there on stand somewhere in the part, int64."""
    limits = len(query) - starts
    if not len(part.suffixes):
        return np.zeros(len(starts), np.int64)
    at, before, after = insertion(part, query, starts, limits, BEFORE_ALL)
    # What the search last compared on each side are the neighbours, unless it never moved to that side.
    return np.maximum(np.where(at > 0, before, 0), np.where(at < len(part.suffixes), after, 0))


def ranges(part: Part, query: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in the order of suffixes those lie that begin with `query[start : start + length]`: first, behind last."""
    low, _, _ = insertion(part, query, starts, lengths, BEFORE_ALL)
    high, _, _ = insertion(part, query, starts, lengths, AFTER_ALL)
    return low, high


def insertion(
    part: Part, query: np.ndarray, starts: np.ndarray, lengths: np.ndarray, behind: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where `query[start : start + length]`, then `behind`, belongs in the order of suffixes: how many come before it.

    Also the tokens that it shares with the suffix before that place, and with the one behind it; int64 [starts].
    """
    low, high = np.zeros(len(starts), np.int64), np.full(len(starts), len(part.suffixes), np.int64)
    shared_low, shared_high = np.zeros_like(low), np.zeros_like(low)
    while True:
        open_ = np.flatnonzero(low < high)
        if not len(open_):
            return low, shared_low, shared_high
        middle = (low[open_] + high[open_]) // 2
        known = np.minimum(shared_low[open_], shared_high[open_])
        suffix = part.suffixes[middle].astype(np.int64)
        shared, smaller = compared(part, suffix, query, starts[open_], lengths[open_], known, behind)
        up, down = open_[smaller], open_[~smaller]
        low[up], shared_low[up] = middle[smaller] + 1, shared[smaller]
        high[down], shared_high[down] = middle[~smaller], shared[~smaller]


def compared(
    part: Part,
    suffixes: np.ndarray,
    query: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
    known: np.ndarray,
    behind: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(tokens that each suffix shares with its passage of the query, whether the suffix comes before it).

    known: tokens that they share for certain. The text ends with an id that no query holds, so every comparison ends.
    """
    shared, smaller = known.copy(), np.zeros(len(known), dtype=bool)
    open_ = np.arange(len(known))
    last = len(part.low) - 1
    offsets = np.arange(AT_ONCE)
    while len(open_):
        ahead = shared[open_, None] + offsets
        theirs = part.tokens(np.minimum(suffixes[open_, None] + ahead, last))
        inside = ahead < lengths[open_, None]
        ours = np.where(inside, query[np.minimum(starts[open_, None] + ahead, len(query) - 1)], behind)
        differs = theirs != ours
        first = differs.argmax(1)
        row = np.arange(len(open_))
        found = differs[row, first]
        shared[open_] += np.where(found, first, AT_ONCE)
        smaller[open_] = theirs[row, first] < ours[row, first]
        open_ = open_[~found]
    return shared, smaller
