"""Stop requests: Ctrl-C, SIGTERM, or a function that the caller passes; the loop treats all three alike.

The first signal is recorded and honoured between two micro-batches. A second one has its usual effect.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """The run was asked to stop and has written a checkpoint; the same command resumes from it."""


@contextmanager
def stop_requests(should_stop: Callable[[], bool] | None) -> Iterator[Callable[[], bool]]:
    """Yields a function that tells whether a stop was requested. Restores the signal handlers at the end."""
    requested = threading.Event()
    original_handlers: dict[int, Any] = {}

    def restore_handlers() -> None:
        for number, handler in original_handlers.items():
            signal.signal(number, handler)
        original_handlers.clear()

    def record_request(number: int, frame: FrameType | None) -> None:
        requested.set()
        restore_handlers()

    # Python allows signal handlers only in the main thread; elsewhere only the caller's function can stop a run.
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            original_handlers[number] = signal.signal(number, record_request)
    try:
        yield lambda: requested.is_set() or (should_stop is not None and should_stop())
    finally:
        restore_handlers()
