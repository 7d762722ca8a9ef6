"""Which documents stay: a greedy choice in a fixed order, over verified pairs only.

A document goes if, and only if, one that stays and comes before it is similar enough. So there are no chains: what is
similar only to a removed document stays. Pairs are compared as the choice needs them: in rounds, every document with
no undecided candidate before it is settled as kept, and only its pairs are verified; what is similar to it is out, and
with it all of its own pairs. In a cluster of k near-copies that is k - 1 comparisons instead of k^2 / 2.

Memory is bounded whatever the buckets look like: candidates are taken in the order of the documents, as many at once
as make at most PAIRS_AT_ONCE pairs; the kept ones among them then meet the later members of their buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

PAIRS_AT_ONCE = 1 << 23

# similarity(left, right, open_left, open_right): of the pairs (left, right); all pairs that may yet be asked for (those
# included) come along, so that what they need can be read in one go.
Similarity = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
UNDECIDED, KEPT, REMOVED = np.int8(0), np.int8(1), np.int8(2)


class Chosen(NamedTuple):
    """The outcome, by document (a number in the order of precedence)."""

    keeper: np.ndarray  # int64: the kept document that this one goes for; -1 where it stays
    similarity: np.ndarray  # float64: the similarity to it; nan where it stays
    left: np.ndarray  # int64: all pairs that were compared, sorted by (left, right); left comes first in the order
    right: np.ndarray
    compared: np.ndarray  # float64: their similarity


def buckets(bands: Iterable[np.ndarray], documents: np.ndarray | None = None) -> np.ndarray:
    """Members of all buckets that hold more than one document, as sorted uint64: bucket << 32 | document.

    bands: for each band, the hash of every document (uint64). One band is in memory at a time. documents: the number of
    each of them, -1 for those that take no part; left out, they are numbered as they stand.
    """
    members, number = [np.zeros(0, np.uint64)], 0
    for values in bands:
        some = _repeated_places(values)
        document = some if documents is None else documents[some]
        if documents is not None:
            some, document = some[document >= 0], document[document >= 0]
        order = np.argsort(values[some])
        values, document = values[some[order]], document[order]
        same = values[1:] == values[:-1]
        shared = np.zeros(len(values), bool)
        shared[1:] = same
        shared[:-1] |= same
        begins = np.concatenate([[True], ~same])[: len(values)][shared]
        bucket = np.cumsum(begins).astype(np.uint64) + np.uint64(number)
        number += int(begins.sum())
        members.append(bucket << np.uint64(32) | document[shared].astype(np.uint64))
    joined = np.concatenate(members)
    joined.sort()
    return joined


def _repeated_places(values: np.ndarray) -> np.ndarray:
    """Places of all values that occur more than once, and of a few others.

    Sorting values is several times faster than sorting places by them, and few places are left to be sorted.
    """
    sorted_ = np.sort(values)
    repeated = sorted_[1:][sorted_[1:] == sorted_[:-1]]
    bits = np.uint64(64 - min(max(len(values), 1).bit_length() + 1, 27))
    there = np.zeros(1 << (64 - int(bits)), bool)
    there[(repeated >> bits).astype(np.int64)] = True
    return np.flatnonzero(there[(values >> bits).astype(np.int64)])


def choose(
    members: np.ndarray,
    documents: int,
    similarity: Similarity,
    threshold: float,
    may_remove: np.ndarray,
    removable: np.ndarray,
    pairs_at_once: int = PAIRS_AT_ONCE,
) -> Chosen:
    """Decide all documents.

    members: as `buckets` gives them, the documents numbered in the order of precedence. may_remove, removable: for
    each document, whether others may go in its favour, and whether it may go itself.
    """
    state = np.where(removable, UNDECIDED, KEPT)
    keeper = np.full(documents, -1, np.int64)
    score = np.full(documents, np.nan)
    compared: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def compare(left: np.ndarray, right: np.ndarray, open_left: np.ndarray, open_right: np.ndarray) -> None:
        """Verify pairs of kept documents and undecided ones, and settle the latter that are similar enough."""
        values = similarity(left, right, open_left, open_right)
        compared.append((left, right, values))
        enough = np.flatnonzero(values >= threshold)
        order = enough[np.lexsort((left[enough], right[enough]))]
        gone, first = np.unique(right[order], return_index=True)
        state[gone] = REMOVED
        keeper[gone] = left[order][first]
        score[gone] = values[order][first]

    bucket = (members >> np.uint64(32)).astype(np.int64)
    document = (members & np.uint64(0xFFFFFFFF)).astype(np.int64)
    while document.size:
        limit = _prefix(bucket, document, pairs_at_once)
        inside = document < limit
        left, right = _pairs(bucket[inside], document[inside])
        wanted = may_remove[left] & removable[right]
        _settle(left[wanted], right[wanted], state, compare)
        state[document[inside & (state[document] == UNDECIDED)]] = KEPT
        # What was kept now meets the members of its buckets that come later.
        for left, right in _crossing(bucket, document, inside & (state[document] == KEPT), ~inside, pairs_at_once):
            wanted = (state[right] == UNDECIDED) & may_remove[left] & removable[right]
            compare(left[wanted], right[wanted], left[wanted], right[wanted])
        rest = ~inside & (state[document] != REMOVED)
        bucket, document = bucket[rest], document[rest]
    if not compared:
        nothing = np.zeros(0, np.int64)
        return Chosen(keeper, score, nothing, nothing, np.zeros(0))
    left, right, values = (np.concatenate(part) for part in zip(*compared, strict=True))
    order = np.lexsort((right, left))
    return Chosen(keeper, score, left[order], right[order], values[order])


def _settle(left: np.ndarray, right: np.ndarray, state: np.ndarray, compare: Callable[..., None]) -> None:
    """Rounds over candidate pairs until every document in them is kept or removed."""
    while left.size:
        waiting = np.zeros(len(state), bool)
        waiting[right[state[left] == UNDECIDED]] = True
        ready = (state == UNDECIDED) & ~waiting
        settled = np.unique(left[ready[left]])
        # Kept without a comparison left: only if no kept document still has to be compared with it.
        pending = np.zeros(len(state), bool)
        pending[right[state[left] == KEPT]] = True
        state[settled[~pending[settled]]] = KEPT
        now = (state[left] == KEPT) & (state[right] == UNDECIDED)
        compare(left[now], right[now], left, right)
        open_ = ~now & (state[left] == UNDECIDED) & (state[right] == UNDECIDED)
        left, right = left[open_], right[open_]


def _prefix(bucket: np.ndarray, document: np.ndarray, pairs_at_once: int) -> int:
    """The document before which all candidates together make at most `pairs_at_once` pairs (at least one goes)."""
    place = np.arange(len(bucket)) - np.searchsorted(bucket, bucket)
    order = np.argsort(document, kind="stable")
    total = np.cumsum(place[order])
    end = int(np.searchsorted(total, pairs_at_once, side="right"))
    if end == len(document):
        return int(document[order[-1]]) + 1
    return max(int(document[order[end]]), int(document[order[0]]) + 1)


def _pairs(bucket: np.ndarray, document: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs within buckets, each once, the earlier document left. The input is sorted by bucket, then document."""
    starts = np.searchsorted(bucket, bucket)
    before = np.arange(len(bucket)) - starts
    right = np.repeat(document, before)
    within = np.arange(len(right)) - np.repeat(np.cumsum(before) - before, before)
    left = document[np.repeat(starts, before) + within]
    return _once(left, right)


def _once(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys = left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)
    keys.sort()
    if keys.size:
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    return (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _crossing(
    bucket: np.ndarray, document: np.ndarray, kept: np.ndarray, later: np.ndarray, pairs_at_once: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of a kept document and a later one of the same bucket, in pieces of bounded size, by kept document."""
    later_bucket, later_document = bucket[later], document[later]
    kept_bucket, kept_document = bucket[kept], document[kept]
    order = np.argsort(kept_document, kind="stable")
    kept_bucket, kept_document = kept_bucket[order], kept_document[order]
    begin = np.searchsorted(later_bucket, kept_bucket, side="left")
    number = np.searchsorted(later_bucket, kept_bucket, side="right") - begin
    some = number > 0
    kept_document, begin, number = kept_document[some], begin[some], number[some]
    total = np.cumsum(number)
    first = 0
    while first < len(number):
        before = total[first - 1] if first else 0
        end = max(int(np.searchsorted(total, before + pairs_at_once, side="right")), first + 1)
        # All buckets of a document together, so that no pair comes twice.
        end = int(np.searchsorted(kept_document, kept_document[end - 1], side="right"))
        counts = number[first:end]
        left = np.repeat(kept_document[first:end], counts)
        within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield _once(left, later_document[np.repeat(begin[first:end], counts) + within])
        first = end
