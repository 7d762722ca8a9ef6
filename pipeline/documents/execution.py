"""Where work on fragments runs: in this process, in local processes, or on a Ray cluster.

All three call the same function with the same arguments, and the caller records the results, so the bytes cannot
differ. The function must be importable by name and must write its table itself: only small figures are returned.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field

from pipeline.errors import UserError
from pipeline.settings import Settings

Result = TypeVar("Result")

# A worker process spends about a second on imports; for less text than this it is not worth starting.
WORTH_A_PROCESS_BYTES = 64 * 2**20


class ExecutionSettings(Settings):
    executor: Literal["in_process", "processes", "ray"] = Field(
        "processes", description="Where work on fragments runs; the results are the same to the byte"
    )
    workers: int = Field(0, ge=0, le=10_000, description="Worker processes; 0: one for each core")
    ray_address: str = Field("auto", description="Address of the Ray cluster, for `executor: ray`")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="Where the model is trained and evaluated"
    )


def run_all(
    function: Callable[..., Result],
    tasks: Sequence[tuple[Any, ...]],
    execution: ExecutionSettings,
    work_bytes: int = 0,
    label: str = "",
) -> Iterator[tuple[int, Result]]:
    """Call `function(*task)` for each task; yields (index of the task, result) as tasks finish, with a progress bar.

    work_bytes: size of what all tasks read together; a small amount of work stays in this process.
    """
    workers = min(execution.workers or available_cores(), len(tasks))
    if execution.executor == "ray":
        results = _on_ray(function, tasks, execution.ray_address)
    elif execution.executor == "processes" and workers > 1 and work_bytes >= WORTH_A_PROCESS_BYTES:
        results = _in_processes(function, tasks, workers)
    else:
        results = ((index, function(*task)) for index, task in enumerate(tasks))
    return _with_progress(results, len(tasks), label)


def available_cores() -> int:
    """Cores that this process may use; in a container these may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_processes(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Result]]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    # Spawned, not forked: the threads of Polars and torch do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        futures = {pool.submit(function, *task): index for index, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    """Give each worker one thread; otherwise every worker starts as many threads as there are cores."""
    for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = "1"


def _on_ray(
    function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], address: str
) -> Iterator[tuple[int, Result]]:
    try:
        import ray
    except ImportError as error:
        raise UserError("`execution.executor: ray` needs Ray: install it with `pip install -e .[ray]`.") from error
    started_here = not ray.is_initialized()
    if started_here:
        try:
            _check_reachable(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"No Ray cluster answers at `execution.ray_address: {address}`: start one with `ray start --head`."
            ) from error
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(function)
        waiting = {remote.remote(*task): index for index, task in enumerate(tasks)}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(done[0]), ray.get(done[0])
    finally:
        if started_here:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at `address`; Ray itself would try for five minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _with_progress(results: Iterable[tuple[int, Result]], total: int, label: str) -> Iterator[tuple[int, Result]]:
    from tqdm import tqdm

    yield from tqdm(results, total=total, desc=label, unit="fragment", leave=False, disable=None if total > 1 else True)
