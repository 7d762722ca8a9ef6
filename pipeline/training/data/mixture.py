"""Which component (a source and language) each training sequence is taken from, as a pure function of its number.

The sequences of a run are numbered. Of the first N, a component gets N times its share, rounded down, and the largest
component gets the rest; their order is shuffled within periods. So how many sequences a component has contributed up to
any point is a matter of arithmetic, with nothing to replay or store.

Random order comes from a hash (SplitMix64, Steele et al. 2014), since a library's generator may change from version to
version, and the documents that a model was trained on must still be the same answer years later.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

SHORTEST_PERIOD = 1024


def key_of(*parts: int | str) -> int:
    """A 64-bit key for shuffling, from the parts that identify what is shuffled."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def shuffled(count: int, key: int) -> np.ndarray:
    """The numbers below `count` in an order determined by `key` (int64)."""
    value = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(value ^ (value >> np.uint64(31)), kind="stable")


class Mixture:
    """Draws sequences from the components by their shares, which may change from phase to phase.

    phases: (first sequence of the phase, shares of the components, not all 0), sorted by first sequence, from 0.
    """

    def __init__(self, phases: list[tuple[int, np.ndarray]], seed: int):
        self._first = np.array([first for first, _ in phases], dtype=np.int64)
        self._shares = [shares / shares.sum() for _, shares in phases]
        self._largest = [int(np.argmax(shares)) for shares in self._shares]
        components = len(self._shares[0])
        # The largest share is at least 1/components, so a period of this length always gives it a sequence.
        self._period = max(SHORTEST_PERIOD, components * components)
        self._seed = seed
        self._order = lru_cache(maxsize=8)(self._order_of)
        self._before = [np.zeros(components, dtype=np.int64)]  # sequences of each component before each phase
        for phase in range(len(phases) - 1):
            length = int(self._first[phase + 1] - self._first[phase])
            self._before.append(self._before[-1] + self._count(phase, length))

    def count(self, sequences: int) -> np.ndarray:
        """How many of the first `sequences` sequences come from each component (int64)."""
        phase = self._phase(sequences)
        return self._before[phase] + self._count(phase, sequences - int(self._first[phase]))

    def take(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """For sequences `first` to `first + count`: the component of each, and its number within that component."""
        components = np.empty(count, dtype=np.int64)
        done = 0
        while done < count:
            at = first + done
            phase = self._phase(at)
            period, offset = divmod(at - int(self._first[phase]), self._period)
            end = min(count - done, self._period - offset)
            if phase + 1 < len(self._first):
                end = min(end, int(self._first[phase + 1]) - at)
            components[done : done + end] = self._order(phase, period)[offset : offset + end]
            done += end
        numbers = np.empty(count, dtype=np.int64)
        before = self.count(first)
        for component in np.unique(components):
            here = components == component
            numbers[here] = before[component] + np.arange(int(here.sum()))
        return components, numbers

    def _phase(self, sequence: int) -> int:
        return int(np.searchsorted(self._first, sequence, side="right")) - 1

    def _count(self, phase: int, sequences: int) -> np.ndarray:
        """Sequences of each component among the first `sequences` of a phase."""
        period, offset = divmod(sequences, self._period)
        counts = self._complete_periods(phase, period)
        if not offset:
            return counts
        return counts + np.bincount(self._order(phase, period)[:offset], minlength=len(counts))

    def _complete_periods(self, phase: int, periods: int) -> np.ndarray:
        counts = np.floor(self._shares[phase] * (periods * self._period)).astype(np.int64)
        counts[self._largest[phase]] += periods * self._period - counts.sum()
        return counts

    def _order_of(self, phase: int, period: int) -> np.ndarray:
        """The components of a period's sequences, in order."""
        counts = self._complete_periods(phase, period + 1) - self._complete_periods(phase, period)
        order = shuffled(self._period, key_of("period", self._seed, phase, period))
        return np.repeat(np.arange(len(counts)), counts)[order]
