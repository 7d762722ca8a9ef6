"""How fast a run goes: tokens a second, share of the machine's peak, share of the time spent waiting for data.

Kept apart from the log of the run, since no time may get into an artifact.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

WINDOW = 20  # steps over which the speed that is shown is taken
TELL_SECONDS = 2.0


class Clock:
    """Time of one run in this process, by what it was spent on."""

    def __init__(self) -> None:
        self.steps = 0  # done in this process
        self._began = time.monotonic()
        self._aside = 0.0
        self._waited = 0.0
        self._told = 0.0
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=WINDOW + 1)

    def begin(self) -> None:
        """Training starts now; what came before (compiling, resuming) does not count."""
        self._began, self.steps, self._aside, self._waited = time.monotonic(), 0, 0.0, 0.0
        self._recent.clear()
        self._mark()

    def step(self) -> None:
        self.steps += 1
        self._mark()

    def _mark(self) -> None:
        self._recent.append((self.steps, self._busy(), self._waited))

    def _busy(self) -> float:
        return time.monotonic() - self._began - self._aside

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For data."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - started

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Measuring, sampling: not training."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._aside += time.monotonic() - started

    def recent(self, step_tokens: int, flops_per_token: float, peak: float) -> dict[str, float]:
        """Figures of the last steps. `peak` is FLOP/s of all devices together, 0 where it is not known."""
        (first, busy, waited), (last, busy_now, waited_now) = self._recent[0], self._recent[-1]
        return _figures(last - first, busy_now - busy, waited_now - waited, step_tokens, flops_per_token, peak)

    def summary(self, step_tokens: int, flops_per_token: float, peak: float) -> dict[str, float]:
        """Figures of the whole run in this process."""
        figures = _figures(self.steps, self._busy(), self._waited, step_tokens, flops_per_token, peak)
        return {"training": self._busy(), "measuring": self._aside, **figures}

    def time_to_tell(self) -> bool:
        """True once in a while: progress is for people."""
        if time.monotonic() - self._told < TELL_SECONDS:
            return False
        self._told = time.monotonic()
        return True


def _figures(
    steps: int, seconds: float, waited: float, step_tokens: int, flops_per_token: float, peak: float
) -> dict[str, float]:
    speed = steps * step_tokens / seconds if seconds > 0 else 0.0
    figures = {"tokens_per_second": speed, "waiting_for_data": waited / seconds if seconds > 0 else 0.0}
    if peak:
        figures["mfu"] = speed * flops_per_token / peak
    return figures
