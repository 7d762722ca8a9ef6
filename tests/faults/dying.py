"""Work during which a worker process dies, importable by name as workers need it."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.documents.stage import FragmentStage
from pipeline.settings import StageSettings

MARK = "the worker dies of this"


def number(value: int, how: str) -> int:
    """The value; of 3, the worker dies."""
    if value == 3:
        die(how)
    return value


def place(number: int) -> int:
    """The process that this runs in; slow enough that one worker cannot take all tasks."""
    time.sleep(0.2)
    return os.getpid()


def die(how: str) -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "memory":
        raise MemoryError
    raise ValueError(how)


def signals(documents: pl.DataFrame, settings: Any, models: dict[str, Path]) -> pl.DataFrame:
    """The length of each text; a marked text kills the worker."""
    if documents["text"].str.contains(MARK).any():
        die("kill")
    return documents.select(length=pl.col("text").str.len_chars())


def decide(found: pl.DataFrame, settings: Any) -> pl.DataFrame:
    return found.select(keep=pl.col("length") > 0)


STAGE = FragmentStage(
    name="dying_decisions",
    settings=StageSettings,
    version="1",
    description="Dies of some texts.",
    rules=(),
    signals=signals,
    decide=decide,
)
