"""Words and shingles of many documents at once, as 64-bit hashes computed from the bytes of a text column.

Text is never split into strings. The UTF-8 bytes of all documents form one Arrow buffer; words are found by examining
bytes, a word's hash is the difference of two prefix sums, and a shingle's hash is computed from the hashes of its
words. All this takes a handful of numpy passes over a block of bytes that is small enough to stay in the cache.

A word is what `str.split()` gives after NFC normalisation. So white space never matters, and composed and decomposed
Hangul give the same words; case, punctuation and markup do matter, unless `normalise_for_comparison` removes them.
A shingle is `n` consecutive words. A document of fewer words has one shingle, all its words (the definition used by
the labelled data that this was measured on); a document without words has none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.text.buffers import buffers

# A block and its arrays should fit in the cache: with 2 MB of L2, this was the fastest size from 64 KB to 4 MB.
BLOCK_BYTES = 1 << 19

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so it has an inverse modulo 2^64; 2^64 / golden ratio
INVERSE = np.uint64(pow(int(MULTIPLIER), -1, 2**64))
LENGTH_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
WORD_MULTIPLIER = np.uint64(0xA0761D6478BD642F)


class Words(NamedTuple):
    """The words of a block of documents. Positions are byte offsets in the block."""

    starts: np.ndarray  # int64, one per word
    ends: np.ndarray  # int64, exclusive
    counts: np.ndarray  # int64, words of each document
    hashes: np.ndarray  # uint64, one per word


class Shingles(NamedTuple):
    """The shingles of a block of documents, in the order of the text, repeats included."""

    hashes: np.ndarray  # uint64
    offsets: np.ndarray  # int64, documents + 1


def blocks(texts: pl.Series, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Split a column into blocks of about `block_bytes`, each of whole documents.

    Yields (first document, end document, bytes, offsets).
    """
    data, offsets = buffers(texts)
    first, documents = 0, len(offsets) - 1
    while first < documents:
        end = int(np.searchsorted(offsets, offsets[first] + block_bytes, side="right")) - 1
        end = min(max(end, first + 1), documents)
        yield first, end, data[offsets[first] : offsets[end]], offsets[first : end + 1] - offsets[first]
        first = end


# -- NFC ---------------------------------------------------------------------------------------------------------------


@cache
def _may_not_be_nfc() -> tuple[np.ndarray, np.ndarray]:
    """Which UTF-8 lead bytes, and which pairs of first bytes, begin a character that NFC may change."""
    leads, pairs = np.zeros(256, bool), np.zeros(65536, bool)
    # Hangul syllables and unified ideographs make up most of Unicode, and NFC never changes them. The characters to
    # examine are those that are not in normal form by themselves and those that can compose with the one before.
    for code in [*range(0x80, 0x3400), *range(0xA000, 0xAC00), *range(0xD7A4, 0xD800), *range(0xF900, 0x1F000),
                 *range(0x2F800, 0x2FA20)]:  # fmt: skip
        character = chr(code)
        if unicodedata.combining(character) or not unicodedata.is_normalized("NFC", character) or code in _JOINING:
            first, second = character.encode()[:2]
            leads[first] = True
            pairs[first << 8 | second] = True
    return leads, pairs


# Characters of combining class 0 that compose with the one before them: Hangul vowels and finals, and the right halves
# of a few Indic vowel signs (the characters of NFC_Quick_Check=Maybe that are not marked by their combining class).
_JOINING = {
    *range(0x1161, 0x1176), *range(0x11A8, 0x11C3), 0x09BE, 0x09D7, 0x0B3E, 0x0B56, 0x0B57, 0x0BBE, 0x0BD7, 0x0CC2,
    0x0CD5, 0x0CD6, 0x0D3E, 0x0D57, 0x0DCF, 0x0DDF, 0x102E, 0x1B35, 0x11127, 0x1133E, 0x11357, 0x114B0, 0x114BA,
    0x114BD, 0x115AF, 0x11930,
}  # fmt: skip


def compose(data: np.ndarray, offsets: np.ndarray, wide: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The block in NFC; `data` itself if it already is.

    Only documents with a character that NFC may change are examined one by one.
    """
    places = _wide(data) if wide is None else wide
    leads, pairs = _may_not_be_nfc()
    places = places[leads[data[places]]]
    places = places[pairs[data[places].astype(np.uint16) << np.uint16(8) | data[places + 1]]]
    if not places.size:
        return data, offsets
    suspects = np.unique(np.searchsorted(offsets, places, side="right") - 1)
    changed: dict[int, bytes] = {}
    for document in suspects.tolist():
        text = data[offsets[document] : offsets[document + 1]].tobytes().decode()
        if not unicodedata.is_normalized("NFC", text):
            changed[document] = unicodedata.normalize("NFC", text).encode()
    if not changed:
        return data, offsets
    pieces, lengths, done = [], np.diff(offsets), 0
    for document, composed in changed.items():
        pieces += [data[done : offsets[document]], np.frombuffer(composed, np.uint8)]
        done = offsets[document + 1]
        lengths[document] = len(composed)
    pieces.append(data[done:])
    return np.concatenate(pieces), np.concatenate([[0], np.cumsum(lengths)])


# -- words -------------------------------------------------------------------------------------------------------------

# Non-ASCII white space, as defined by `str.split()` (U+0085, U+00A0, U+1680, U+2000 ... U+3000).
_SPACES = sorted(chr(code).encode() for code in range(0x80, 0x3001) if chr(code).isspace())
_SPACE_LEADS = np.zeros(256, bool)
_SPACE_LEADS[[space[0] for space in _SPACES]] = True


def _wide(data: np.ndarray) -> np.ndarray:
    """Positions of the first bytes of non-ASCII characters, except most Han and Hangul.

    These are neither white space nor changed by NFC, and some texts consist of little else.
    """
    first = data >= 0xC2
    if np.count_nonzero(first) > data.size // 16:
        han, hangul = data - np.uint8(0xE4), data - np.uint8(0xEB)  # E4-E9, EB-ED
        first &= (han > 0xE9 - 0xE4) & (hangul > 0xED - 0xEB)
    return np.flatnonzero(first)


def white_space(data: np.ndarray, wide: np.ndarray | None = None) -> np.ndarray:
    """Which bytes are part of a white-space character, as bool."""
    space = (data - np.uint8(9)) < 5  # \t \n \v \f \r; smaller values wrap around and fail the test
    space |= (data - np.uint8(28)) < 5  # \x1c-\x1f and the space
    places = _wide(data) if wide is None else wide
    places = places[_SPACE_LEADS[data[places]]]
    if places.size:
        code = (
            data[places].astype(np.uint32) << np.uint32(16)
            | data[places + 1].astype(np.uint32) << np.uint32(8)
            | data[np.minimum(places + 2, data.size - 1)]
        )
        for character in _SPACES:
            known = int.from_bytes(character.ljust(3, b"\0"), "big")
            mask = np.uint32(0xFFFFFF if len(character) == 3 else 0xFFFF00)
            found = places[(code & mask) == known]
            for byte in range(len(character)):
                space[found + byte] = True
    return space


def count_strings(texts: pl.Series) -> pl.Series:
    r"""The number of strings between white space of each text (`\S+`, u32); null where there is no text.

    Unlike the words of this module, they may hold the separators U+001C to U+001F, as in Unicode.
    """
    counted = [np.zeros(0, np.int64)]
    for _, _, data, offsets in blocks(texts):
        space = white_space(data)
        space &= (data - np.uint8(28)) >= 4
        begin = ~space
        begin[1:] &= space[:-1]
        first = offsets[:-1][offsets[:-1] < offsets[1:]]  # of the texts that are not empty
        begin[first] = ~space[first]
        upto = np.zeros(data.size + 1, np.int32)
        np.cumsum(begin, out=upto[1:])
        counted.append(np.diff(upto[offsets]))
    found = pl.Series(np.concatenate(counted).astype(np.uint32))
    return found if not texts.null_count() else pl.select(pl.when(texts.is_not_null()).then(found)).to_series()


def word_spans(
    data: np.ndarray, offsets: np.ndarray, wide: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(starts, ends, words of each document) of a block."""
    if not data.size:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, np.zeros(len(offsets) - 1, np.int64)
    space = white_space(data, wide)
    edges = np.flatnonzero(space[1:] != space[:-1])  # one pass over the bytes for starts and ends together
    edges += 1
    edges = np.concatenate([[0][: int(not space[0])], edges, [data.size][: int(not space[-1])]]).astype(np.int64)
    # A word ends at the end of its document, whatever the next document begins with.
    inner = offsets[1:-1]
    inner = inner[(inner > 0) & (inner < data.size)]
    inner = np.unique(inner[~(space[inner - 1] | space[inner])])
    if inner.size:
        edges = np.insert(edges, np.repeat(np.searchsorted(edges, inner), 2), np.repeat(inner, 2))
    starts, ends = np.ascontiguousarray(edges[0::2]), np.ascontiguousarray(edges[1::2])
    return starts, ends, np.diff(np.searchsorted(starts, offsets))


_powers: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _power_tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """MULTIPLIER^i and INVERSE^i for all i < size."""
    room = 1 << max(size, 1 << 14).bit_length()
    known = max(_powers, default=0)
    if room > known:
        up, down = np.full(room, MULTIPLIER), np.full(room, INVERSE)
        up[0] = down[0] = 1
        _powers.clear()
        _powers[room] = (np.multiply.accumulate(up), np.multiply.accumulate(down))
    return _powers[max(room, known)]


def mix(values: np.ndarray) -> np.ndarray:
    """Spread every bit over all 64 bits, in place (the finaliser of MurmurHash3, a bijection)."""
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def repeated_places(values: np.ndarray) -> np.ndarray:
    """Positions of all values that occur more than once, and of a few others.

    Sorting values is several times faster than sorting positions by value; this leaves few positions to sort.
    """
    sorted_ = np.sort(values)
    repeated = sorted_[1:][sorted_[1:] == sorted_[:-1]]
    bits = np.uint64(64 - min(max(len(values), 1).bit_length() + 1, 27))
    marked = np.zeros(1 << (64 - int(bits)), bool)
    marked[(repeated >> bits).astype(np.int64)] = True
    return np.flatnonzero(marked[(values >> bits).astype(np.int64)])


_LOW_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
_ROUNDS = 8  # of eight bytes; bytes after the 64th are hashed one by one


def hash_spans(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """64-bit hash of each `data[start:end]`: its length and its bytes, eight at a time, mixed."""
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    eight_from = np.ndarray((data.size + 1,), "<u8", padded, 0, (1,))  # the eight bytes that start at each position
    lengths = ends - starts
    hashes = eight_from[starts]
    hashes &= _LOW_BYTES[np.minimum(lengths, 8)]
    hashes *= MULTIPLIER
    hashes += lengths.view(np.uint64)
    longer = np.flatnonzero(lengths > 8)
    places, left = starts[longer], lengths[longer]
    for _ in range(1, _ROUNDS):
        if not longer.size:
            break
        places += 8
        left -= 8
        value = hashes[longer]
        value ^= value >> np.uint64(32)
        value *= MULTIPLIER
        value += eight_from[places] & _LOW_BYTES[np.minimum(left, 8)]
        hashes[longer] = value
        more = left > 8
        longer, places, left = longer[more], places[more], left[more]
    if longer.size:
        hashes[longer] += _hash_bytes(padded, places + 8, left - 8) * WORD_MULTIPLIER
    return mix(hashes)


def _hash_bytes(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Hash of each `data[start:start + length]`: a polynomial in its bytes, computed by prefix sums."""
    ends = np.cumsum(lengths)
    joined = data[np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)]
    return RunHashes(joined.astype(np.uint64) + np.uint64(1)).between(ends - lengths, lengths)


def words_of(data: np.ndarray, offsets: np.ndarray) -> Words:
    """The words of a block of documents: their positions in the bytes, and the hashes of their NFC forms."""
    wide = _wide(data)
    starts, ends, counts = word_spans(data, offsets, wide)
    composed, where = compose(data, offsets, wide)
    if composed is not data:
        starts_there, ends_there, counts_there = word_spans(composed, where)
        # Different numbers of words mean that a combining mark joined white space; then the text is hashed as it is.
        if np.array_equal(counts, counts_there):
            return Words(starts, ends, counts, hash_spans(composed, starts_there, ends_there))
    return Words(starts, ends, counts, hash_spans(data, starts, ends))


def code_points(data: np.ndarray) -> np.ndarray:
    """For each byte offset of a block, its end included, the number of code points before it."""
    begins = np.zeros(data.size + 1, np.int64)
    np.cumsum((data & np.uint8(0xC0)) != 0x80, out=begins[1:])
    return begins


class RunHashes:
    """64-bit hashes of runs of consecutive words, at any position and of any length, by prefix sums."""

    def __init__(self, words: np.ndarray):
        self._up_to, self._down = _power_tables(len(words))
        self._sums = np.zeros(len(words) + 1, np.uint64)
        np.cumsum(words * self._up_to[: len(words)], out=self._sums[1:])

    def between(self, first: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Hashes of `words[first:first + length]`."""
        values = (self._sums[first + length] - self._sums[first]) * self._down[first]
        return mix(values + length.astype(np.uint64) * LENGTH_MULTIPLIER)

    def of_length(self, n: int) -> np.ndarray:
        """Hashes of the runs of `n` words that start at each position."""
        values = self._sums[n:] - self._sums[: max(0, len(self._sums) - n)]
        values *= self._down[: len(values)]
        values += np.uint64(n * int(LENGTH_MULTIPLIER) % 2**64)
        return mix(values)


def run_hashes(words: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Hash of each run of words `words[first:end]`."""
    return RunHashes(words).between(first, end - first)


# -- shingles ----------------------------------------------------------------------------------------------------------


def sequences(words: np.ndarray, n: int) -> np.ndarray:
    """Unmixed hash of the `n` words from each position on: sum of word_i * W^(n-1-i); `len(words) - n + 1` values.

    Computed by doubling: the value of 2k words follows from two values of k words.
    """
    total, power, width = words, WORD_MULTIPLIER, 1
    rest: tuple[np.ndarray, int] | None = None  # the value of the words before, and their number
    remaining = n
    while True:
        if remaining & 1:
            if rest is None:
                rest = (total, width)
            else:
                values, length = rest
                joined = values[: max(0, len(words) - length - width + 1)] * _power(width)
                rest = (joined + total[length:], length + width)
        remaining >>= 1
        if not remaining:
            return rest[0] if rest else total
        total = total[: max(0, len(total) - width)] * power + total[width:]
        power, width = np.uint64(int(power) ** 2 % 2**64), 2 * width


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(int(WORD_MULTIPLIER), exponent, 2**64))


def shingle_count(words: np.ndarray, n: int) -> np.ndarray:
    """The number of shingles, repeats included, of documents with these numbers of words."""
    return np.where(words >= n, words - (n - 1), np.minimum(words, 1))


def shingles_of(words: Words, n: int) -> Shingles:
    """Hashes of all runs of `n` words within each document; for shorter documents, the hash of all their words."""
    counts = words.counts
    held = shingle_count(counts, n)
    offsets = np.concatenate([[0], np.cumsum(held)])
    if not offsets[-1]:
        return Shingles(np.zeros(0, np.uint64), offsets)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    # No run starts at the last n-1 positions of a document; documents of fewer than n words are corrected below.
    starts_run = np.ones(len(words.hashes), bool)
    for back in range(1, n):
        places = bounds[1:] - back
        starts_run[places[places >= bounds[:-1]]] = False
    short = np.flatnonzero((counts > 0) & (counts < n))
    starts_run[bounds[short]] = True
    runs = sequences(words.hashes, n)
    if len(runs) < len(words.hashes):
        runs = np.concatenate([runs, np.zeros(len(words.hashes) - len(runs), np.uint64)])
    if short.size:
        first, number = bounds[short], counts[short]
        value = words.hashes[first]
        for place in range(1, n - 1):
            inside = place < number
            value[inside] = value[inside] * WORD_MULTIPLIER + words.hashes[first[inside] + place]
        runs[first] = value
    return Shingles(mix(runs[starts_run]), offsets)


def normalise_for_comparison(texts: pl.Series, case: bool, punctuation: bool, markup: bool) -> pl.Series:
    """The texts without what a comparison should ignore, in this order: tags, case, all but letters and digits."""
    if markup:
        texts = texts.str.replace_all(r"<[A-Za-z/!?][^<>]*>", " ")
    if case:
        texts = texts.str.to_lowercase()
    if punctuation:
        texts = texts.str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")
    return texts
