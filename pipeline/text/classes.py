"""The class of every character of a column (white space, letter, number, other), and counts that follow from it.

Characters are classified by table look-up on the UTF-8 bytes; the tables are made by the regular expressions that they
stand for, so both agree. One pass over the bytes takes the place of one for each pattern.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.text.words import blocks, hash_spans

SPACE, CONTROL, OTHER, NUMBER, LETTER, HANGUL = range(6)  # HANGUL: its syllables; all other letters are LETTER
_PATTERNS = (
    (r"[\x00-\x1f]", CONTROL), (r"\s", SPACE), (r"\p{N}", NUMBER), (r"\p{L}", LETTER), ("[가-힣]", HANGUL),
)  # fmt: skip
COUNTED = ("pieces", "words", "with_letter", "runs")
BLOCK_BYTES = 1 << 18  # of text at once, which keeps the arrays in the cache
_TABLED = 0x20000  # code points whose class is looked up; those beyond are classified when they occur


class Pieces(NamedTuple):
    """The strings between white space of a column of texts, in order."""

    hashes: np.ndarray  # uint64, of the bytes
    characters: np.ndarray  # int64
    text_index: np.ndarray  # int64, the text of each
    texts: int


def classes_of(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class of the character that each byte belongs to (uint8), and whether it is its first byte. data: UTF-8."""
    kind = _table()[data]  # right for ASCII
    begins = (data & np.uint8(0xC0)) != 0x80
    leads = np.flatnonzero(data >= 0xC0)
    first = data[leads]
    for least, most, length, bits in ((0xC0, 0xE0, 2, 0x1F), (0xE0, 0xF0, 3, 0x0F), (0xF0, 0xFF, 4, 0x07)):
        some = leads[(first >= least) & (first < most)]
        if not some.size:
            continue
        code = data[some].astype(np.int32) & bits
        for step in range(1, length):
            code = code << 6 | data[some + step] & 0x3F
        found = _table()[np.minimum(code, _TABLED - 1)]
        beyond = np.flatnonzero(code >= _TABLED)
        if beyond.size:
            found[beyond] = _classified([chr(one) for one in code[beyond].tolist()])
        for step in range(length):
            kind[some + step] = found
    return kind, begins


@cache
def _table() -> np.ndarray:
    """The class of each code point below _TABLED."""
    return _classified([chr(code) if not 0xD800 <= code < 0xE000 else " " for code in range(_TABLED)])


def _classified(characters: list[str]) -> np.ndarray:
    column = pl.Series(characters, dtype=pl.String)
    kinds = np.full(len(characters), OTHER, np.uint8)
    for pattern, kind in _PATTERNS:
        kinds[column.str.contains(pattern).to_numpy()] = kind
    return kinds


def pieces_of(texts: pl.Series) -> tuple[Pieces, pl.DataFrame]:
    r"""The strings between white space (`\S+`), and what `count_pieces` counts."""
    none = np.zeros(0, np.int64)
    hashes, characters, index = [none.view(np.uint64)], [none], [none]
    counted = [_no_counts(0)]
    for first, _, data, offsets in blocks(texts, BLOCK_BYTES):
        if not data.size:
            counted.append(_no_counts(len(offsets) - 1))
            continue
        kind, begins = classes_of(data)
        edge, inside = _edges(offsets), kind != SPACE
        starts, ends = _starts(inside, edge), _ends(inside, edge)
        upto = np.zeros(data.size + 1, np.int32)
        np.cumsum(begins, out=upto[1:])
        counts = _counts(kind, edge, offsets, starts)
        hashes.append(hash_spans(data, starts, ends))
        characters.append((upto[ends] - upto[starts]).astype(np.int64))
        index.append(np.repeat(np.arange(first, first + len(counts)), counts[:, 0]))
        counted.append(counts)
    joined = Pieces(np.concatenate(hashes), np.concatenate(characters), np.concatenate(index), len(texts))
    return joined, _as_frame(counted)


def count_pieces(texts: pl.Series) -> pl.DataFrame:
    """For each text (u32): `pieces` (strings between white space), `words` (those with a letter or a number),
    `with_letter` (those with a letter) and `runs` (of letters and numbers)."""
    counted = [_no_counts(0)]
    for _, _, data, offsets in blocks(texts, BLOCK_BYTES):
        kind, edge = classes_of(data)[0], _edges(offsets)
        counted.append(_counts(kind, edge, offsets, _starts(kind != SPACE, edge)))
    return _as_frame(counted)


def letters_and_numbers(texts: pl.Series) -> np.ndarray:
    """The number of letters and numbers of each text (int64)."""
    counted = [np.zeros(0, np.int64)]
    for _, _, data, offsets in blocks(texts, BLOCK_BYTES):
        kind, begins = classes_of(data)
        upto = np.zeros(data.size + 1, np.int64)
        np.cumsum((kind >= NUMBER) & begins, out=upto[1:])
        counted.append(np.diff(upto[offsets]))
    return np.concatenate(counted)


def _no_counts(texts: int) -> np.ndarray:
    return np.zeros((texts, len(COUNTED)), np.uint32)


def _as_frame(counts: list[np.ndarray]) -> pl.DataFrame:
    joined = np.concatenate(counts)
    return pl.DataFrame({name: np.ascontiguousarray(joined[:, place]) for place, name in enumerate(COUNTED)})


def _counts(kind: np.ndarray, edge: np.ndarray, offsets: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """COUNTED of each text: uint32 (texts, 4)."""
    best = np.maximum.reduceat(kind, starts) if starts.size else kind[:0]  # the highest class within each piece
    bounds = np.searchsorted(starts, offsets)

    def of_text(which: np.ndarray) -> np.ndarray:
        return np.diff(np.append(0, np.cumsum(which))[bounds])

    runs = np.diff(np.searchsorted(_starts(kind >= NUMBER, edge), offsets))
    counts = (np.diff(bounds), of_text(best >= NUMBER), of_text(best >= LETTER), runs)
    return np.stack(counts, axis=1).astype(np.uint32)


def _edges(offsets: np.ndarray) -> np.ndarray:
    """Which bytes are the first of a text."""
    edge = np.zeros(offsets[-1], bool)
    edge[offsets[:-1][offsets[:-1] < offsets[-1]]] = True
    return edge


def _starts(inside: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Where runs of `inside` begin; no run goes over an edge."""
    if not inside.size:
        return np.zeros(0, np.int64)
    begin = inside.copy()
    begin[1:] &= ~inside[:-1] | edge[1:]
    return np.flatnonzero(begin)


def _ends(inside: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Where these runs end, exclusive."""
    end = inside.copy()
    end[:-1] &= ~inside[1:] | edge[1:]
    return np.flatnonzero(end) + 1
