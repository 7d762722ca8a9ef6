"""The features of a token, as rows of a table of weights.

Each is the hash of something near the token (words, syllables, their first and last letters, shapes, the particle that
follows, whether a word is in a list of names), so the table has a fixed size and no dictionary. The choice follows
Ratinov and Roth 2009 for words and, for syllables, Konkol and Konopik 2013 ("character n-grams").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.curation.personal_data.names.text import HANGUL, LOWER, UPPER, Flags, Hashes, Ints, Tokens
from pipeline.curation.personal_data.names.words import Usual, among, lists

BITS = 19
ROWS = 1 << BITS
Rows = NDArray[np.int32]


def _shape(tokens: Tokens) -> Ints:
    """Class of the token's first letter; whether the second is a capital; its length, up to 4 signs; `-`, `.`, `,`."""
    length = np.minimum(tokens.end - tokens.start, 4)
    second = np.append(tokens.codes, 0)[np.minimum(tokens.start + 1, tokens.end - 1)]
    capital = (second >= 65) & (second <= 90) & (length > 1)
    code = tokens.codes[tokens.start]
    sign = np.where((tokens.kind == 0) & (code < 128), code, 0).astype(np.int64)
    return tokens.kind + 8 * capital + 16 * length + 128 * sign


def rows_of(tokens: Tokens, usual: Usual) -> Rows:
    """The rows of the table for each token: [tokens, features]. usual: how plain text writes words."""
    here = tokens.part(tokens.start, tokens.end)
    near = {0: here} | {offset: _shifted(here, offset) for offset in (-2, -1, 1, 2, 3)}
    spaced = (tokens.start == tokens.word_start).astype(np.uint64)
    parts = [
        *_words(tokens, usual, near, spaced),
        *_around(tokens, near, _shifted(spaced, 1)),
        *_korean(tokens, usual, near),
    ]
    table = np.empty((len(tokens.start), len(parts)), dtype=np.int32)
    for number, values in enumerate(parts):
        table[:, number] = _row(values, number)
    return table


def _words(tokens: Tokens, usual: Usual, near: dict[int, Hashes], spaced: Hashes) -> list[Hashes]:
    """Features of the token, of its look, of lists that it is in, and of the tokens beside it."""
    start, end, kind = tokens.start, tokens.end, tokens.kind
    here, known_names = near[0], lists()
    latin = (kind == UPPER) | (kind == LOWER)
    listed = (
        among(here, known_names.first)
        + 2 * among(here, known_names.last)
        + 4 * (among(here, usual.lowercase) * latin)
        + 8 * among(here, known_names.places)
    )
    look = (_shape(tokens) + 1024 * 64 * listed).astype(np.uint64)
    known = listed.astype(np.uint64) + 16 * kind.astype(np.uint64)
    looks = {offset: _shifted(look, offset) for offset in (-2, -1, 1, 2)}
    korean = (kind == HANGUL).astype(np.uint64)
    behind = _shifted(spaced, 1)
    return [
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
        _mix(known, kind.astype(np.uint64)), _mix(_shifted(known, -1), known, _shifted(known, 1), behind),
        _mix(known, near[1]), _mix(known, near[-1]), _mix(known, looks[1], near[2]),
        _mix(np.minimum(end - start, 12).astype(np.uint64), look, looks[1]),
    ]  # fmt: skip


def _around(tokens: Tokens, near: dict[int, Hashes], behind: Hashes) -> list[Hashes]:
    """Features of the whole word (a run without blanks) and of the words before and behind it."""
    start, end, word_start, word_end = tokens.start, tokens.end, tokens.word_start, tokens.word_end
    korean = (tokens.kind == HANGUL).astype(np.uint64)
    before_size, after_size = start - word_start, word_end - end
    place = (np.minimum(before_size, 5) + 8 * np.minimum(after_size, 5)).astype(np.uint64)
    word, so_far, rest = tokens.part(word_start, word_end), tokens.part(word_start, end), tokens.part(end, word_end)
    family = _surname(tokens, word_start, word_end) + 4 * place + 1024 * korean
    # The words before and behind: of the token before this word's first sign, and of the one behind its last.
    first, last = np.searchsorted(start, word_start), np.searchsorted(start, word_end)
    previous, following = word[np.maximum(first - 1, 0)], np.minimum(last, len(start) - 1)
    head = tokens.part(word_start[following], np.minimum(word_start[following] + 2, word_end[following]))
    tail = tokens.part(np.maximum(word_end - 2, word_start), word_end)
    return [
        _mix(word, place), _mix(so_far, korean), _mix(rest, korean, before_size.astype(np.uint64)), _mix(rest, family),
        _mix(family, behind), _mix(previous, place, korean), _mix(word[following], place, korean),
        _mix(head, place, korean),
        _mix(tail, place, korean), _mix(head, rest, korean), _mix(so_far, rest, korean), _mix(previous, word),
        _mix(tokens.part(word_start, np.minimum(word_start + 3, word_end)), place),
    ]  # fmt: skip


def _korean(tokens: Tokens, usual: Usual, near: dict[int, Hashes]) -> list[Hashes]:
    """Features of the run of Hangul around a syllable; 0 for tokens of other letters.

    A run, other than a word, ends at a bracket or a quotation mark: `대위(송중기)와` holds three.
    """
    count = len(tokens.start)
    chosen = np.flatnonzero(tokens.kind == HANGUL)
    start, end = tokens.start[chosen], tokens.end[chosen]
    joined = np.zeros(len(chosen), dtype=bool)
    joined[1:] = start[1:] == end[:-1]
    opens = np.flatnonzero(~joined)
    number = np.cumsum(~joined) - 1
    run_start, run_end = start[opens][number], np.append(end[opens[1:] - 1], end[-1:])[number]
    signs = _edges(near, chosen, opens, number)
    before_size, after_size = start - run_start, run_end - end
    place = (np.minimum(before_size, 5) + 8 * np.minimum(after_size, 5)).astype(np.uint64)
    rest, so_far = tokens.part(end, run_end), tokens.part(run_start, end)
    at = before_size.astype(np.uint64)
    two, three = (usual.level(tokens.part(run_start, np.minimum(run_start + size, run_end))) for size in (2, 3))
    here, whole = usual.level(so_far), usual.level(tokens.part(run_start, run_end))
    family = _surname(tokens, run_start, run_end) + 4 * place
    begins, ends = _listed(tokens, start, end, (run_start, run_end))
    levels = two + 4 * three + 16 * here + 64 * whole
    values = [
        _mix(rest, at), _mix(rest, family), _mix(so_far, rest), _mix(signs, place), _mix(signs, family),
        _mix(levels, place), _mix(levels, family), _mix(here, rest, at), _mix(two + 4 * three, family, signs),
        _mix(begins, place), _mix(ends, place), _mix(begins + 16 * ends, levels), _mix(begins + 16 * ends, rest),
        _mix(ends, family, near[1][chosen]), _mix(levels, near[1][chosen], at),
    ]  # fmt: skip
    return [_spread(value, chosen, count) for value in values]


def _edges(near: dict[int, Hashes], chosen: Ints, opens: Ints, number: Ints) -> Hashes:
    """For each syllable the tokens that stand before and behind its run, as one hash."""
    closes = np.append(opens[1:] - 1, len(chosen) - 1)
    return _mix(near[-1][chosen[opens]], near[1][chosen[closes]])[number] if len(chosen) else near[0][:0]


def _listed(tokens: Tokens, start: Ints, end: Ints, run: tuple[Ints, Ints]) -> tuple[Hashes, Hashes]:
    """Bits for lengths of 2 to 5 syllables: a listed name from abroad begins at the syllable; one ends with it."""
    begins, ends, names = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64), lists().abroad
    for bit, size in enumerate((2, 3, 4, 5)):
        fits: Flags = start + size <= run[1]
        begins += (among(tokens.part(start, np.where(fits, start + size, start)), names) * fits) << bit
        fits = end - size >= run[0]
        ends += (among(tokens.part(np.where(fits, end - size, end), end), names) * fits) << bit
    return begins.astype(np.uint64), ends.astype(np.uint64)


def _surname(tokens: Tokens, start: Ints, end: Ints) -> Hashes:
    """Whether the first sign is a Korean surname (1), and whether the first two are (2)."""
    one, two = (among(tokens.part(start, np.minimum(start + size, end)), lists().surnames) for size in (1, 2))
    return (one + 2 * two).astype(np.uint64)


def _spread(values: Hashes, chosen: Ints, count: int) -> Hashes:
    spread = np.zeros(count, dtype=np.uint64)
    spread[chosen] = values
    return spread


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
