"""Exact Jaccard similarity and containment of pairs of documents, many pairs at a time.

A set of shingles is a sorted run of 48-bit numbers, which leaves room for the number of the pair in the upper bits of a
64-bit word. Sorting such words places the shingles that both documents of a pair share next to each other. numpy sorts
64-bit words with vector instructions, and there is no loop over pairs.

48 bits of hash are exact for all practical purposes: two documents of 1,000 distinct words each share a hash by chance
with a probability of 4e-9, two of 100,000 words with a probability of 4e-5, and then only one shingle in 100,000.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.text.words import Shingles, blocks, shingles_of, words_of

HASH_BITS = 48
PAIRS_AT_ONCE = 1 << (64 - HASH_BITS)
ELEMENTS_AT_ONCE = 1 << 20  # of both sets of all pairs in a batch: 8 MB to sort
IN_MEMORY_BYTES = 256 << 20  # larger sets are kept in a file

# Given documents (numbers), yields them in parts: (positions in the argument, hashes, sizes).
Loader = Callable[[np.ndarray], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]


def distinct_shingles(shingles: Shingles) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, sizes): the distinct shingles of each document of a block, 48 bits each, sorted."""
    documents = len(shingles.offsets) - 1
    owner = np.repeat(np.arange(documents, dtype=np.uint64), np.diff(shingles.offsets))
    keys = (owner << np.uint64(HASH_BITS)) | (shingles.hashes >> np.uint64(64 - HASH_BITS))
    keys.sort()
    if keys.size:
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    sizes = np.bincount((keys >> np.uint64(HASH_BITS)).astype(np.int64), minlength=documents)
    return keys & np.uint64((1 << HASH_BITS) - 1), sizes


def shingle_sets(texts: pl.Series, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, sizes): the set of shingles of each text, concatenated."""
    hashes, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for _, _, data, offsets in blocks(texts):
        found, sized = distinct_shingles(shingles_of(words_of(data, offsets), n))
        hashes.append(found)
        sizes.append(sized)
    return np.concatenate(hashes), np.concatenate(sizes)


class ShingleSets:
    """Sets of shingles of numbered documents, read when they are first needed.

    Loaded sets are kept in memory up to IN_MEMORY_BYTES, beyond that in an unnamed file in `directory`, which no kill
    leaves behind.
    """

    def __init__(self, documents: int, load: Loader, directory: Path | None = None):
        self.starts = np.full(documents, -1, np.int64)
        self.sizes = np.zeros(documents, np.int64)
        self.loaded = 0  # documents
        self._load = load
        self._directory = directory
        self._hashes: np.ndarray = np.zeros(1 << 16, np.uint64)
        self._used = 0

    def load(self, documents: np.ndarray) -> None:
        """Load the documents that are not loaded yet."""
        missing = np.unique(documents[self.starts[documents] < 0])
        if not missing.size:
            return
        for places, hashes, sizes in self._load(missing):
            self._reserve(self._used + len(hashes))
            self._hashes[self._used : self._used + len(hashes)] = hashes
            self.sizes[missing[places]] = sizes
            self.starts[missing[places]] = self._used + np.cumsum(sizes) - sizes
            self._used += len(hashes)
        self.loaded += len(missing)

    def _reserve(self, needed: int) -> None:
        if needed <= len(self._hashes):
            return
        size = max(needed, 2 * len(self._hashes))
        if 8 * size <= IN_MEMORY_BYTES:
            grown = np.empty(size, np.uint64)
        else:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                grown = np.memmap(file, np.uint64, "w+", shape=(size,))
        grown[: self._used] = self._hashes[: self._used]
        self._hashes = grown

    def elements(self, places: np.ndarray) -> np.ndarray:
        """Loaded hashes at the given positions (document d: `sizes[d]` of them, sorted, from `starts[d]` on)."""
        return self._hashes[places]

    def shared(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The number of shingles that the two documents of each pair share."""
        self.load(np.concatenate([left, right]))
        elements = np.cumsum(self.sizes[left] + self.sizes[right])
        result = np.zeros(len(left), np.int64)
        first = 0
        while first < len(left):
            before = elements[first - 1] if first else 0
            end = int(np.searchsorted(elements, before + ELEMENTS_AT_ONCE, side="right"))
            end = min(max(end, first + 1), first + PAIRS_AT_ONCE, len(left))
            result[first:end] = self._shared(left[first:end], right[first:end])
            first = end
        return result

    def _shared(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        documents = np.concatenate([left, right])
        sizes = self.sizes[documents]
        # Positions of all elements of all sets: the start of each set plus the offset within it.
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1]) + np.repeat(self.starts[documents] - (ends - sizes), sizes)
        pair = np.tile(np.arange(len(left), dtype=np.uint64) << np.uint64(HASH_BITS), 2)
        keys = self._hashes[places]
        keys |= np.repeat(pair, sizes)
        keys.sort()
        twice = keys[1:][keys[1:] == keys[:-1]]
        return np.bincount((twice >> np.uint64(HASH_BITS)).astype(np.int64), minlength=len(left))

    def jaccard(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The Jaccard similarity of each pair: shared shingles over all shingles of either; 0 if both have none."""
        shared = self.shared(left, right)
        either = self.sizes[left] + self.sizes[right] - shared
        return shared / np.maximum(either, 1)

    def containment(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """The share of the right document's shingles that the left one contains, for each pair."""
        return self.shared(left, right) / np.maximum(self.sizes[right], 1)


def jaccard_of_texts(one: str, other: str, n: int) -> float:
    """Exact Jaccard similarity of two texts."""
    both = pl.Series([one, other])
    sets = ShingleSets(2, lambda documents: iter([(documents, *shingle_sets(both.gather(documents), n))]))
    return float(sets.jaccard(np.array([0]), np.array([1]))[0])
