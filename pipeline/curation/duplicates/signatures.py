"""MinHash signatures of documents, bit for bit equal to those of `datasketch.MinHash`, and their bands.

The input is the low 32 bits of each shingle's 64-bit hash (words.py). They are processed like datasketch's scheme
"affine32" with seed 1: the finaliser of MurmurHash3, then `a_k * h + b_k` modulo 2^32 for permutation k, then the
minimum over the shingles of a document. So `MinHash(num_perm, seed=1, scheme="affine32", hashfunc=int)`, updated with
the low halves of a document's shingles, gives the same numbers (tests/curation/test_duplicates_signatures.py).

Permutations are applied one at a time to a block of shingles that fits in the cache: three passes of 32-bit arithmetic,
which numpy runs with vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
import polars as pl

from pipeline.text.words import Shingles, Words, blocks, mix, normalise_for_comparison, shingles_of, words_of

SEED = 1
SCHEME = "affine32"
EMPTY = np.uint32(0xFFFFFFFF)  # every value of a document without words


@cache
def permutations(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The factors (odd) and summands of `count` permutations, uint32, as datasketch draws them for SEED and SCHEME."""
    # The same draws as datasketch/minhash.py, whose import takes a second in every worker; a test compares them.
    draw = np.random.RandomState(SEED)
    factors = draw.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, draw.randint(0, 1 << 32, count, dtype=np.uint32)


def mix32(values: np.ndarray) -> np.ndarray:
    """MurmurHash3's 32-bit finaliser, in place."""
    values ^= values >> np.uint32(16)
    values *= np.uint32(0x85EBCA6B)
    values ^= values >> np.uint32(13)
    values *= np.uint32(0xC2B2AE35)
    values ^= values >> np.uint32(16)
    return values


def minhash(shingles: Shingles, count: int) -> np.ndarray:
    """Signatures of a block of documents: uint32 of shape (documents, count)."""
    documents = len(shingles.offsets) - 1
    signatures = np.full((count, documents), EMPTY, np.uint32)
    filled = np.flatnonzero(np.diff(shingles.offsets))
    if filled.size:
        hashes = mix32(shingles.hashes.astype(np.uint32))
        firsts = shingles.offsets[filled]
        values = np.empty_like(hashes)
        every = filled.size == documents
        for place, (factor, summand) in enumerate(zip(*permutations(count), strict=True)):
            np.multiply(hashes, factor, out=values)
            np.add(values, summand, out=values)
            if every:
                np.minimum.reduceat(values, firsts, out=signatures[place])
            else:
                signatures[place, filled] = np.minimum.reduceat(values, firsts)
    return np.ascontiguousarray(signatures.T)


class Comparison(Protocol):
    """What is ignored when texts are compared."""

    @property
    def fold_case(self) -> bool: ...

    @property
    def ignore_punctuation(self) -> bool: ...

    @property
    def ignore_markup(self) -> bool: ...


def texts_to_compare(texts: pl.Series, settings: Comparison) -> pl.Series:
    """The texts without what the settings ignore in comparisons; by default, unchanged."""
    if settings.fold_case or settings.ignore_punctuation or settings.ignore_markup:
        return normalise_for_comparison(texts, settings.fold_case, settings.ignore_punctuation, settings.ignore_markup)
    return texts


def signatures_of(
    texts: pl.Series,
    n: int,
    count: int,
    also: Callable[[Shingles], None] | None = None,
    look: Callable[[np.ndarray, np.ndarray, Words], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(signatures, words) of each document: uint32 (documents, count) and int64 (documents).

    also, look: called with the shingles, and with bytes, offsets and words, some documents at a time.
    """
    signatures = np.empty((len(texts), count), np.uint32)
    numbers = np.empty(len(texts), np.int64)
    for first, end, data, offsets in blocks(texts):
        words = words_of(data, offsets)
        shingles = shingles_of(words, n)
        signatures[first:end] = minhash(shingles, count)
        if also is not None:
            also(shingles)
        if look is not None:
            look(data, offsets, words)
        numbers[first:end] = words.counts
    return signatures, numbers


# -- bands -------------------------------------------------------------------------------------------------------------


def candidate_probability(similarity: float | np.ndarray, bands: int, rows: int) -> float | np.ndarray:
    """Probability that two documents of this Jaccard similarity share a band.

    Source: Leskovec et al., Mining of Massive Datasets, 3.4.2.
    """
    return 1.0 - (1.0 - similarity**rows) ** bands


def bands_for(threshold: float, count: int, recall: float) -> tuple[int, int]:
    """(bands, rows): as many rows as keep `recall` for a pair exactly at the threshold.

    More rows mean fewer candidates. Candidates are verified, so a false one costs some microseconds, while a missed
    duplicate stays in the text. So recall decides, not datasketch's balance of both errors (0.5 : 0.5).
    """
    rows = 1
    while rows < count and candidate_probability(threshold, count // (rows + 1), rows + 1) >= recall:
        rows += 1
    return count // rows, rows


def band_hashes(signatures: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """uint64 of shape (bands, documents): two documents are candidates if the hashes of a band are equal.

    Two different bands have the same hash with a probability of 2^-64; candidates are verified anyway.
    """
    result = np.empty((bands, len(signatures)), np.uint64)
    for band in range(bands):
        value = np.full(len(signatures), band + 1, np.uint64)
        for row in range(band * rows, (band + 1) * rows):
            value *= np.uint64(0x9E3779B97F4A7C15)
            value += signatures[:, row]
            value ^= value >> np.uint64(29)
        result[band] = mix(value)
    return result
