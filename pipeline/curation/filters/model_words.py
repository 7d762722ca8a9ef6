"""Text as the words that the n-gram models read, and the same words in another order, over the bytes of a whole column.

A word is a run of letters and digits or a run of marks, in lower case; digits are 0 and an address is `url`. Hangul is
split into syllables, the first one of a run marked: Korean words carry particles and endings, so most are rare, while
syllables are not and need no learned vocabulary. After the preprocessing of CCNet (Wenzek et al. 2020), which drops
punctuation. A unit is what stands between white space: words that keep their place beside one another when the order is
changed.

Each byte gets the class of its character, and words begin where the class changes. That takes a quarter of the time of
regular expressions (docs/results/filters.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.text import classes
from pipeline.text.buffers import buffers, from_buffers, row_blocks
from pipeline.text.classes import classes_of
from pipeline.text.words import MULTIPLIER, mix

SPACE, WORD, MARK, HANGUL = range(4)  # classes of characters: control characters count as white space
_KINDS = np.zeros(6, np.uint8)
_KINDS[[classes.OTHER, classes.NUMBER, classes.LETTER, classes.HANGUL]] = MARK, WORD, WORD, HANGUL
FIRST_SYLLABLE = "▁".encode()  # stands before the first syllable of a run
BLOCK_BYTES = 1 << 18  # of text at once, which keeps the arrays in the cache


class Spelled(NamedTuple):
    """The words of all texts, with one space between words of a text."""

    content: np.ndarray  # uint8
    offsets: np.ndarray  # int64, texts + 1
    units: np.ndarray  # int64, where each unit begins in `content`
    owners: np.ndarray  # int64, the text of each unit


def as_words(texts: pl.Series) -> pl.Series:
    """Texts as words separated by single spaces (see above)."""
    parts = [_spell(texts[start:end]) for start, end in row_blocks(texts, BLOCK_BYTES)]
    return _column([from_buffers(part.content, part.offsets) for part in parts])


def in_both_orders(texts: pl.Series, doc_ids: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The same, and the same words with the units of each text in another order.

    That order depends on nothing but the id of the document and the number of its units.
    """
    seeds = doc_ids.str.slice(-15).str.to_integer(base=16, dtype=pl.Int64).to_numpy().astype(np.uint64)
    words, moved = [], []
    for start, end in row_blocks(texts, BLOCK_BYTES):
        spelled = _spell(texts[start:end])
        words.append(from_buffers(spelled.content, spelled.offsets))
        moved.append(from_buffers(_shuffled(spelled, seeds[start:end]), spelled.offsets))
    return _column(words), _column(moved)


def _column(parts: list[pl.Series]) -> pl.Series:
    return pl.concat(parts) if parts else pl.Series(dtype=pl.String)


def _shuffled(spelled: Spelled, seeds: np.ndarray) -> np.ndarray:
    """The content with the units of each text in another order; texts stay where they are."""
    content, offsets, units, owners = spelled
    if not len(units):
        return content
    counts = np.bincount(owners, minlength=len(seeds))
    place = np.arange(len(units)) - np.repeat(np.cumsum(counts) - counts, counts)
    keys = mix(seeds[owners] + place.astype(np.uint64) * MULTIPLIER)
    keys = owners.astype(np.uint64) << np.uint64(40) | keys >> np.uint64(24)
    order = np.argsort(keys)
    if (keys[order[1:]] == keys[order[:-1]]).any():  # equal keys, whose order would depend on the machine
        order = np.argsort(keys, kind="stable")
    # A unit ends before the space that precedes the next one of its text, or with its text. In the new order, each is
    # followed by a space, except for the last one of a text.
    last = np.append(owners[1:] != owners[:-1], True)
    ends = np.append(units[1:] - 1, 0)
    ends[last] = offsets[owners[last] + 1]
    room = (ends - units)[order] + ~last
    begins = np.cumsum(room) - room
    read = np.arange(len(content)) + np.repeat(units[order] - begins, room)
    moved = content[np.minimum(read, len(content) - 1)]
    moved[begins[1:][~last[:-1]] - 1] = ord(" ")
    return moved


def _spell(texts: pl.Series) -> Spelled:
    texts = texts.str.to_lowercase()
    addresses = texts.str.contains("http", literal=True)
    if addresses.any():
        named = texts.filter(addresses).str.replace_all(r"https?://\S+", " url ")
        texts = texts.clone().scatter(addresses.arg_true(), named)
    data, offsets = buffers(texts.str.replace_all("[0-9]", "0"))
    if not data.size:
        return Spelled(data, offsets, np.zeros(0, np.int64), np.zeros(0, np.int64))
    kind, begins = classes_of(data)
    kind = _KINDS[kind]
    changes = np.ones(data.size, bool)
    np.not_equal(kind[1:], kind[:-1], out=changes[1:])
    changes[offsets[:-1][offsets[:-1] < data.size]] = True
    kept = kind != SPACE
    hangul = kind == HANGUL
    starts = np.flatnonzero((changes & kept) | (hangul & begins))
    first_syllables = hangul[starts] & changes[starts]
    marked = starts[first_syllables]
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(np.searchsorted(starts, offsets)))  # the text of each word
    first_words = np.ones(len(starts), bool)
    np.not_equal(owners[1:], owners[:-1], out=first_words[1:])
    # The number of bytes that each byte becomes: itself, the space before a word, the sign before a first syllable.
    wide = kept.astype(np.uint8)
    wide[starts[~first_words]] += 1
    wide[marked] += len(FIRST_SYLLABLE)
    upto = np.zeros(data.size + 1, np.int64)
    np.cumsum(wide, out=upto[1:])
    content = np.repeat(data, wide)
    content[upto[starts[~first_words]]] = ord(" ")
    for place, byte in enumerate(FIRST_SYLLABLE):
        content[upto[marked + 1] - 1 - len(FIRST_SYLLABLE) + place] = byte
    opens = first_words | (kind[starts - 1] == SPACE)
    units = upto[starts + 1] - 1 - len(FIRST_SYLLABLE) * first_syllables
    return Spelled(content, upto[offsets], units[opens], owners[opens])
