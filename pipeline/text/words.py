"""Words and shingles of many documents at once, as 64-bit hashes, straight from the bytes of a text column.

The one idea: text is never split into strings. The UTF-8 bytes of all documents lie one after the other in one Arrow
buffer; where words start and end is found by looking at bytes, a word's hash is the difference of two prefix sums, and
a shingle's hash is made of the hashes of its words. All of it is a handful of passes of numpy over a block of bytes
small enough to stay in the cache.

What a word is: what `str.split()` gives, after NFC. So white space never matters and composed and decomposed Hangul
are the same words, while case, punctuation and markup do matter; `fold` undoes those where a recipe asks for it.
A shingle is `n` consecutive words; a document of fewer words has one shingle, all of them (the definition of the
labelled data that this was measured on); a document of no word has none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

# A block and its arrays should stay near a core: with 2 MB of L2, this measured best of 64 KB to 4 MB.
BLOCK_BYTES = 1 << 19

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so it has an inverse modulo 2^64; 2^64 / golden ratio
INVERSE = np.uint64(pow(int(MULTIPLIER), -1, 2**64))
LENGTH_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
WORD_MULTIPLIER = np.uint64(0xA0761D6478BD642F)


class Words(NamedTuple):
    """The words of a block of documents. Positions are bytes of the block's buffer."""

    starts: np.ndarray  # int64, one a word
    ends: np.ndarray  # int64, exclusive
    counts: np.ndarray  # int64, words of each document
    hashes: np.ndarray  # uint64, one a word


class Shingles(NamedTuple):
    """The shingles of a block of documents, in the order of the text, repeats included."""

    hashes: np.ndarray  # uint64
    offsets: np.ndarray  # int64, documents + 1


def buffers(texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """(bytes, offsets) of a column of strings: document i is `bytes[offsets[i]:offsets[i + 1]]`; null is empty."""
    array = texts.fill_null("").to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    where = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    everything = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
    return everything[where[0] : where[-1]], where - where[0]


def blocks(texts: pl.Series, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Cut a column into runs of whole documents of about `block_bytes`.

    Yields (first document, end document, bytes, offsets). A document is never cut.
    """
    data, offsets = buffers(texts)
    first, documents = 0, len(offsets) - 1
    while first < documents:
        end = int(np.searchsorted(offsets, offsets[first] + block_bytes, side="right")) - 1
        end = min(max(end, first + 1), documents)
        yield first, end, data[offsets[first] : offsets[end]], offsets[first : end + 1] - offsets[first]
        first = end


# -- NFC ---------------------------------------------------------------------------------------------------------------


def _may_not_be_nfc() -> tuple[np.ndarray, np.ndarray]:
    """Which UTF-8 lead bytes, and which pairs of first two bytes, begin a character that NFC may change."""
    leads, pairs = np.zeros(256, bool), np.zeros(65536, bool)
    # Hangul syllables and the unified ideographs are most of what there is, and NFC never touches them; a character
    # that is not alone in its normal form, or that can join the one before it, is one to look at.
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
_NFC_LEADS, _NFC_PAIRS = _may_not_be_nfc()


def compose(data: np.ndarray, offsets: np.ndarray, wide: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The block in NFC; `data` itself where it is. Only documents that hold a character NFC may change are looked at
    one by one."""
    places = _wide(data) if wide is None else wide
    places = places[_NFC_LEADS[data[places]]]
    places = places[_NFC_PAIRS[data[places].astype(np.uint16) << np.uint16(8) | data[places + 1]]]
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

# White space beyond ASCII, as `str.split()` knows it (U+0085, U+00A0, U+1680, U+2000 ... U+3000).
_SPACES = sorted(chr(code).encode() for code in range(0x80, 0x3001) if chr(code).isspace())
_SPACE_LEADS = np.zeros(256, bool)
_SPACE_LEADS[[space[0] for space in _SPACES]] = True


def _wide(data: np.ndarray) -> np.ndarray:
    """Places of the first bytes of characters beyond ASCII, without most Han and Hangul: these are neither white space
    nor changed by NFC, and in some texts there is little else."""
    first = data >= 0xC2
    if np.count_nonzero(first) > data.size // 16:
        han, hangul = data - np.uint8(0xE4), data - np.uint8(0xEB)  # E4-E9, EB-ED
        first &= (han > 0xE9 - 0xE4) & (hangul > 0xED - 0xEB)
    return np.flatnonzero(first)


def white_space(data: np.ndarray, wide: np.ndarray | None = None) -> np.ndarray:
    """Which bytes are part of a white-space character, as bool."""
    space = (data - np.uint8(9)) < 5  # \t \n \v \f \r; what is below wraps around and is not
    space |= (data - np.uint8(28)) < 5  # \x1c-\x1f and the blank
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
    # A word ends where its document does, whatever the next document begins with.
    inner = offsets[1:-1]
    inner = inner[(inner > 0) & (inner < data.size)]
    inner = np.unique(inner[~(space[inner - 1] | space[inner])])
    if inner.size:
        edges = np.insert(edges, np.repeat(np.searchsorted(edges, inner), 2), np.repeat(inner, 2))
    starts, ends = np.ascontiguousarray(edges[0::2]), np.ascontiguousarray(edges[1::2])
    return starts, ends, np.diff(np.searchsorted(starts, offsets))


_powers: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def _power_tables(size: int) -> tuple[np.ndarray, np.ndarray]:
    """MULTIPLIER^i and its inverse for i < size, for any block up to that size."""
    room = 1 << max(size, 1 << 14).bit_length()
    known = max(_powers, default=0)
    if room > known:
        up, down = np.full(room, MULTIPLIER), np.full(room, INVERSE)
        up[0] = down[0] = 1
        _powers.clear()
        _powers[room] = (np.multiply.accumulate(up), np.multiply.accumulate(down))
    return _powers[max(room, known)]


def mix(values: np.ndarray) -> np.ndarray:
    """Spread every bit over all 64, in place (the finaliser of MurmurHash3, a bijection)."""
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


_LOW_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
_ROUNDS = 8  # of eight bytes; what is beyond 64 is hashed byte by byte


def hash_spans(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """64-bit hash of each `data[start:end]`: its length and its bytes, eight at a time, mixed."""
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    eight_from = np.ndarray((data.size + 1,), "<u8", padded, 0, (1,))  # the eight bytes from each place on
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
    """Hash of each `data[start:start + length]`: a polynomial in its bytes, by prefix sums over these bytes alone."""
    ends = np.cumsum(lengths)
    joined = data[np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)]
    return RunHashes(joined.astype(np.uint64) + np.uint64(1)).between(ends - lengths, lengths)


def words_of(data: np.ndarray, offsets: np.ndarray) -> Words:
    """The words of a block of documents: where they are in its bytes, hashed as they are in NFC."""
    wide = _wide(data)
    starts, ends, counts = word_spans(data, offsets, wide)
    composed, where = compose(data, offsets, wide)
    if composed is not data:
        starts_there, ends_there, counts_there = word_spans(composed, where)
        # Not the same number: a mark that white space before it took in. Then the text is taken as it is.
        if np.array_equal(counts, counts_there):
            return Words(starts, ends, counts, hash_spans(composed, starts_there, ends_there))
    return Words(starts, ends, counts, hash_spans(data, starts, ends))


def code_points(data: np.ndarray) -> np.ndarray:
    """For each byte place of a block (its end included), the code points of the block before it."""
    begins = np.zeros(data.size + 1, np.int64)
    np.cumsum((data & np.uint8(0xC0)) != 0x80, out=begins[1:])
    return begins


class RunHashes:
    """64-bit hashes of runs of words, of any place and length: by prefix sums, as a word's of its bytes."""

    def __init__(self, words: np.ndarray):
        self._up_to, self._down = _power_tables(len(words))
        self._sums = np.zeros(len(words) + 1, np.uint64)
        np.cumsum(words * self._up_to[: len(words)], out=self._sums[1:])

    def between(self, first: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Hashes of `words[first:first + length]`."""
        values = (self._sums[first + length] - self._sums[first]) * self._down[first]
        return mix(values + length.astype(np.uint64) * LENGTH_MULTIPLIER)

    def of_length(self, n: int) -> np.ndarray:
        """Hashes of the runs of `n` words from each place on."""
        values = self._sums[n:] - self._sums[: max(0, len(self._sums) - n)]
        values *= self._down[: len(values)]
        values += np.uint64(n * int(LENGTH_MULTIPLIER) % 2**64)
        return mix(values)


def run_hashes(words: np.ndarray, first: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Hash of each run of words `words[first:end]`."""
    return RunHashes(words).between(first, end - first)


# -- shingles ----------------------------------------------------------------------------------------------------------


def sequences(words: np.ndarray, n: int) -> np.ndarray:
    """Unmixed hash of the `n` words from each place on: sum of word_i * W^(n-1-i); `len(words) - n + 1` values.

    By doubling: the value of 2k words is made of two values of k words.
    """
    total, power, width = words, WORD_MULTIPLIER, 1
    rest: tuple[np.ndarray, int] | None = None  # the value of the odd words in front, and how many they are
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
    """How many shingles documents of so many words have, repeats included."""
    return np.where(words >= n, words - (n - 1), np.minimum(words, 1))


def shingles_of(words: Words, n: int) -> Shingles:
    """Hashes of all runs of `n` words within each document; of shorter documents, of all their words."""
    counts = words.counts
    held = shingle_count(counts, n)
    offsets = np.concatenate([[0], np.cumsum(held)])
    if not offsets[-1]:
        return Shingles(np.zeros(0, np.uint64), offsets)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    # The last n-1 places of a document start no run; those of documents shorter than n are put right below.
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
            there = place < number
            value[there] = value[there] * WORD_MULTIPLIER + words.hashes[first[there] + place]
        runs[first] = value
    return Shingles(mix(runs[starts_run]), offsets)


def normalise_for_comparison(texts: pl.Series, case: bool, punctuation: bool, markup: bool) -> pl.Series:
    """The texts with what is not to matter taken out: tags, case, all but letters and digits (in this order)."""
    if markup:
        texts = texts.str.replace_all(r"<[A-Za-z/!?][^<>]*>", " ")
    if case:
        texts = texts.str.to_lowercase()
    if punctuation:
        texts = texts.str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")
    return texts
