"""What the store asks of the disk: small records that several processes change, and its errors in one sentence each."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from model.files import TEMPORARY, flush, write_whole
from pipeline.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


class DiskTrouble(UserError):
    """The disk is full, damaged or not writable. What was finished stays in the draft."""

    draft_stays = True


@contextmanager
def disk_errors(root: Path, unfinished: str) -> Iterator[None]:
    """Turn errors of the disk below `root` into one sentence.

    unfinished: what could not be done because of it, as in "so `curated_documents` could not be finished".
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        sentence = trouble(error, root, unfinished)
        if sentence is None:
            raise
        raise DiskTrouble(sentence) from error


def trouble(error: Exception, root: Path, unfinished: str) -> str | None:
    """The sentence for an error of the disk; None for any other error."""
    number = error_number(error)
    where = named(error, root)
    if number in FULL:
        return (
            f"The disk that holds {where} is full, so {unfinished}: "
            "free some space or point SLM_DATA elsewhere, then run the same command again."
        )
    if number == errno.EIO:
        return (
            f"The disk that holds {where} reports an error of its own ({os.strerror(errno.EIO)}), so {unfinished}: "
            "check the disk, then run the same command again; `slm store verify` says what it has damaged."
        )
    if number == errno.EROFS or (number in REFUSED and where != root and where.is_relative_to(root)):
        return (
            f"SLM_DATA ({root}) is not writable: {os.strerror(number)} ({where}), so {unfinished}: "
            "make it writable or point SLM_DATA elsewhere, then run the same command again."
        )
    if number in REFUSED and where == root and isinstance(error, OSError) and error.filename is not None:
        return f"SLM_DATA ({root}) is not writable: {os.strerror(number)}: point SLM_DATA to a folder of your own."
    return None


def error_number(error: Exception) -> int | None:
    """The system's number of an error; libraries that are not written in Python put it into their message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"os error (\d+)|\[errno (\d+)\]", str(error), re.IGNORECASE)
    if found:
        return int(found[1] or found[2])
    return errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else None


def named(error: Exception, root: Path) -> Path:
    """The file that the error names, or else `root`."""
    name = error.filename if isinstance(error, OSError) else None
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else root


def check_root(root: Path) -> None:
    """Raises UserError if `root` exists and is no folder."""
    if os.path.lexists(root) and not root.is_dir():
        raise UserError(f"SLM_DATA ({root}) is not a folder: point SLM_DATA to one.")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process changes the record `path`. The kernel releases the lock when its owner dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_name(f".{path.name}.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep(path)
        yield


def sweep(path: Path) -> None:
    """Delete what processes that were killed left of the file `path`; only for whoever holds its lock."""
    for left in path.parent.glob(f"{path.name}.{'[0-9a-f]' * 8}{TEMPORARY}"):
        left.unlink(missing_ok=True)


def change(path: Path, changed: Callable[[str | None], str]) -> None:
    """Read the record `path` (None if there is none), change it and write it, as one step that no other interrupts."""
    with alone(path):
        before = path.read_text(encoding="utf-8") if path.exists() else None
        after = changed(before)
        if after != before:
            write_whole(path, after)
            flush(path.parent)


def remove_tree(directory: Path) -> None:
    """Delete a folder, if there is one. Raises OSError where any of it stays."""
    if directory.exists():
        shutil.rmtree(directory)
