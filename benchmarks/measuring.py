"""Clocks, peak memory and separate processes, for all benchmarks.

This file imports only the standard library, so that the Python of a peer's environment can load it too.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

ROOT = Path(__file__).resolve().parent.parent
# Environment of a process that computes with one thread, whichever library does the work.
ONE_THREAD = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
}


def cpu_of(action: Callable[[], Result]) -> tuple[Result, float]:
    """What `action` returns, and the CPU seconds of this process, over all threads, that it took."""
    started = time.process_time()
    result = action()
    return result, time.process_time() - started


def cpu_of_children() -> float:
    """CPU seconds of all processes that this one started and that have ended, with their own children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cpu_of_all() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return time.process_time() + cpu_of_children()


def peak_memory() -> float:
    """The highest resident set of this process so far, in MiB.

    Not from getrusage, whose figure starts with the memory of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def program(name: str, *arguments: object, python: str = sys.executable) -> list[str]:
    """The command line that runs the benchmark `name`. Start it in ROOT."""
    return [python, "-m", f"benchmarks.{name}", *map(str, arguments)]


def output_of(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """What a command prints, run in ROOT with `environment` added to this one's. SystemExit where it fails."""
    given = {**os.environ, **(environment or {})}
    done = subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)[:200]}\n{done.stderr[-3000:]}")
    return done.stdout.strip()
