"""Local worker processes, of which any may be killed or crash: the others go on, and it is known what it was at.

`concurrent.futures` breaks as a whole when one of its processes dies, and does not say on which task. Here each process
has a pipe of its own, so that its death is told by the end of that pipe.

Starting a process costs a second of imports, and every stage of curation needs some. So a worker that has nothing to do
waits for the next stage, and ends by itself if none comes.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
Answer = tuple[bool, Any]  # (True, what the function returned) or (False, what it raised)
# Seconds for which a worker waits for a task, and after which it is given no new one: it might just be ending.
WAITS, FRESH = 60.0, 30.0
ONE_THREAD = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Crash:
    """How a worker died."""

    words: str  # such as "was killed (SIGKILL), ..."


@dataclass
class Worker:
    """A process, and the task that it is at."""

    process: SpawnProcess
    pipe: Connection
    task: int = -1
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))  # that it was started in
    idle_since: float = 0.0


_idle: list[Worker] = []


def run(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Result | Crash]]:
    """Call `function(*task)` for each task in so many processes; yields (index, result or Crash) as tasks end.

    Whatever the function raises, is raised here, and ends all workers.
    """
    waiting = list(range(len(tasks)))[::-1]
    before = killed_for_memory()
    at_work: list[Worker] = []
    try:
        while waiting or at_work:
            while waiting and len(at_work) < workers:
                at_work.append(taken_up() or started())
                give(at_work[-1], function, tasks, waiting.pop())
            ready = connection.wait([worker.pipe for worker in at_work])
            for worker in [worker for worker in at_work if worker.pipe in ready]:
                index = worker.task
                answer = heard(worker, before)
                if isinstance(answer, Crash):
                    at_work.remove(worker)
                    worker.pipe.close()
                elif waiting:
                    give(worker, function, tasks, waiting.pop())
                else:
                    at_work.remove(worker)
                    worker.idle_since = time.monotonic()
                    _idle.append(worker)
                yield index, answer if isinstance(answer, Crash) else result_of(answer)
    finally:
        for worker in at_work:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()


def started() -> Worker:
    context = get_context("spawn")  # not forked: the threads of Polars and torch do not survive a fork
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, WAITS))
    process.start()
    there.close()  # else the end of the process would not be the end of its pipe
    return Worker(process, here)


def taken_up() -> Worker | None:
    """A worker that waits for a task, started in the same environment; None if there is none."""
    while _idle:
        worker = _idle.pop()
        fresh = time.monotonic() - worker.idle_since < FRESH
        if fresh and worker.process.is_alive() and worker.environment == dict(os.environ):
            return worker
        ended(worker)
    return None


@atexit.register
def end_idle() -> None:
    """End the workers that wait for a task, so that what comes next has their memory."""
    while _idle:
        ended(_idle.pop())


def give(worker: Worker, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], index: int) -> None:
    worker.task = index
    with suppress(BrokenPipeError):  # it has died, which `heard` will tell
        worker.pipe.send((function, tasks[index]))


def heard(worker: Worker, before: int) -> Answer | Crash:
    """What a worker answers, or how it died."""
    try:
        answer: Answer = worker.pipe.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        return Crash(death(worker.process.exitcode or 0, killed_for_memory() > before))
    if isinstance(answer[1], MemoryError):
        ended(worker)
        return Crash("ran out of memory")
    return answer


def result_of(answer: Answer) -> Any:
    succeeded, value = answer
    if not succeeded:
        raise value
    return value


def ended(worker: Worker) -> None:
    """Have a worker end by itself."""
    worker.pipe.close()
    worker.process.join()


def work(pipe: Connection, waits: float) -> None:
    """What a worker process does: one task after another, until its pipe is closed or none comes for a while."""
    for name in ONE_THREAD:  # else every worker starts as many threads as there are cores
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    while True:
        answer: Answer
        try:
            try:
                if not pipe.poll(waits):
                    return
                function, task = pipe.recv()
            except (EOFError, ConnectionError):
                return
            answer = (True, function(*task))
        except BaseException as error:
            error.add_note("".join(traceback.format_exception(error)))
            answer = (False, error)
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return
        except Exception as error:  # it cannot be sent
            pipe.send((False, RuntimeError(f"{error}: {answer[1]!r}")))


def death(code: int, for_memory: bool) -> str:
    """How a process with this exit code died, in words."""
    if code >= 0:
        return f"ended by itself with exit code {code}"
    name = signal.Signals(-code).name
    if for_memory:
        return f"was killed ({name}), since memory ran out"
    if -code == signal.SIGKILL:
        return f"was killed ({name}), as the system does when memory runs out"
    if -code == signal.SIGABRT:
        return f"crashed ({name}), as a library does that gets no memory"
    return f"crashed ({name})"


def killed_for_memory() -> int:
    """How many processes the kernel has killed for want of memory, on this machine and in this container."""
    total = 0
    for path in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events")):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return total
