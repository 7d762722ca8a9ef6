"""Leases: while a run reads a version of an artifact, `slm store prune` leaves that version alone.

A lease is a shared lock on `<asset>/.leases/<version>`. The kernel releases it when its owner dies, however it dies,
so no lease outlives a reader. It holds on one machine, and on several that share a file system with locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

FOLDER = ".leases"


@contextmanager
def held(directories: Iterable[Path]) -> Iterator[None]:
    """While the block runs, these folders of versions are not deleted. Waits for a deletion that has begun.

    One that does not exist has no lease, nor has one in a store that cannot be written, from which nobody deletes.
    """
    with ExitStack() as leases:
        for directory in directories:
            descriptor = _opened(directory)
            if descriptor is not None:
                leases.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def unread(directory: Path) -> Iterator[bool]:
    """Yields whether nobody reads this version; if so, nobody begins to while the block runs."""
    descriptor = _opened(directory)
    if descriptor is None:
        yield True
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = True
    except BlockingIOError:
        free = False
    try:
        yield free
        if free and not directory.exists():
            _place(directory).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _place(directory: Path) -> Path:
    return directory.parent / FOLDER / directory.name


def _opened(directory: Path) -> int | None:
    if not directory.exists():
        return None
    place = _place(directory)
    try:
        place.parent.mkdir(exist_ok=True)
        return os.open(place, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        return None
