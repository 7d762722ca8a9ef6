"""Files that are whole or absent, even after a power cut: written under another name, flushed, then renamed.

Everything in the project that has to survive a crash is written by these functions.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp"  # how the names of unfinished files end


def flush(path: Path) -> None:
    """Have the contents of a file, or the names in a directory, written to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(temporary: Path, path: Path) -> None:
    """Flush `temporary` to disk, then rename it to `path`; the rename makes it visible."""
    flush(temporary)
    os.replace(temporary, path)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields the path to write to; when the block ends, the file is put in place as `path`.

    The path is a new one each time, so that two writers never share it. If the block fails, the file is deleted: on a
    full disk it may hold what space is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield unfinished
        put_in_place(unfinished, path)
    except Exception:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file atomically; it is whole or absent even after a power cut. Text is written as UTF-8."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
