"""Which documents are kept: a greedy selection in a fixed order, over verified pairs only.

A document is removed if and only if an earlier kept document is similar enough. So there are no chains: a document
that is similar only to a removed one is kept. Pairs are compared when they are needed: in each round, every document
without an undecided candidate before it is decided as kept, and only its pairs are verified. Documents similar to it
are removed together with all their own pairs. For a cluster of k near-copies this takes k - 1 comparisons instead of
k^2 / 2.

Memory is bounded for buckets of any size: candidates are processed in the order of documents, in portions of at most
PAIRS_AT_ONCE pairs; the kept ones of a portion are then compared with the later members of their buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from pipeline.text.words import repeated_places

PAIRS_AT_ONCE = 1 << 23

# similarity(left, right, open_left, open_right): the similarities of the pairs (left, right). The open pairs are all
# pairs that may still be requested, these included, so that their data can be read together.
Similarity = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
UNDECIDED, KEPT, REMOVED = np.int8(0), np.int8(1), np.int8(2)


class Chosen(NamedTuple):
    """The result, by document (its number in the order of precedence)."""

    keeper: np.ndarray  # int64: the kept document that this one was removed for; -1 if it is kept
    similarity: np.ndarray  # float64: the similarity to it; NaN if the document is kept
    left: np.ndarray  # int64: all compared pairs, sorted by (left, right); left takes precedence
    right: np.ndarray
    compared: np.ndarray  # float64: their similarity


def buckets(bands: Iterable[np.ndarray], documents: np.ndarray | None = None) -> np.ndarray:
    """Members of all buckets that hold more than one document, as sorted uint64: bucket << 32 | document.

    bands: for each band, the hash of every document (uint64). One band is in memory at a time. documents: the number of
    each document, -1 to ignore it; default: its position.
    """
    return buckets_of((values, np.arange(len(values)) if documents is None else documents) for values in bands)


def buckets_of(bands: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The same where bands may have different documents: of each, hashes and the numbers of their documents."""
    members, number = [np.zeros(0, np.uint64)], 0
    for values, documents in bands:
        some = repeated_places(values)
        document = documents[some]
        some, document = some[document >= 0], document[document >= 0]
        order = np.argsort(values[some])
        values, document = values[some[order]], document[order]
        bucket = np.cumsum(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)]).astype(np.uint64)
        members.append(shared_only(bucket << np.uint64(32) | document.astype(np.uint64), number))
        number += int(members[-1][-1] >> np.uint64(32)) - number if len(members[-1]) else 0
    joined = np.concatenate(members)
    joined.sort()
    return joined


def shared_only(members: np.ndarray, after: int) -> np.ndarray:
    """Of members, bucket by bucket, those that are not alone in theirs; buckets are numbered from `after` + 1."""
    bucket = members >> np.uint64(32)
    shared = repeated(bucket)
    begins = np.concatenate([[True], bucket[1:] != bucket[:-1]])[: len(members)][shared]
    number = np.cumsum(begins).astype(np.uint64) + np.uint64(after)
    return number << np.uint64(32) | members[shared] & np.uint64(0xFFFFFFFF)


def repeated(values: np.ndarray) -> np.ndarray:
    """Which of the sorted values occur more than once."""
    result = np.zeros(len(values), bool)
    same = values[1:] == values[:-1]
    result[1:] = same
    result[:-1] |= same
    return result


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

    members: from `buckets`, with documents numbered in order of precedence. may_remove, removable: for each document,
    whether it may cause the removal of others, and whether it may be removed itself.
    """
    state = np.where(removable, UNDECIDED, KEPT)
    keeper = np.full(documents, -1, np.int64)
    score = np.full(documents, np.nan)
    compared: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def compare(left: np.ndarray, right: np.ndarray, open_left: np.ndarray, open_right: np.ndarray) -> None:
        """Verify pairs of kept and undecided documents, and mark undecided ones that are similar enough as removed."""
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
        comparable = may_remove[left] & removable[right]
        _settle(left[comparable], right[comparable], state, compare)
        state[document[inside & (state[document] == UNDECIDED)]] = KEPT
        # Compare the documents just kept with the later members of their buckets.
        for left, right in _crossing(bucket, document, inside & (state[document] == KEPT), ~inside, pairs_at_once):
            comparable = (state[right] == UNDECIDED) & may_remove[left] & removable[right]
            compare(left[comparable], right[comparable], left[comparable], right[comparable])
        rest = ~inside & (state[document] != REMOVED)
        bucket, document = bucket[rest], document[rest]
    if not compared:
        nothing = np.zeros(0, np.int64)
        return Chosen(keeper, score, nothing, nothing, np.zeros(0))
    left, right, values = (np.concatenate(part) for part in zip(*compared, strict=True))
    order = np.lexsort((right, left))
    return Chosen(keeper, score, left[order], right[order], values[order])


def _settle(left: np.ndarray, right: np.ndarray, state: np.ndarray, compare: Callable[..., None]) -> None:
    """Decide in rounds over candidate pairs until every document in them is kept or removed."""
    while left.size:
        waiting = np.zeros(len(state), bool)
        waiting[right[state[left] == UNDECIDED]] = True
        ready = (state == UNDECIDED) & ~waiting
        settled = np.unique(left[ready[left]])
        # A document is kept only if no kept document remains to be compared with it.
        pending = np.zeros(len(state), bool)
        pending[right[state[left] == KEPT]] = True
        state[settled[~pending[settled]]] = KEPT
        now = (state[left] == KEPT) & (state[right] == UNDECIDED)
        compare(left[now], right[now], left, right)
        open_ = ~now & (state[left] == UNDECIDED) & (state[right] == UNDECIDED)
        left, right = left[open_], right[open_]


def _prefix(bucket: np.ndarray, document: np.ndarray, pairs_at_once: int) -> int:
    """The document before which all candidates together form at most `pairs_at_once` pairs; at least one is
    included."""
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
    """Pairs of a kept document and a later one of the same bucket, in portions of bounded size, by kept document."""
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
        # All buckets of a document together, so that no pair occurs twice.
        end = int(np.searchsorted(kept_document, kept_document[end - 1], side="right"))
        counts = number[first:end]
        left = np.repeat(kept_document[first:end], counts)
        within = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield _once(left, later_document[np.repeat(begin[first:end], counts) + within])
        first = end
