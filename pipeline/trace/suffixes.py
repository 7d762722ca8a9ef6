"""The suffix array of token ids: the places of a text in the order of what follows them.

`pydivsufsort` (libdivsufsort, Mori 2006; MIT licence) sorts them where it is installed. Where it is not, prefix
doubling does (Manber and Myers 1993), with the refinement that only groups which are not in order yet are sorted again
(Larsson and Sadakane 1999). There is one right order, so both give the same bytes; docs/results/scale.md has their
speeds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WIDE_BITS, NARROW_BITS = 25, 17  # of a token in a first key, with 0 for the end of the text
Sorter = Callable[[np.ndarray], np.ndarray]


def sorter() -> Sorter:
    """The fastest way to sort that is installed."""
    try:
        import pydivsufsort
    except ImportError:
        return sorted_by_doubling

    def sort(tokens: np.ndarray) -> np.ndarray:
        if not len(tokens):
            return np.zeros(0, np.uint32)
        order: np.ndarray = pydivsufsort.divsufsort(np.ascontiguousarray(tokens))
        return order.astype(np.uint32)

    return sort


def sorted_by_doubling(tokens: np.ndarray) -> np.ndarray:
    """The places of `tokens` (unsigned, below 2**24), uint32, in the order of the suffixes that begin there.

    A suffix that is the beginning of another comes first.
    """
    count = len(tokens)
    bits = NARROW_BITS if tokens.dtype.itemsize <= 2 else WIDE_BITS
    known = 63 // bits  # tokens that a first key holds
    key = np.zeros(count, np.uint64)
    for offset in range(min(known, count)):
        shift = np.uint64(bits * (known - 1 - offset))
        key[: count - offset] |= (tokens[offset:].astype(np.uint64) + np.uint64(1)) << shift
    order = np.argsort(key)
    first = _firsts(key[order])
    rank = np.zeros(
        count + 1, np.uint64
    )  # the place in `order` of the first of its group, plus 1; the end of the text: 0
    places = np.arange(count)
    while True:
        rank[order[places]] = places[np.maximum.accumulate(np.where(first, np.arange(len(places)), 0))] + 1
        alone = first & np.append(first[1:], True)
        places, first = places[~alone], first[~alone]
        if not len(places):
            return order.astype(np.uint32)
        members = order[places]
        key = rank[members] << np.uint64(32) | rank[np.minimum(members + known, count)]
        by_key = np.argsort(key)
        order[places] = members[by_key]
        first = _firsts(key[by_key])
        known *= 2


def _firsts(key: np.ndarray) -> np.ndarray:
    """Where groups of equal keys begin."""
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[1:] != key[:-1]
    return first
