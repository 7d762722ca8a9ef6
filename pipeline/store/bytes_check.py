"""Whether stored bytes are still what was written: a fast hash (xxh3-128) beside the SHA-256 of each file.

SHA-256 names contents, and nobody can make two files of one name; it is computed once, when a file is written. xxh3
costs a tenth of it, so a file is checked by it whenever a process reads or links the file for the first time. A bit
that flipped, or an editor that saved, is found before anything is made from it. `SLM_CHECK=off` switches it off.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import xxhash

from pipeline.errors import UserError

HASH = "xxh3"  # key of the fast hash in the manifest's entry of a file
MISSING, CHANGED = "is missing", "is not what was written"
BLOCK = 2**20

# Device, inode, size and time of change of the files that this process has read -> their hash.
_known: dict[tuple[int, int, int, int], str] = {}


class Damaged(UserError):
    """A stored file is not what was written. The draft stays: what was made from intact files is right."""

    draft_stays = True


def enabled() -> bool:
    """Whether bytes are checked (`SLM_CHECK`)."""
    return os.environ.get("SLM_CHECK", "").strip().lower() not in ("off", "0", "no", "false")


def hashes(path: Path) -> dict[str, Any]:
    """SHA-256, size and fast hash of a file, read once: the start of its entry in the manifest."""
    exact, fast, size = hashlib.sha256(), xxhash.xxh3_128(), 0
    with open(path, "rb", buffering=0) as file:
        block = memoryview(bytearray(BLOCK))
        while count := file.readinto(block):
            exact.update(block[:count])
            fast.update(block[:count])
            size += count
        _known[_identity(os.fstat(file.fileno()))] = fast.hexdigest()
    return {"sha256": exact.hexdigest(), "bytes": size, HASH: fast.hexdigest()}


def fast_hash(path: Path) -> str:
    """The fast hash of a file; read only if this process has not read the file since it last changed."""
    with open(path, "rb", buffering=0) as file:
        identity = _identity(os.fstat(file.fileno()))
        known = _known.get(identity)
        if known is None:
            fast = xxhash.xxh3_128()
            block = memoryview(bytearray(BLOCK))
            while count := file.readinto(block):
                fast.update(block[:count])
            known = _known[identity] = fast.hexdigest()
        return known


def problem(path: Path, entry: dict[str, Any]) -> str | None:
    """What is wrong with a stored file, by its entry in the manifest, such as "is missing".

    None if the bytes are right, and if an entry of an older version has no fast hash.
    """
    try:
        size = os.stat(path).st_size
        wrong = size != entry["bytes"] or (HASH in entry and fast_hash(path) != entry[HASH])
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return "cannot be read: the disk reports an error"
    return CHANGED if wrong else None


def _identity(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
