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
_MARKS = KINDS.index("marks")
NO_KIND = 255  # a byte that is not an ASCII character


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """The kind of each ASCII byte, and the kind of each block of 64 code points."""
    ascii_kind = np.full(256, NO_KIND, np.uint8)
    ascii_kind[:128] = _MARKS
    for low, high in ((65, 90), (97, 122)):
        ascii_kind[low : high + 1] = KINDS.index("ascii_letters")
    ascii_kind[48:58] = KINDS.index("digits")
    ascii_kind[[9, 10, 11, 12, 13, 32]] = KINDS.index("spaces")
    block_kind = np.full(0x110000 >> 6, _MARKS, np.uint8)
    for script, ranges in SCRIPTS.items():
        for low, high in ranges:
            block_kind[low >> 6 : (high >> 6) + 1] = KINDS.index(script)
    return ascii_kind, block_kind


def count_kinds(texts: pl.Series) -> pl.DataFrame:
    """The number of characters of each kind: one row per text, one u32 column per kind of KINDS.

    Latin letters, ASCII or not, are counted in one column, `latin`; the result has no column `ascii_letters`.
    """
    content, offsets = buffers(texts)
    ascii_kind, block_kind = _tables()
    leads = np.flatnonzero(content >= 0xC0)
    first = content[leads].astype(np.int32)

    def after(step: int) -> np.ndarray:
        return content[np.minimum(leads + step, content.size - 1)].astype(np.int32) & 0x3F

    # Code point >> 6, for sequences of two, three and four bytes.
    block = np.where(
        first < 0xE0,
        first & 0x1F,
        np.where(first < 0xF0, (first & 0x0F) << 6 | after(1), (first & 0x07) << 12 | after(1) << 6 | after(2)),
    )
    # Beyond ASCII: one histogram over (text, kind).
    bounds = np.searchsorted(leads, offsets)
    cells = np.repeat(np.arange(len(texts)), np.diff(bounds)) * len(KINDS)
    cells += block_kind[np.minimum(block, block_kind.size - 1)]
    histogram = np.bincount(cells, minlength=len(texts) * len(KINDS)).reshape(len(texts), len(KINDS))
    counts = {name: histogram[:, number].astype(np.uint32) for number, name in enumerate(KINDS)}
    # ASCII: one pass over the bytes for each kind.
    kinds = ascii_kind[content]
    for name in ("ascii_letters", "digits", "spaces", "marks"):
        counts[name] = counts[name] + _count_by_text(kinds == KINDS.index(name), offsets)
    counts["latin"] = counts["latin"] + counts.pop("ascii_letters")
    return pl.DataFrame(counts)


def _count_by_text(flags: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The number of flagged bytes in each text; texts may be empty."""
    positions = np.flatnonzero(flags)
    return np.diff(np.searchsorted(positions, offsets)).astype(np.uint32)


def count_bytes(texts: pl.Series, first: str, last: str) -> np.ndarray:
    """The number of ASCII characters from `first` to `last` in each text (int64)."""
    content, offsets = buffers(texts)
    upto = np.zeros(content.size + 1, np.int64)
    np.cumsum((content - np.uint8(ord(first))) <= ord(last) - ord(first), out=upto[1:])
    return np.diff(upto[offsets])
