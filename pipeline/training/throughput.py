"""The throughput of a run: tokens per second, share of the machine's peak, share of the time spent waiting for data.

Kept apart from the log of the run, since artifacts must not contain times.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.training import machine

WINDOW = 20  # steps over which the current throughput is measured
REPORT_SECONDS = 2.0
PEAK_SECONDS = 5.0  # between two measurements of a CPU's peak, each of which takes some 20 ms


class Peak:
    """The peak FLOP/s of all devices together: a GPU's from the table, a CPU's measured during the run.

    A CPU is shared, and what it can do changes from minute to minute, so it is measured again and again between the
    steps. Its peak is the most that it reached: of what it did while others used it, a share may exceed 1.
    """

    def __init__(self, device: str, precision: str, world: int = 1):
        self.device, self.precision, self.world = device, precision, world
        self._found = [machine.peak_flops(device, precision)]
        self._measured = time.monotonic()

    @property
    def flops(self) -> float:
        """0 if unknown."""
        return max(self._found) * self.world

    def measure_again(self) -> None:
        """Measure a CPU's peak once more, if PEAK_SECONDS have passed."""
        if self.device.startswith("cpu") and time.monotonic() - self._measured > PEAK_SECONDS:
            self._found.append(machine.peak_flops(self.device, self.precision))
            self._measured = time.monotonic()


class Clock:
    """Measures how this process spends the time of one run."""

    def __init__(self) -> None:
        self.steps = 0  # done in this process
        self._began = time.monotonic()
        self._paused_seconds = 0.0
        self._waiting_seconds = 0.0
        self._reported = 0.0
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=WINDOW + 1)

    def begin(self) -> None:
        """Start the clock; compiling and resuming, which come before, are not counted."""
        self._began, self.steps, self._paused_seconds, self._waiting_seconds = time.monotonic(), 0, 0.0, 0.0
        self._recent.clear()
        self._mark()

    def step(self) -> None:
        self.steps += 1
        self._mark()

    def _mark(self) -> None:
        self._recent.append((self.steps, self._busy(), self._waiting_seconds))

    def _busy(self) -> float:
        return time.monotonic() - self._began - self._paused_seconds

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the block as waiting for data."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._waiting_seconds += time.monotonic() - started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of the block (validation, samples) from training."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._paused_seconds += time.monotonic() - started

    def recent(self, step_tokens: int, flops_per_token: float, peak: float) -> dict[str, float]:
        """Throughput over the last steps. `peak`: FLOP/s of all devices together, 0 if unknown."""
        (first, busy, waited), (last, busy_now, waited_now) = self._recent[0], self._recent[-1]
        return _figures(last - first, busy_now - busy, waited_now - waited, step_tokens, flops_per_token, peak)

    def summary(self, step_tokens: int, flops_per_token: float, peak: float) -> dict[str, float]:
        """Throughput and times in seconds of the whole run in this process."""
        figures = _figures(self.steps, self._busy(), self._waiting_seconds, step_tokens, flops_per_token, peak)
        return {"training": self._busy(), "measuring": self._paused_seconds, **figures}

    def report_due(self) -> bool:
        """Whether REPORT_SECONDS have passed since this was last true."""
        if time.monotonic() - self._reported < REPORT_SECONDS:
            return False
        self._reported = time.monotonic()
        return True


def _figures(
    steps: int, seconds: float, waited: float, step_tokens: int, flops_per_token: float, peak: float
) -> dict[str, float]:
    speed = steps * step_tokens / seconds if seconds > 0 else 0.0
    figures = {"tokens_per_second": speed, "waiting_for_data": waited / seconds if seconds > 0 else 0.0}
    if peak:
        # Matrices of the training may suit a processor better than the one that its peak was measured with.
        figures["mfu"] = min(speed * flops_per_token / peak, 1.0)
    return figures
