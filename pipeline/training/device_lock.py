"""Trainings of several people on one device take turns, whether Dagster or `slm` started them.

Whoever trains or evaluates locks a file of the device, in a folder that all users of the machine share; the kernel
releases the lock when its owner dies, however it dies. Dagster's pools show the same queue in the UI, but know only
runs of their own instance. With `SLM_DEVICE_SLOTS` (1) above one, so many share a device; with 0 nobody waits.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import locations
from pipeline.errors import UserError
from pipeline.owner import owner
from pipeline.training import machine
from pipeline.training.distributed import Ranks
from pipeline.training.stopping import Stopped

if TYPE_CHECKING:
    from pipeline.context import RunContext

SLOTS, FOLDER = "SLM_DEVICE_SLOTS", "SLM_DEVICE_LOCKS"
SECONDS_BETWEEN_TRIES = 0.2
SECONDS_BETWEEN_LINES = 30.0  # about what is waited for
MOST_BYTES, MOST_CHARACTERS = 4096, 200  # of what is read and shown of another user's file
# Another user's link may lead to a file of one's own, and opening a pipe may wait for ever.
UNKNOWN_FILE = os.O_NOFOLLOW | os.O_NONBLOCK
ALONE = Ranks()
_held: set[str] = set()  # of this process: whoever holds a device may use it for a part of the same work


def slots() -> int:
    """How many trainings share a device; 0: any number. Raises UserError if SLM_DEVICE_SLOTS is no number."""
    given = os.environ.get(SLOTS) or "1"
    if not given.isdecimal():
        raise UserError(
            f"{SLOTS}={given} is no number: set how many trainings may share a device, or 0 for any number."
        )
    return int(given)


def names_of(device: str, processes: int = 1) -> list[str]:
    """What the devices are called that so many processes of this machine use, whatever numbers they see them under.

    device: as torch names it (`cpu`, `cuda:0`). The names are sorted, so that two trainings on several devices never
    wait for each other.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return [kind]
    import torch

    first = int(number or 0)
    found = [torch.cuda.get_device_properties(index) for index in range(first, first + processes)]
    return sorted(f"gpu-{getattr(card, 'uuid', None) or first + place}" for place, card in enumerate(found))


@contextmanager
def alone_on(
    names: list[str],
    what: str,
    log: Callable[[str], None],
    should_stop: Callable[[], bool] | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[None]:
    """While the block runs, no other training that asks has these devices.

    what: is done with them, for the sentence that others see. ranks: of processes that train together, in all of which
    the block is entered: the first one takes the devices for all. They wait together, since none may wait for another
    for long. Raises Stopped if asked to stop meanwhile.
    """

    def found(by_first: Callable[[], Any]) -> Any:
        return ranks.agreed(lambda: by_first() if ranks.first else None)

    count = slots()
    wanted: list[str] = found(lambda: [name for name in names if name not in _held] if count else [])
    with ExitStack() as locks:
        for name in wanted:
            waiting = _Waiting(name, count, what, log)
            locks.callback(waiting.release)
            while not found(waiting.taken):
                if found(lambda: bool(should_stop and should_stop())):
                    raise Stopped(f"stopped while waiting for {name}; the same command starts again.")
                time.sleep(SECONDS_BETWEEN_TRIES)
        yield


def alone(context: RunContext, asset: str, device: str = "", ranks: Ranks = ALONE) -> AbstractContextManager[None]:
    """`alone_on` the device of a run, while it makes `asset`. device: as torch names it; "": the one of the recipe."""
    names = []
    if slots() and ranks.first:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if ranks.world > 1 else 1
        names = names_of(device or machine.choose_device(context.device), local)
    what = f"{owner()}: `{asset}` of {locations.scoped(context.store.recipe)}"
    return alone_on(names, what, context.log, context.should_stop, ranks)


class _Waiting:
    """One process's wish for a slot of a device, and then the slot."""

    def __init__(self, name: str, count: int, what: str, log: Callable[[str], None]):
        self._name, self._count, self._what, self._log = name, count, what, log
        self._began = time.monotonic()
        self._due = self._began
        self._lock: int | None = None

    def taken(self) -> bool:
        """Take a slot if one is free. If not, say from time to time who has them."""
        for slot in range(self._count):
            self._lock = _taken(_place(self._name, slot), self._what)
            if self._lock is not None:
                _held.add(self._name)
                return True
        now = time.monotonic()
        if now >= self._due:
            so_far = f"; {now - self._began:.0f} s so far" if now > self._began + 1 else ""
            users = " and ".join(_user(_place(self._name, slot)) for slot in range(self._count))
            self._log(f"waiting for {self._name}, which {users} uses{so_far}; Ctrl-C stops waiting")
            self._due = now + SECONDS_BETWEEN_LINES
        return False

    def release(self) -> None:
        if self._lock is not None:
            _held.discard(self._name)
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)


def _place(name: str, slot: int) -> Path:
    folder = Path(os.environ.get(FOLDER) or Path(tempfile.gettempdir()) / "slm-devices")
    return folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.{slot}"


def _taken(place: Path, what: str) -> int | None:
    """The descriptor of the locked file; None if another has it.

    All users of the machine share folder and file, whoever made them first. Raises UserError if there can be no lock.
    """
    lock = None
    try:
        _provide_folder(place.parent)
        try:
            lock = os.open(place, os.O_RDWR | UNKNOWN_FILE)
        except FileNotFoundError:
            lock = os.open(place, os.O_RDWR | os.O_CREAT | UNKNOWN_FILE, 0o666)
            with suppress(OSError):
                os.fchmod(lock, 0o666)
        found = os.fstat(lock)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OSError(errno.EMLINK, "it is no file of its own")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if lock is not None:
            os.close(lock)
        if isinstance(error, BlockingIOError):
            return None
        raise UserError(
            f"{place} cannot be opened and locked ({error.strerror}), by which trainings take turns: name a folder that"
            f" all users can write with {FOLDER}, or set {SLOTS}=0."
        ) from None
    with suppress(OSError):  # a full disk; the lock holds all the same
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "what": what}).encode(), 0)
    return lock


def _provide_folder(folder: Path) -> None:
    """Make the folder for all users, in which none deletes the files of others (the sticky bit).

    Raises OSError if another user made the one in the machine's temporary folder in any other way.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o1777, parents=True)
        folder.chmod(0o1777)  # whatever the umask is
    if os.environ.get(FOLDER):  # whoever named it answers for it
        return
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, "its folder is a link or a file")
    if not found.st_mode & stat.S_ISVTX:
        if found.st_uid != os.getuid():
            raise OSError(errno.EPERM, "in its folder, users may delete the files of others")
        folder.chmod(0o1777)


def _user(place: Path) -> str:
    """Who has a slot, in words. Another user may have written anything there."""
    try:
        noted = json.loads(_start_of(place))
        said = f"process {noted['pid']} ({noted['what']})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
    return "".join(character for character in said if character.isprintable())[:MOST_CHARACTERS]


def _start_of(place: Path) -> bytes:
    """The first bytes of a file. Raises OSError if it is none."""
    file = os.open(place, os.O_RDONLY | UNKNOWN_FILE)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return os.read(file, MOST_BYTES)
    finally:
        os.close(file)
