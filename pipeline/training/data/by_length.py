"""Rows of like length in one step, in an order that stays random and is a pure function of the step.

A batch is as long as its longest row, so rows that are drawn at random are padded by about half. Here the rows of a
pass are shuffled, sorted by length within windows of WINDOW steps, cut into steps, and the steps of a window are
shuffled (bucketing; Khomenko et al. 2016). A window is a random part of the data, so only the company that a row keeps
within a step depends on its length. Every pass holds every row once: a step in which one pass ends and the next begins
keeps its rows as they were shuffled.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ROUND_TO = 32  # batch lengths are multiples of this, so that few shapes occur
# Lengths of all batches where the network is compiled: a minute of compiling for each, and torch gives up after eight.
COMPILED_LENGTHS = 4
WINDOW = 64  # steps; with 16 rows each, lengths differ little within a step (docs/results/training-speed.md)


class LengthBatches:
    """The rows of each step. lengths: of all rows, in tokens; the same seed gives the same steps on every rank."""

    def __init__(self, lengths: np.ndarray, step_rows: int, seed: int):
        self.lengths, self.step_rows, self.seed = lengths, step_rows, seed
        self._windows = lru_cache(maxsize=4)(self._window)

    def rows(self, step: int) -> np.ndarray:
        """Numbers of the rows of one step, int64 [step_rows], the shortest first."""
        count, size = len(self.lengths), self.step_rows
        epoch, last = step * size // count, ((step + 1) * size - 1) // count
        if epoch != last:  # passes meet in this step
            places = range(step * size, (step + 1) * size)
            return self._sorted(np.array([self._shuffled(at // count)[at % count] for at in places]))
        first = -(-epoch * count // size)  # the first step that lies in this pass as a whole
        window, place = divmod(step - first, WINDOW)
        return self._windows(epoch, first + window * WINDOW)[place]

    def used(self, steps: int) -> np.ndarray:
        """Numbers of all rows that the first `steps` steps hold, each once, in order."""
        return np.unique(np.concatenate([self.rows(step) for step in range(steps)]))

    def _window(self, epoch: int, first: int) -> np.ndarray:
        """The rows of up to WINDOW steps from `first` on, [steps, step_rows]."""
        count, size = len(self.lengths), self.step_rows
        steps = min(WINDOW, (epoch + 1) * count // size - first)
        start = first * size - epoch * count
        rows = self._sorted(self._shuffled(epoch)[start : start + steps * size]).reshape(steps, size)
        return np.random.default_rng([self.seed, epoch, first]).permutation(rows)

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(self.lengths[rows], kind="stable")]

    def _shuffled(self, epoch: int) -> np.ndarray:
        return shuffled_rows(len(self.lengths), self.seed, epoch)


@lru_cache(maxsize=4)
def shuffled_rows(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers of all rows in the order of one pass."""
    return np.random.default_rng([seed, epoch]).permutation(rows)


def few_lengths(lengths: np.ndarray, most: int = COMPILED_LENGTHS) -> np.ndarray:
    """The at most `most` lengths to pad rows to, ascending, with which all rows together are padded least.

    Multiples of ROUND_TO. cost[k][i] is the least padded size of the rows that are no longer than candidate i, if k + 1
    lengths are used and candidate i is the longest of them.
    """
    candidates, rows = np.unique(rounded(lengths), return_counts=True)
    upto = rows.cumsum()
    cost, before = [(candidates * upto).astype(np.float64)], []
    for _ in range(1, min(most, len(candidates))):
        # [i, j]: with candidate j < i as the next shorter length
        joined = cost[-1] + np.subtract.outer(upto, upto) * candidates[:, None]
        joined = np.where(np.tri(len(candidates), k=-1, dtype=bool), joined, np.inf)
        before.append(joined.argmin(1))
        cost.append(joined.min(1))
    chosen = [len(candidates) - 1]
    for shorter in reversed(before):
        chosen.append(int(shorter[chosen[-1]]))
    return candidates[chosen[::-1]]


def rounded(lengths: np.ndarray) -> np.ndarray:
    """The next multiples of ROUND_TO."""
    return -(-lengths // ROUND_TO) * ROUND_TO


def like_lengths(lengths: np.ndarray, rows: int) -> list[np.ndarray]:
    """All rows in batches of `rows` of like length, the shortest first, for what does not depend on their order."""
    order = np.argsort(lengths, kind="stable")
    return [order[at : at + rows] for at in range(0, len(order), rows)]
