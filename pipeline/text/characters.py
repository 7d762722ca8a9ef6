"""The number of characters of each kind in every text: letters by script, digits, white space, the rest.

Characters are counted by table look-up on the UTF-8 bytes of the whole column; no string is made or decoded. The lead
byte and the byte after it give the code point's block of 64, which is fine enough to tell scripts apart.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from pipeline.text.buffers import buffers

# First and last code point of the blocks that hold a script's letters (Unicode 15, blocks rounded to 64).
SCRIPTS: dict[str, list[tuple[int, int]]] = {
    "latin": [(0xC0, 0x24F), (0x1E00, 0x1EFF)],
    "hangul": [(0x1100, 0x11FF), (0x3131, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF)],
    "kana": [(0x3040, 0x30FF), (0x31F0, 0x31FF)],
    "han": [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)],
    "cyrillic": [(0x400, 0x52F)],
    "greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "arabic": [(0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)],
    "hebrew": [(0x590, 0x5FF)],
    "devanagari": [(0x900, 0x97F)],
    "thai": [(0xE00, 0xE7F)],
    "other_unspaced": [(0xE80, 0x109F), (0x1780, 0x17FF)],  # Lao, Tibetan, Burmese, Khmer
    # Letters of all other scripts, which lid.176 identifies well.
    "other_script": [
        (0x530, 0x58F),
        (0x980, 0xDFF),
        (0x10C0, 0x10FF),
        (0x1200, 0x177F),
        (0x1800, 0x1CFF),
        (0xA000, 0xA95F),
    ],
}
KINDS = ["ascii_letters", "digits", "spaces", "marks", *SCRIPTS]
_ASCII = KINDS[:4]
_MARKS = KINDS.index("marks")
_LANE = 16  # bits of a sum, of which four fit into one number
_BLOCK_BYTES = 1 << 18  # of text at once, which keeps the sums' terms in the cache
_FOUR_BYTES = 255  # instead of a kind: the first two bytes do not tell


@cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The terms of `_sums` that count each kind of ASCII byte; the kind of a character that is not ASCII by its first
    two bytes; and the kind of each block of 64 code points."""
    ascii_kind = np.full(128, _MARKS, np.uint8)
    for low, high in ((65, 90), (97, 122)):
        ascii_kind[low : high + 1] = KINDS.index("ascii_letters")
    ascii_kind[48:58] = KINDS.index("digits")
    ascii_kind[[9, 10, 11, 12, 13, 32]] = KINDS.index("spaces")
    terms = np.zeros(256, np.uint64)
    terms[:128] = np.uint64(1) << (_LANE * ascii_kind).astype(np.uint64)
    block_kind = np.full(0x110000 >> 6, _MARKS, np.uint8)
    for script, ranges in SCRIPTS.items():
        for low, high in ranges:
            block_kind[low >> 6 : (high >> 6) + 1] = KINDS.index(script)
    first, second = np.arange(1 << 16) >> 8, np.arange(1 << 16) & 0x3F
    pair_kind = block_kind[np.where(first < 0xE0, first & 0x1F, (first & 0x0F) << 6 | second)]
    pair_kind[first >= 0xF0] = _FOUR_BYTES
    return terms, pair_kind, block_kind


def count_kinds(texts: pl.Series) -> pl.DataFrame:
    """The number of characters of each kind: one row per text, one u32 column per kind of KINDS.

    Latin letters, ASCII or not, are counted in one column, `latin`; the result has no column `ascii_letters`.
    """
    content, offsets = buffers(texts)
    terms, _, _ = _tables()
    histogram = _beyond_ascii(content, offsets)
    histogram[:, : len(_ASCII)] += _sums(content, offsets, terms)
    counts = {name: histogram[:, number].astype(np.uint32) for number, name in enumerate(KINDS)}
    counts["latin"] = counts["latin"] + counts.pop("ascii_letters")
    return pl.DataFrame(counts)


def _beyond_ascii(content: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The number of characters of each kind that are not ASCII: int64 (texts, KINDS)."""
    _, pair_kind, block_kind = _tables()
    texts = len(offsets) - 1
    leads = np.flatnonzero(content >= 0xC0)
    if not leads.size:
        return np.zeros((texts, len(KINDS)), np.int64)
    kinds = pair_kind[content[leads].astype(np.uint16) << np.uint16(8) | content[leads + 1]]
    long = np.flatnonzero(kinds == _FOUR_BYTES)
    if long.size:
        first, second, third = (content[leads[long] + step].astype(np.int32) & 0x3F for step in range(3))
        block = (first & 0x07) << 12 | second << 6 | third
        kinds[long] = block_kind[np.minimum(block, block_kind.size - 1)]
    # One histogram over (text, kind).
    cells = np.repeat(np.arange(texts) * len(KINDS), np.diff(np.searchsorted(leads, offsets)))
    cells += kinds
    return np.bincount(cells, minlength=texts * len(KINDS)).reshape(texts, len(KINDS))


def _sums(content: np.ndarray, offsets: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """How often each text has bytes of up to four groups: int64 (texts, 4).

    terms: for each byte, 1 << 16 * its group, or 0. So one addition counts all groups; sums end before one overflows.
    """
    texts = len(offsets) - 1
    counts = np.zeros((texts, 4), np.int64)
    for block in range(0, len(content), _BLOCK_BYTES):
        part = content[block : block + _BLOCK_BYTES]
        first, end = np.searchsorted(offsets, [block, block + len(part)])
        begins = np.concatenate([np.arange(0, len(part), 1 << (_LANE - 1)), offsets[first:end] - block])
        begins = np.unique(begins[begins < len(part)])
        sums = np.add.reduceat(terms[part], begins)
        owners = np.searchsorted(offsets, begins + block, side="right") - 1
        for group in range(4):
            values = (sums >> np.uint64(_LANE * group)) & np.uint64((1 << _LANE) - 1)
            np.add.at(counts[:, group], owners, values.astype(np.int64))
    return counts


def count_cases(texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The number of ASCII capitals and of small letters in each text (int64)."""
    terms = np.zeros(256, np.uint64)
    terms[ord("A") : ord("Z") + 1] = 1
    terms[ord("a") : ord("z") + 1] = 1 << _LANE
    counts = _sums(*buffers(texts), terms)
    return counts[:, 0], counts[:, 1]
