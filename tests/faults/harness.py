"""A disk that fails on purpose: every operation that changes files is counted, and the n-th one fails.

The process is killed (`kill`: before the operation; `torn`: in the middle of writing), or the system reports an error.
A kill is an exception that nothing catches, after which every further operation is refused: what the code would still
have tidied up, it cannot. `tests/faults/test_kills.py` compares a few such kills with `os._exit` in real processes.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import safetensors.torch

import model.export
import model.lora

KILL, TORN = "kill", "torn"
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS}
# What a full disk still does.
FREEING = ("unlink", "remove", "rmdir", "rename", "replace")

# Operations that change nothing where the name already exists (mkdir) or does not exist (the others).
IDLE = ("mkdir", "unlink", "remove", "rmdir")


class Killed(BaseException):
    """The process is dead: nothing in it runs any more."""


class Disk:
    """Counts the operations on files below `root`, and makes the operation number `at` fail in the way `how`."""

    def __init__(self, root: Path, at: int = 0, how: str = KILL, stop: Callable[[], None] | None = None):
        self.root = os.path.realpath(root)
        self.at, self.how = at, how
        self.stop = stop  # ends the process, instead of raising Killed
        self.operations: list[str] = []
        self.failed = False

    def before(self, name: str, path: Any) -> bool:
        """Called before each operation; raises if it is the one to fail. True if it is to be torn."""
        place = self.place(path)
        if place is None or (name in IDLE and os.path.lexists(path) == (name == "mkdir")):
            return False
        if self.failed and self.how in (KILL, TORN):
            raise Killed
        if (self.failed and self.how == "EROFS") or (self.failed and self.how == "ENOSPC" and name not in FREEING):
            raise self.error(path)
        self.operations.append(f"{name} {place}")
        if len(self.operations) != self.at:
            return False
        if self.how == "ENOSPC" and name in FREEING:
            self.at += 1  # the next operation that needs space
            return False
        self.failed = True
        if self.how == TORN and name == "write":
            return True
        if self.how in (KILL, TORN):
            self.die()
        raise self.error(path)

    def die(self) -> None:
        if self.stop is not None:
            self.stop()
        raise Killed

    def error(self, path: Any) -> OSError:
        number = ERRORS[self.how]
        named = () if isinstance(path, int) else (os.fspath(path),)  # the system knows no name of a descriptor
        return OSError(number, os.strerror(number), *named)

    def place(self, path: Any) -> str | None:
        """The path below the root; None if it lies elsewhere."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if not isinstance(path, str | os.PathLike):
            return None
        absolute = os.path.abspath(os.fspath(path))
        return os.path.relpath(absolute, self.root) if absolute.startswith(self.root + os.sep) else None

    def torn(self, path: Any) -> None:
        """Leave half of what was written, and die."""
        half = os.path.getsize(path) // 2
        os.truncate(path, half)
        self.die()

    # -- putting it between the code and the disk ---------------------------------------------------------------------

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("replace", "rename", "link"):
            patch.setattr(os, name, self.moving(name, getattr(os, name)))
        for name in ("unlink", "remove", "rmdir", "mkdir", "fsync"):
            patch.setattr(os, name, self.changing(name, getattr(os, name)))
        patch.setattr(os, "open", self.opening_descriptor(os.open))
        opening = self.opening(builtins.open)
        patch.setattr(builtins, "open", opening)
        patch.setattr(io, "open", opening)
        patch.setattr(Path, "write_bytes", self.writing(Path.write_bytes, 0))
        patch.setattr(shutil, "copyfile", self.writing(shutil.copyfile, 1))
        patch.setattr(pl.DataFrame, "write_parquet", self.writing(pl.DataFrame.write_parquet, 1))
        patch.setattr(pq, "write_table", self.writing(pq.write_table, 1))
        patch.setattr(pq, "ParquetWriter", self.parquet_writer(pq.ParquetWriter))
        for module in (safetensors.torch, model.export, model.lora):
            patch.setattr(module, "save_file", self.writing(safetensors.torch.save_file, 1))

    def moving(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def run(source: Any, target: Any, **named: Any) -> Any:
            self.before(name, target)
            return real(source, target, **named)

        return run

    def changing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def run(path: Any, *given: Any, dir_fd: int | None = None, **named: Any) -> Any:
            where = path if dir_fd is None else os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
            self.before(name, where)
            return real(path, *given, **({} if dir_fd is None else {"dir_fd": dir_fd}), **named)

        return run

    def opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def run(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
            if any(letter in mode for letter in "wax+") and self.before("write", file):
                real(file, mode, *given, **named).close()
                self.torn(file)
            return real(file, mode, *given, **named)

        return run

    def opening_descriptor(self, real: Callable[..., int]) -> Callable[..., int]:
        def run(path: Any, flags: int, *given: Any, **named: Any) -> int:
            if flags & os.O_CREAT:
                self.before("open", path)
            return real(path, flags, *given, **named)

        return run

    def writing(self, real: Callable[..., Any], argument: int) -> Callable[..., Any]:
        """A function that writes a whole file, whose path is the argument of this number."""

        def run(*given: Any, **named: Any) -> Any:
            count = len(self.operations)
            torn = self.before("write", given[argument])
            if count == len(self.operations):  # not below the root
                return real(*given, **named)
            at, self.at = self.at, 0  # the file is one operation, however it is written
            try:
                result = real(*given, **named)
            finally:
                del self.operations[count + 1 :]
                self.at = at
            if torn:
                self.torn(given[argument])
            return result

        return run

    def parquet_writer(self, real: type[Any]) -> type[Any]:
        disk = self

        class Writer(real):  # type: ignore[misc]
            def __init__(self, where: Any, *given: Any, **named: Any):
                self.torn = disk.before("write", where)
                self.path = where
                super().__init__(where, *given, **named)

            def close(self) -> None:
                was_open = self.is_open
                super().close()
                if self.torn and was_open:
                    disk.torn(self.path)

        return Writer
