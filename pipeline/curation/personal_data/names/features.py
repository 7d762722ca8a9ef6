"""The features of a token, as rows of a table of weights.

Each is the hash of something near the token (words, syllables, their first and last letters, shapes, the particle that
follows, whether a word is in a list of names), so the table has a fixed size and no dictionary. The choice follows
Ratinov and Roth 2009 for words and, for syllables, Konkol and Konopik 2013 ("character n-grams").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.curation.personal_data.names.lists import FIRST_NAMES, LAST_NAMES, PLACES, SURNAMES
from pipeline.curation.personal_data.names.text import BASE, HANGUL, LOWER, UPPER, Hashes, Ints, Tokens

BITS = 17
ROWS = 1 << BITS
Rows = NDArray[np.int32]


def hash_of(word: str) -> int:
    """What `Tokens.part` gives for this word."""
    total, power = 0, 1
    for character in word.lower():
        total += (ord(character) + 1) * power
        power = power * BASE % (1 << 64)
    return total % (1 << 64)


def _sorted(words: tuple[str, ...]) -> Hashes:
    return np.sort(np.array([hash_of(word) for word in words], dtype=np.uint64))


FIRST, LAST, KOREAN, PLACE = _sorted(FIRST_NAMES), _sorted(LAST_NAMES), _sorted(SURNAMES), _sorted(PLACES)


def _among(values: Hashes, sorted_words: Hashes) -> Ints:
    if not len(sorted_words):
        return np.zeros(len(values), np.int64)
    at = np.minimum(np.searchsorted(sorted_words, values), len(sorted_words) - 1)
    return (sorted_words[at] == values).astype(np.int64)


def _shape(tokens: Tokens) -> Ints:
    """Class of the token's first letter; whether the second is a capital; its length, up to 4 signs; `-`, `.`, `,`."""
    length = np.minimum(tokens.end - tokens.start, 4)
    second = np.append(tokens.codes, 0)[np.minimum(tokens.start + 1, tokens.end - 1)]
    capital = (second >= 65) & (second <= 90) & (length > 1)
    code = tokens.codes[tokens.start]
    sign = np.where((tokens.kind == 0) & (code < 128), code, 0).astype(np.int64)
    return tokens.kind + 8 * capital + 16 * length + 128 * sign


def rows_of(tokens: Tokens, lowercase: Hashes) -> Rows:
    """The rows of the table for each token: [tokens, features].

    lowercase: sorted hashes of words that are usually written in small letters.
    """
    start, end, kind = tokens.start, tokens.end, tokens.kind
    here = tokens.part(start, end)
    shape = _shape(tokens)
    latin = (kind == UPPER) | (kind == LOWER)
    size = end - start
    listed = (
        _among(here, FIRST) + 2 * _among(here, LAST) + 4 * (_among(here, lowercase) * latin) + 8 * _among(here, PLACE)
    )
    look = (shape + 1024 * 64 * listed).astype(np.uint64)
    known = listed.astype(np.uint64) + 16 * kind.astype(np.uint64)
    near = {offset: _shifted(here, offset) for offset in (-2, -1, 1, 2, 3)}
    looks = {offset: _shifted(look, offset) for offset in (-2, -1, 1, 2)}
    spaced = (start == tokens.word_start).astype(np.uint64)
    behind = _shifted(spaced, 1)

    hangul = kind == HANGUL
    before_size, after_size = start - tokens.word_start, tokens.word_end - end
    place = (np.minimum(before_size, 5) + 8 * np.minimum(after_size, 5)).astype(np.uint64)
    surname = _among(tokens.part(tokens.word_start, np.minimum(tokens.word_start + 1, tokens.word_end)), KOREAN)
    surname += 2 * _among(tokens.part(tokens.word_start, np.minimum(tokens.word_start + 2, tokens.word_end)), KOREAN)
    word = tokens.part(tokens.word_start, tokens.word_end)
    so_far = tokens.part(tokens.word_start, end)
    rest = tokens.part(end, tokens.word_end)
    # The words before and behind: of the token before this word's first sign, and of the one behind its last.
    count = len(start)
    first = np.searchsorted(start, tokens.word_start)
    last = np.searchsorted(start, tokens.word_end)
    previous, following = word[np.maximum(first - 1, 0)], np.minimum(last, count - 1)
    head = tokens.part(
        tokens.word_start[following], np.minimum(tokens.word_start[following] + 2, tokens.word_end[following])
    )
    tail = tokens.part(np.maximum(tokens.word_end - 2, tokens.word_start), tokens.word_end)
    korean = hangul.astype(np.uint64)
    family = surname.astype(np.uint64) + 4 * place + 1024 * korean

    parts = [
        _mix(here, near[-1] * korean),  # a syllable alone says little
        _mix(here, spaced),
        _mix(near[-1], look), _mix(near[1], look), _mix(near[-2], korean), _mix(near[2], korean),
        _mix(near[-1], here, near[1]), _mix(near[-1], here), _mix(here, near[1]),
        _mix(near[-2], near[-1], look), _mix(near[1], near[2], look), _mix(near[-2], near[-1], here),
        _mix(here, near[1], near[2]), _mix(near[1], near[2], near[3]),
        _mix(look, spaced), _mix(looks[-1], look), _mix(look, looks[1]), _mix(looks[-1], look, looks[1]),
        _mix(looks[-2], looks[-1], look), _mix(look, looks[1], looks[2]),
        _mix(tokens.part(start, np.minimum(start + 3, end)), look),
        _mix(tokens.part(np.maximum(end - 2, start), end), look),
        _mix(tokens.part(np.maximum(end - 3, start), end), look),
        _mix(tokens.part(np.maximum(end - 4, start), end), korean),
        _mix(word, place), _mix(so_far, korean), _mix(rest, korean, before_size.astype(np.uint64)), _mix(rest, family),
        _mix(family, behind), _mix(previous, place, korean), _mix(word[following], place, korean),
        _mix(head, place, korean),
        _mix(tail, place, korean), _mix(head, rest, korean), _mix(so_far, rest, korean), _mix(previous, word),
        _mix(tokens.part(tokens.word_start, np.minimum(tokens.word_start + 3, tokens.word_end)), place),
        _mix(known, kind.astype(np.uint64)), _mix(_shifted(known, -1), known, _shifted(known, 1), behind),
        _mix(known, near[1]), _mix(known, near[-1]), _mix(known, looks[1], near[2]),
        _mix(np.minimum(size, 12).astype(np.uint64), look, looks[1]),
    ]  # fmt: skip
    table = np.empty((count, len(parts)), dtype=np.int32)
    for number, values in enumerate(parts):
        table[:, number] = _row(values, number)
    return table


def _shifted(values: Hashes, offset: int) -> Hashes:
    """values[i + offset], and 0 beyond the ends."""
    moved = np.zeros_like(values)
    if offset > 0:
        moved[:-offset] = values[offset:]
    else:
        moved[-offset:] = values[:offset]
    return moved


def _mix(*values: Hashes) -> Hashes:
    mixed = values[0]
    for value in values[1:]:
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + value
    return mixed


def _row(values: Hashes, number: int) -> NDArray[np.int32]:
    """The finaliser of splitmix64, with another start for each feature; its upper bits."""
    mixed = values + np.uint64((number + 1) * 0x632BE59BD9B4E019 % (1 << 64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0x94D049BB133111EB)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(64 - BITS)).astype(np.int32)
