"""Rows of like length share a step; every pass holds every row once, and a step depends on nothing but its number."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.training.data import by_length
from pipeline.training.data.by_length import LengthBatches, few_lengths, like_lengths
from pipeline.training.distributed import Ranks
from pipeline.training.objectives import tuning

LENGTHS = np.random.default_rng(0).integers(10, 250, 1000)


def padded(rows: np.ndarray) -> int:
    return len(rows) * int(LENGTHS[rows].max())


def test_padding_is_a_small_part_of_what_random_rows_need():
    batches, order = LengthBatches(LENGTHS, 16, 1), by_length.shuffled_rows(1000, 1, 0)
    steps = [batches.rows(step) for step in range(62)]
    sorted_waste = sum(padded(rows) - LENGTHS[rows].sum() for rows in steps)
    random_waste = sum(padded(order[i : i + 16]) - LENGTHS[order[i : i + 16]].sum() for i in range(0, 992, 16))
    assert sorted_waste < random_waste / 10


@pytest.mark.parametrize(("count", "size"), [(1000, 16), (50, 16), (16, 16), (3, 1), (129, 64), (7, 5)])
def test_every_pass_holds_every_row_once(count, size):
    batches = LengthBatches(LENGTHS[:count], size, 1)
    seen = np.concatenate([batches.rows(step) for step in range(-(-3 * count // size))])
    for passes in (1, 2, 3):
        end = passes * count
        held = np.bincount(seen[: end // size * size], minlength=count)  # of steps that lie in these passes as a whole
        assert held.max() <= passes and held.sum() > end - size
        if end % size == 0:
            assert (held == passes).all()


def test_a_step_is_the_same_whenever_it_is_asked_for_and_in_another_order_in_the_next_pass():
    batches = LengthBatches(LENGTHS, 8, 1)
    first = [batches.rows(step).tolist() for step in range(250)]
    again = LengthBatches(LENGTHS, 8, 1)
    assert [again.rows(step).tolist() for step in reversed(range(250))] == first[::-1]
    assert first[:125] != first[125:]
    assert [LengthBatches(LENGTHS, 8, 2).rows(step).tolist() for step in range(250)] != first


def test_the_length_of_a_step_says_nothing_about_when_it_comes():
    batches = LengthBatches(LENGTHS, 4, 1)
    longest = np.array([LENGTHS[batches.rows(step)].max() for step in range(250)])
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.2
    assert abs(np.corrcoef(longest, np.arange(250))[0, 1]) < 0.2


def test_ranks_share_the_rows_of_a_step():
    def rows_of(world: int, at_once: int, step: int) -> list[int]:
        batching = tuning.batching(len(LENGTHS), 1, 16, at_once, 1, world)
        batching = replace(batching, by_length=LengthBatches(LENGTHS, batching.step_rows, 1))
        return sorted(
            int(row)
            for micro in range(batching.accumulation)
            for rank in range(world)
            for row in batching.row_numbers(step, micro, Ranks(rank, world))
        )

    for step in (0, 61, 62, 63):  # the 63rd step holds the end of one pass and the start of the next
        alone = rows_of(1, 16, step)
        assert len(alone) == 16
        assert rows_of(1, 4, step) == rows_of(2, 4, step) == rows_of(4, 2, step) == alone


def test_used_rows_are_those_of_the_steps():
    batches = LengthBatches(LENGTHS, 16, 1)
    used = batches.used(10)
    assert len(used) == 160 and set(used) == {row for step in range(10) for row in batches.rows(step)}


def test_batches_of_like_length_hold_every_row():
    batches = like_lengths(LENGTHS[:10], 4)
    assert [len(batch) for batch in batches] == [4, 4, 2] and sorted(np.concatenate(batches)) == list(range(10))
    assert LENGTHS[batches[0]].max() <= LENGTHS[batches[1]].min()


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_few_lengths_pad_as_little_as_so_many_can(most):
    for seed in range(20):
        lengths = np.random.default_rng(seed).integers(1, 300, 25)
        found, candidates = few_lengths(lengths, most), np.unique(by_length.rounded(lengths))

        def size(chosen: np.ndarray, lengths: np.ndarray = lengths) -> int:
            return int(chosen[np.searchsorted(chosen, lengths)].sum())

        others = itertools.combinations(candidates[:-1], min(most, len(candidates)) - 1)
        assert size(found) == min(size(np.array([*shorter, candidates[-1]])) for shorter in others)
        assert len(found) <= most and (np.diff(found) > 0).all() and not (found % by_length.ROUND_TO).any()
