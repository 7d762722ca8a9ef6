"""The thread that generates for all requests of a server, so that those of one model share its steps.

torch uses all of the machine's cores for a step, so nothing is gained by a second thread. It ends when nothing was
asked of it for a while, and begins again with the next request.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from model.batch import Batch, Text
from model.transformer import Transformer

IDLE = 5.0  # seconds without work after which the thread ends
Result = TypeVar("Result")


class Engine:
    """Generates texts of several networks; its methods may be called from any thread."""

    def __init__(self) -> None:
        self._awake = threading.Condition()
        self._asked: list[Callable[[], None]] = []
        self._batches: dict[Transformer, Batch] = {}
        self._thread: threading.Thread | None = None

    def add(self, network: Transformer, prompt: Sequence[int], texts: Sequence[Text]) -> None:
        """Generate texts that continue a prompt; they are told of their tokens in the engine's thread."""

        def begin() -> None:
            try:
                if network not in self._batches:
                    self._batches[network] = Batch(network)
                self._batches[network].add(prompt, texts)
            except Exception as error:
                for text in texts:
                    text.end(error)

        self._ask(begin)

    def run(self, work: Callable[[], Result]) -> Future[Result]:
        """Something else that computes, done between two steps."""
        future: Future[Result] = Future()

        def begin() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        self._ask(begin)
        return future

    @property
    def rows(self) -> int:
        """Texts that are being generated."""
        return sum(len(batch.rows) for batch in list(self._batches.values()))

    def _ask(self, begin: Callable[[], None]) -> None:
        with self._awake:
            self._asked.append(begin)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._awake.notify()

    def _work(self) -> None:
        while True:
            busy = [batch for batch in self._batches.values() if batch.busy]
            with self._awake:
                if not busy and not self._awake.wait_for(lambda: self._asked, IDLE):
                    self._thread = None
                    return
                asked, self._asked = self._asked, []
            for begin in asked:
                begin()
            for batch in busy:
                try:
                    batch.advance()
                except Exception as error:  # memory, say; the next request starts afresh
                    batch.fail(error)
