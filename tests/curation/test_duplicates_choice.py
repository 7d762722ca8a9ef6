"""The greedy selection, compared with its definition."""

import numpy as np
import pytest

from pipeline.curation.duplicates.selection import buckets, choose


def by_hand(bands, similarity, threshold, may_remove, removable):
    """The definition: in order, a document is removed if an earlier kept candidate is similar enough."""
    count = len(removable)
    candidate = (bands[:, :, None] == bands[:, None, :]).any(axis=0)
    kept: list[int] = []
    removed = set()
    for document in range(count):
        if removable[document] and any(
            candidate[other, document] and may_remove[other] and similarity[other, document] >= threshold
            for other in kept
        ):
            removed.add(document)
        else:
            kept.append(document)
    return removed


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("pairs_at_once", [1, 5, 60, 10**6])
def test_the_choice_is_the_greedy_one_however_much_is_taken_at_once(seed, pairs_at_once):
    draw = np.random.default_rng(seed)
    count = 60
    bands = draw.integers(0, [4, 12, 40][seed % 3], (3, count)).astype(np.uint64)
    similarity = draw.random((count, count))
    similarity = np.triu(similarity, 1) + np.triu(similarity, 1).T
    may_remove = draw.random(count) < (1.0 if seed % 2 else 0.7)
    removable = draw.random(count) < (1.0 if seed % 5 else 0.7)
    asked = []

    def look_up(left, right, open_left, open_right):
        assert (left < right).all()
        asked.extend(zip(left.tolist(), right.tolist(), strict=True))
        assert set(zip(left.tolist(), right.tolist(), strict=True)) <= set(
            zip(open_left.tolist(), open_right.tolist(), strict=True)
        )
        return similarity[left, right]

    chosen = choose(buckets(list(bands)), count, look_up, 0.7, may_remove, removable, pairs_at_once)
    expected = by_hand(bands, similarity, 0.7, may_remove, removable)
    assert set(np.flatnonzero(chosen.keeper >= 0).tolist()) == expected
    for document in expected:  # just: for one that stays, at the similarity that is stated
        keeper = chosen.keeper[document]
        assert keeper not in expected and keeper < document and may_remove[keeper]
        assert chosen.similarity[document] == similarity[keeper, document] >= 0.7
    assert len(asked) == len(set(asked))  # no pair is compared twice
    assert np.array_equal(chosen.compared, similarity[chosen.left, chosen.right])


def test_a_large_cluster_costs_one_comparison_a_document():
    count = 5000
    bands = [np.zeros(count, np.uint64), np.ones(count, np.uint64)]
    asked = 0

    def alike(left, right, *_):
        nonlocal asked
        asked += len(left)
        return np.ones(len(left))

    everyone = np.ones(count, bool)
    chosen = choose(buckets(bands), count, alike, 0.8, everyone, everyone, pairs_at_once=100_000)
    assert (chosen.keeper[1:] == 0).all() and chosen.keeper[0] == -1
    assert asked == count - 1


def test_no_chains():
    """a ~ b ~ c, a not like c: b goes for a, and c stays, though it is like b."""
    similarity = np.array([[0, 0.9, 0.5], [0.9, 0, 0.9], [0.5, 0.9, 0]])
    everyone = np.ones(3, bool)
    chosen = choose(buckets([np.zeros(3, np.uint64)]), 3, lambda a, b, *_: similarity[a, b], 0.8, everyone, everyone)
    assert chosen.keeper.tolist() == [-1, 0, -1]


def test_nothing_in_common_compares_nothing():
    everyone = np.ones(4, bool)
    chosen = choose(buckets([np.arange(4, dtype=np.uint64)]), 4, None, 0.8, everyone, everyone)
    assert (chosen.keeper == -1).all() and not len(chosen.left)
