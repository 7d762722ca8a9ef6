"""What is known of words before a sentence is read: lists of names, and how plain text usually writes a word.

The lists are part of the project; what plain text tells is counted while the tagger is taught, and is in its file.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.curation.personal_data.names import abroad
from pipeline.curation.personal_data.names.lists import ABROAD, FIRST_NAMES, LAST_NAMES, PLACES, SURNAMES
from pipeline.curation.personal_data.names.text import BASE, EDGE, Hashes, Ints, tokens_of

WORLD = Path(__file__).with_name("world.txt.gz")
LEVELS = (4, 20, 120)  # occurrences in plain text from which a beginning of a word is known, usual, frequent
LONGEST_STEM = 5  # syllables


def hash_of(word: str) -> int:
    """What `Tokens.part` gives for this word."""
    total, power = 0, 1
    for character in word.lower():
        total += (ord(character) + 1) * power
        power = power * BASE % (1 << 64)
    return total % (1 << 64)


def hashes_of(words: Sequence[str]) -> Hashes:
    """Sorted hashes of words, none of which holds a blank."""
    tokens = tokens_of(words)
    whole = np.flatnonzero((tokens.start == tokens.word_start) & (tokens.codes[tokens.start] != ord(EDGE)))
    return np.unique(tokens.part(tokens.word_start[whole], tokens.word_end[whole]))


def among(values: Hashes, sorted_words: Hashes) -> Ints:
    """1 where a value is one of the sorted hashes, else 0."""
    if not len(sorted_words):
        return np.zeros(len(values), np.int64)
    at = np.minimum(np.searchsorted(sorted_words, values), len(sorted_words) - 1)
    return (sorted_words[at] == values).astype(np.int64)


@lru_cache(maxsize=1)
def world() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(first names, last names) of some forty countries in Latin letters, from `faker` (coefficients.md), in small
    letters."""
    lines = gzip.decompress(WORLD.read_bytes()).decode("utf-8").splitlines()
    named = {kind: tuple(names.split()) for kind, _, names in (line.partition(" ") for line in lines)}
    return named["first"], named["last"]


@dataclass(frozen=True)
class Lists:
    """Sorted hashes: Latin first and last names and places; Korean surnames; names from abroad in Hangul."""

    first: Hashes
    last: Hashes
    places: Hashes
    surnames: Hashes
    abroad: Hashes


@lru_cache(maxsize=1)
def lists() -> Lists:
    first, last = world()
    return Lists(
        hashes_of(tuple({*first, *FIRST_NAMES})),
        hashes_of(tuple({*last, *LAST_NAMES})),
        hashes_of(PLACES),
        hashes_of(SURNAMES),
        hashes_of(tuple({name for name in (*abroad.FIRST, *abroad.LAST, *ABROAD) if len(name) > 1})),
    )


@dataclass(frozen=True)
class Usual:
    """How plain text writes words.

    lowercase: sorted hashes of Latin words in small letters; stems: sorted upper halves of the hashes of beginnings of
    Korean words; levels: how often each of them begins a word (LEVELS).
    """

    lowercase: Hashes
    stems: NDArray[np.uint32]
    levels: NDArray[np.uint8]

    def level(self, values: Hashes) -> Hashes:
        """The level of each hash of a beginning of a word: 0 (not seen) to 3."""
        if not len(self.stems):
            return np.zeros(len(values), np.uint64)
        short = (values >> np.uint64(32)).astype(np.uint32)
        at = np.minimum(np.searchsorted(self.stems, short), len(self.stems) - 1)
        return np.where(self.stems[at] == short, self.levels[at], 0).astype(np.uint64)


def usual(texts: Sequence[str]) -> Usual:
    """What plain text tells of its words."""
    stems, levels = _stems(texts)
    return Usual(usually_small(texts), stems, levels)


def usually_small(texts: Sequence[str], least: int = 5) -> Hashes:
    """Sorted hashes of Latin words written in small letters `least` times, and four times as often as otherwise."""
    import re
    from collections import Counter

    small: Counter[str] = Counter()
    capital: Counter[str] = Counter()
    for text in texts:
        for word in re.findall(r"[^\W\d_]+", text):
            if word[0].isupper():
                capital[word.lower()] += 1
            elif word.isascii():
                small[word] += 1
    return hashes_of([word for word, count in small.items() if count >= least and count >= 4 * capital[word]])


def _stems(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Beginnings, of two to LONGEST_STEM syllables, of the runs of Hangul in `texts`, with their levels."""
    runs = pl.Series(texts, dtype=pl.String).str.extract_all("[가-힣]{2,}").explode(empty_as_null=False)
    counts = pl.DataFrame({"run": runs}).drop_nulls().group_by("run").len()
    parts = [
        counts.filter(pl.col("run").str.len_chars() >= size).select(pl.col("run").str.slice(0, size), "len")
        for size in range(2, LONGEST_STEM + 1)
    ]
    known = pl.concat(parts).group_by("run").sum().filter(pl.col("len") >= LEVELS[0])
    hashes = np.array([hash_of(word) >> 32 for word in known["run"]], dtype=np.uint32)
    levels = np.searchsorted(np.array(LEVELS), known["len"].to_numpy(), side="right").astype(np.uint8)
    order = np.lexsort((levels, hashes))
    return hashes[order], levels[order]
