"""Where work on fragments runs: in this process, in local processes, or on a Ray cluster.

All three call the same function with the same arguments, and the caller records the results, so the bytes cannot
differ. The function must be importable by name and must write its table itself: only small figures are returned.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from pipeline.documents.workers import Crash, end_idle, run
from pipeline.errors import UserError
from pipeline.settings import Settings

Result = TypeVar("Result")
Piece = TypeVar("Piece")

# A worker process spends about a second on imports; for less text than this it is not worth starting.
WORTH_A_PROCESS_BYTES = 64 * 2**20
# While no task ends, how often Ray's head is asked whether it is there, and how long it may be away (seconds). After 60
# of them Ray ends this process on its own account, without an error that could be told in a sentence.
HEAD_IS_ASKED, HEAD_IS_GONE = 5.0, 30.0


class ExecutionSettings(Settings):
    executor: Literal["in_process", "processes", "ray"] = Field(
        "processes", description="Where work on fragments runs; the results are the same to the byte"
    )
    workers: int = Field(0, ge=0, le=10_000, description="Worker processes; 0: one for each core")
    on_crash: Literal["stop", "skip"] = Field(
        "stop",
        description="When a worker is killed (by the system, when memory runs out) or crashes: `stop` the run, naming "
        "the fragment, or `skip` the fragment: a stage that judges documents one by one removes its documents with the "
        "reason `crashed_worker`. `skip` tries a fragment twice and always starts worker processes",
    )
    ray_address: str = Field("auto", description="Address of the Ray cluster, for `executor: ray`")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where the model is trained and evaluated"
    )
    max_hours: float = Field(
        24.0,
        ge=0,
        le=1e6,
        description="Hours that pretraining may take here by its plan; a longer one stops before it starts, unless "
        "`slm make --yes` starts it; 0: any number",
    )


class WorkerCrashed(UserError):
    """A worker process was killed or crashed. What others have finished stays in the draft."""

    draft_stays = True


class ClusterLost(UserError):
    """The head of the Ray cluster has gone. What was finished stays in the draft."""

    draft_stays = True


def run_all(
    function: Callable[..., Result],
    tasks: Sequence[tuple[Any, ...]],
    execution: ExecutionSettings,
    work_bytes: int = 0,
    label: str = "",
    crashed: Callable[[int, str], Result] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Call `function(*task)` for each task; yields (index of the task, result) as tasks finish, with a progress bar.

    work_bytes: size of what all tasks read together; a small amount of work stays in this process.
    crashed: what to take for the result of a task whose worker died (given its index and how it died, in words).
    Without it, such a death is raised as WorkerCrashed, which names the task only by its number.
    """
    workers = min(execution.workers or available_cores(), len(tasks))
    worth_it = workers > 1 and work_bytes >= WORTH_A_PROCESS_BYTES
    results: Iterable[tuple[int, Result | Crash]]
    if execution.executor == "ray":
        results = _on_ray(function, tasks, execution.ray_address)
    elif execution.executor == "processes" and tasks and (worth_it or execution.on_crash == "skip"):
        results = _in_processes(function, tasks, workers)
        if execution.on_crash == "skip":
            results = _tried_twice(function, tasks, results)
    else:
        results = ((index, function(*task)) for index, task in enumerate(tasks))
    for index, result in _with_progress(results, len(tasks), label):
        if not isinstance(result, Crash):
            yield index, result
        elif crashed is None:
            raise WorkerCrashed(
                f"`{label}`: a worker {result.words}, at piece {index + 1} of {len(tasks)}: give it more memory or "
                "fewer workers (`execution.workers`), then run the same command again."
            )
        else:
            yield index, crashed(index, result.words)


def check_shared(written: Path, execution: ExecutionSettings) -> None:
    """Raises UserError if a file that a node of a cluster has written is not seen here."""
    if execution.executor == "ray" and not written.exists():
        raise UserError(
            f"A node of the Ray cluster has written {written}, but it is not here: let SLM_DATA, or SLM_CACHE where "
            "SLM_DATA is an object store, be a folder that all machines share under the same path."
        )


def _tried_twice(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], results: Iterable[tuple[int, Result | Crash]]
) -> Iterator[tuple[int, Result | Crash]]:
    """Try a task whose worker died again at the end, alone: others may have taken the memory that it needs."""
    again = []
    for index, result in results:
        if isinstance(result, Crash):
            again.append(index)
        else:
            yield index, result
    end_idle()
    for index in sorted(again):
        yield from ((index, result) for _, result in _in_processes(function, [tasks[index]], 1))


def available_cores() -> int:
    """Cores that this process may use; in a container these may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Result | Crash]]:
    return run(function, tasks, workers)


def _on_ray(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], address: str
) -> Iterator[tuple[int, Result | Crash]]:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "`execution.executor: ray` needs Ray: install it with `pip install -e '.[cluster]'`."
        ) from error
    started_here, found = not ray.is_initialized(), address
    if started_here:
        try:
            found = _found(address)
            _check_reachable(found)
            ray.init(address=found, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError) as error:
            where = f" ({found})" if found != address else ""
            raise UserError(
                f"No Ray cluster answers at `execution.ray_address: {address}`{where}: start one with `ray start "
                "--head`, or correct RAY_ADDRESS if that is set."
            ) from error
    lost = ray.exceptions.WorkerCrashedError, ray.exceptions.LocalRayletDiedError, ray.exceptions.NodeDiedError
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(function)
        waiting = {remote.remote(*task): index for index, task in enumerate(tasks)}
        while waiting:
            done = _next_done(list(waiting))
            index = waiting.pop(done)
            try:
                result: Result | Crash = ray.get(done)
            except ray.exceptions.OutOfMemoryError:
                result = Crash("was killed by Ray, since memory ran out")
            except lost as error:
                result = Crash(f"crashed ({type(error).__name__})")
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from error  # its sentence, without the traceback that Ray adds to it
                raise
            yield index, result
    except ClusterLost:
        started_here = False  # a farewell would wait for the head, until Ray ends this process
        raise
    finally:
        if started_here:
            ray.shutdown()


def _next_done(waiting: list[Any]) -> Any:
    """The next of some tasks of Ray that has ended, in whatever way. Raises ClusterLost if the head has gone."""
    import ray

    head = ray.get_runtime_context().gcs_address
    heard = time.monotonic()
    while True:
        done, _ = ray.wait(waiting, num_returns=1, timeout=HEAD_IS_ASKED)
        if done:
            return done[0]
        try:
            _check_reachable(head)
            heard = time.monotonic()
        except OSError as error:
            if time.monotonic() - heard > HEAD_IS_GONE:
                raise ClusterLost(
                    f"The head of the Ray cluster at {head} has gone: start it again (`ray start --head`) and the "
                    "other nodes, then run the same command again, which resumes from what is finished."
                ) from error


def _found(address: str) -> str:
    """The address that `auto` stands for: RAY_ADDRESS, else the cluster that was last started on this machine, whether
    it still runs or not. Raises OSError if there is none."""
    if address != "auto":
        return address
    services: Any = import_module("ray._private.services")  # what `ray.init` asks, too
    return str(services.get_ray_address_from_environment(address, None))


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at `address`; Ray itself would try for minutes, and then end this process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _with_progress(results: Iterable[Piece], total: int, label: str) -> Iterator[Piece]:
    from tqdm import tqdm

    yield from tqdm(results, total=total, desc=label, unit="fragment", leave=False, disable=None if total > 1 else True)
