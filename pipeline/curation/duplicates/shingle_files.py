"""The shingles of a fragment's documents as a random-access file of 6 bytes each, without a header.

They are stored because new documents have to be compared exactly with old ones, which are spread over all fragments.
Without this file, the text of every fragment would be decompressed for a few of its documents (figures in
docs/results/deduplication.md). Where a document's shingles begin follows from the numbers of words, which are stored
with the signatures. Shingles are in the order of the text, with repeats; only those that are read are sorted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from model.files import whole
from pipeline.curation.duplicates.similarity import HASH_BITS, distinct_shingles
from pipeline.text.words import Shingles, shingle_count

SUFFIX = ".shingles"
WIDTH = HASH_BITS // 8
# The last hash is read as eight bytes, so something has to follow it.
END = bytes(8 - WIDTH)
AT_ONCE = 1 << 19  # shingles: 4 MB of 64-bit words


def pack(shingles: Shingles) -> np.ndarray:
    """The stored form of shingles: the high bits of each, as bytes of shape (shingles, WIDTH)."""
    return (shingles.hashes >> np.uint64(64 - HASH_BITS)).astype("<u8").view(np.uint8).reshape(-1, 8)[:, :WIDTH]


def write(parts: Iterator[np.ndarray], path: Path) -> None:
    """Write a file of packed shingles, given in parts."""
    with whole(path) as unfinished, open(unfinished, "wb") as file:
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
        file.write(END)


def merge(
    fresh: np.ndarray, sizes: np.ndarray, made: np.ndarray, earlier: Path | None, begins: np.ndarray
) -> Iterator[np.ndarray]:
    """The packed shingles of all documents, in order, from those just computed and those of an earlier file.

    fresh: whether a document's shingles are in `made`, which is in order. sizes: the number of shingles of each
    document. begins: for the other documents, where their shingles begin in `earlier`.
    """
    if earlier is None:
        yield made
        return
    before = np.memmap(earlier, np.uint8, "r")[: -len(END)].reshape(-1, WIDTH)
    starts = np.where(fresh, np.cumsum(np.where(fresh, sizes, 0)) - sizes, begins)
    # Consecutive documents whose shingles are consecutive in the same file are written together.
    breaks = np.flatnonzero((fresh[1:] != fresh[:-1]) | (starts[1:] != starts[:-1] + sizes[:-1])) + 1
    firsts, ends = np.concatenate([[0], breaks]), np.concatenate([breaks, [len(sizes)]])
    for first, end in zip(firsts.tolist(), ends.tolist(), strict=True):
        shingles = made if fresh[first] else before
        yield shingles[starts[first] : starts[end - 1] + sizes[end - 1]]


def read_sets(path: Path, words: np.ndarray, rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, sizes): the sets of shingles of some rows of a file. words: of all its documents."""
    counts = shingle_count(words, n)
    begins = (np.cumsum(counts) - counts)[rows]
    counts = counts[rows]
    data = np.memmap(path, np.uint8, "r")
    all_of = (len(data) - len(END)) // WIDTH
    at = np.ndarray((all_of,), "<u8", data, 0, (WIDTH,))  # the eight bytes that start at each hash
    hashes, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    total = np.cumsum(counts)
    first = 0
    while first < len(rows):
        before = total[first - 1] if first else 0
        end = max(int(np.searchsorted(total, before + AT_ONCE, side="right")), first + 1)
        numbers = counts[first:end]
        offsets = np.concatenate([[0], np.cumsum(numbers)])
        places = np.arange(offsets[-1]) + np.repeat(begins[first:end] - offsets[:-1], numbers)
        found, sized = distinct_shingles(Shingles(at[places] << np.uint64(64 - HASH_BITS), offsets))
        hashes.append(found)
        sizes.append(sized)
        first = end
    return np.concatenate(hashes), np.concatenate(sizes)
