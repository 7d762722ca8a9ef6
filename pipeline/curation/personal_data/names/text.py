"""Texts as arrays of tokens: a syllable of Hangul, a word of other letters, a run of digits, or a single sign.

Names in Korean are the first syllables of a word to which particles are attached (`김민준은`), so its tokens are
syllables; in English they are words. All texts of a batch are one array of code points, and a hash of any part of it is
the difference of two prefix sums, so that nothing here is a loop over tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]

OTHER, SPACE, HANGUL, UPPER, LOWER, DIGIT, LINE = range(7)
# A sign of its own on both sides of each text, so that no text sees its neighbours. Never in exchanged text.
EDGE = "\ufdd1"
MARGIN = EDGE * 3
# Of the polynomial hash modulo 2**64: an odd number, which therefore has an inverse.
BASE = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Tokens:
    """Tokens of a batch of texts, in order.

    `start`, `end`: code points in the joined text; `kind`: class of the first code point; `text`: index of the text;
    `segment`: number of the stretch, of a sentence at most, in which a name lies whole; `word_start`, `word_end`: the
    run without blanks that holds the token; `offsets`: where each text begins in the joined text.
    """

    codes: NDArray[np.uint32]
    sums: Hashes
    start: Ints
    end: Ints
    kind: Ints
    text: Ints
    segment: Ints
    word_start: Ints
    word_end: Ints
    offsets: Ints

    def part(self, start: Ints, end: Ints) -> Hashes:
        """Hashes of the parts [start, end) of the joined text, in small letters; 0 for an empty part."""
        return (self.sums[end] - self.sums[start]) * powers(len(self.sums))[1][start]


@lru_cache(maxsize=1)
def classes() -> NDArray[np.uint8]:
    """The class of each code point of the basic plane; all others are OTHER."""
    table = np.zeros(1 << 16, dtype=np.uint8)
    for code in range(1 << 16):
        character = chr(code)
        if 0xAC00 <= code <= 0xD7A3:
            table[code] = HANGUL
        elif character in "\n\r":
            table[code] = LINE
        elif character.isspace():
            table[code] = SPACE
        elif character.isdigit():
            table[code] = DIGIT
        elif character.isalpha() or (0x300 <= code < 0x370):
            table[code] = UPPER if character.isupper() or character.istitle() else LOWER
    return table


@lru_cache(maxsize=1)
def small_letters() -> NDArray[np.uint32]:
    """The small letter of each code point of the basic plane."""
    return np.array(
        [ord(low) if len(low := chr(code).lower()) == 1 else code for code in range(1 << 16)], dtype=np.uint32
    )


@lru_cache(maxsize=2)
def powers(count: int) -> tuple[Hashes, Hashes]:
    """The first `count` powers of BASE and of its inverse, modulo 2**64."""
    both = []
    for base in (BASE, pow(BASE, -1, 1 << 64)):
        row = np.full(count, base, dtype=np.uint64)
        row[0] = 1
        both.append(np.cumprod(row, dtype=np.uint64))
    return both[0], both[1]


def tokens_of(texts: Sequence[str]) -> Tokens:
    """All tokens of `texts`, which a caller keeps to some megabytes: about 200 bytes of memory a code point."""
    joined = MARGIN + MARGIN.join(texts) + MARGIN
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.fromiter((len(text) + len(MARGIN) for text in texts), dtype=np.int64, count=len(texts))
    offsets = np.cumsum(lengths) - lengths + len(MARGIN)
    plane = np.minimum(codes, 0xFFFF)
    kinds = classes()[plane]
    # At powers of two, so that the cached powers are made once for batches of about one size.
    size = 1 << int(len(codes) + 1).bit_length()
    sums = np.zeros(size, dtype=np.uint64)
    low = np.where(codes <= 0xFFFF, small_letters()[plane], codes).astype(np.uint64) + np.uint64(1)
    np.cumsum(low * powers(size)[0][: len(codes)], out=sums[1 : len(codes) + 1])

    word = (kinds == UPPER) | (kinds == LOWER)
    group = np.where(word, UPPER, kinds)
    blank = (kinds == SPACE) | (kinds == LINE)
    same = np.zeros(len(codes), dtype=bool)
    same[1:] = (group[1:] == group[:-1]) & (word[1:] | (kinds[1:] == DIGIT))
    starts = np.flatnonzero(~same & ~blank)
    after = np.flatnonzero(np.append(~same, True))  # where anything but the rest of a token begins
    ends = after[np.searchsorted(after, starts, side="right")]
    edge = codes == ord(EDGE)
    apart = blank | edge
    gaps = np.flatnonzero(np.concatenate(([True], apart, [True])))  # 1 + the places of blanks
    right = np.searchsorted(gaps, starts + 1, side="right")
    word_start, word_end = gaps[right - 1], gaps[right] - 1
    word_start, word_end = np.where(edge[starts], starts, word_start), np.where(edge[starts], ends, word_end)
    text = np.searchsorted(offsets, starts, side="right") - 1
    segment = _segments(codes, kinds, starts, ends)
    return Tokens(
        codes, sums, starts, ends, kinds[starts].astype(np.int64), text, segment, word_start, word_end, offsets
    )


LONGEST = 160  # tokens of a segment


def _segments(codes: NDArray[np.uint32], kinds: NDArray[np.uint8], starts: Ints, ends: Ints) -> Ints:
    """Segments end at line ends, at the stop of a sentence behind a word of more than two letters, and at the edge."""
    lines = np.cumsum(kinds == LINE)
    begins = np.zeros(len(starts), dtype=bool)
    begins[0] = True
    begins[1:] = lines[starts[1:]] != lines[starts[:-1]]
    stop = np.isin(codes[starts], np.array([ord(sign) for sign in ".!?…。"], dtype=np.uint32))
    blank = np.append(kinds, SPACE)[ends]
    long = np.zeros(len(starts), dtype=bool)
    long[1:] = (ends - starts)[:-1] > 3
    hangul = np.zeros(len(starts), dtype=bool)
    hangul[1:] = kinds[starts[:-1]] == HANGUL
    ended = stop & ((blank == SPACE) | (blank == LINE)) & (long | hangul | (codes[starts] != ord(".")))
    begins[1:] |= ended[:-1]
    begins |= codes[starts] == ord(EDGE)
    segment = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    within = np.arange(len(starts)) - first[segment]
    return np.cumsum(begins | ((within > 0) & (within % LONGEST == 0))) - 1
