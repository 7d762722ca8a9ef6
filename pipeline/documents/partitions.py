"""Work on values of the whole corpus, in partitions by hash, each a task wherever the recipe has work run.

What looks across fragments would otherwise hold all of a column in one process. Hashes are spread evenly over their
range, so a task that takes a part of the range holds that part of the column, of whatever corpus: their number follows
from its size. A task reads what it needs from tables by fragment, writes a file, and returns nothing else; the files
are read in the order of the partitions, so that the result does not depend on which task ended first, or where it ran.
They stay in the draft until the artifact is finished.

Where each task looked at all tables for its range alone, the work would grow with the square of the corpus. So a task
that has many ranges (`by_range`) reads what it needs once, puts it into a file for each range, and takes these in turn.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.documents.execution import ExecutionSettings, check_shared, run_all
from pipeline.store import bytes_check
from pipeline.store.artifact import canonical, digest
from pipeline.store.bytes_check import HASH, fast_hash
from pipeline.store.draft import Draft, read_record

RANGES = ".ranges"  # how names end under which a task keeps its ranges (`by_range`)
HALF = np.uint64(32)  # of the bits of a hash
BUFFER_BYTES = 1 << 18  # of a range's file, before it is written to


def hash_ranges(values: int, at_once: int) -> list[tuple[int, int]]:
    """First and last hash (uint64) of as few ranges of equal width as hold about `at_once` of so many values each."""
    number = max(1, -(-values // at_once))
    bounds = [place * 2**64 // number for place in range(number + 1)]
    return [(first, end - 1) for first, end in pairwise(bounds)]


def by_range(
    parts: Iterable[np.ndarray], hashes: Callable[[np.ndarray], np.ndarray], ranges: int, folder: Path
) -> Iterator[np.ndarray]:
    """The rows of all parts, one range of hashes after the other, in the order of the parts within each.

    parts: arrays of one dtype. hashes: of the rows of a part, uint64. ranges: how many, of equal width; with more than
    one, rows are in memory only while their part or their range is, and otherwise in a folder that begins with `folder`
    and is removed in the end.
    """
    if ranges == 1:
        held = list(parts)
        if held:
            yield np.concatenate(held)
        return
    # By another name each time: a task that was taken for lost may still run beside the one in its place.
    with TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True) as place:
        paths = [Path(place, str(number)) for number in range(ranges)]
        dtype = _split(parts, hashes, paths)
        for path in paths:
            yield np.fromfile(path, dtype)
            path.unlink()


def _split(parts: Iterable[np.ndarray], hashes: Callable[[np.ndarray], np.ndarray], paths: list[Path]) -> np.dtype:
    """Append the rows of each part to the files of their ranges; returns the rows' dtype."""
    dtype = np.dtype(np.uint8)
    with ExitStack() as opened:
        files = [opened.enter_context(open(path, "wb", BUFFER_BYTES)) for path in paths]
        for part in parts:
            dtype = part.dtype
            place = ((hashes(part) >> HALF) * np.uint64(len(paths)) >> HALF).astype(np.uint16)
            order = np.argsort(place, kind="stable")
            ends = np.searchsorted(place[order], np.arange(len(paths)), side="right")
            for file, rows in zip(files, np.split(part[order], ends[:-1]), strict=True):
                file.write(rows.view(np.uint8).data)
    return dtype


def written(
    draft: Draft,
    name: str,
    write: Callable[..., int],
    tables: Any,
    partitions: Sequence[tuple[Any, ...]],
    execution: ExecutionSettings,
    work_bytes: int,
) -> list[Path]:
    """The files that `write(tables, *partition, path)` leaves for each partition, in their order, in a scratch folder
    of the draft.

    Each is recorded when it is finished, so that the same command takes it up after a kill. What the tables hold
    follows from what the draft is made of, so the record says only which partition it is, of plain values.
    name: of the work, in the bar of its progress and of its folder. work_bytes: size of what all tasks read together.
    """
    folder = draft.scratch(name)
    for left in folder.glob(f"*{RANGES}-*"):  # by tasks that were killed
        shutil.rmtree(left, ignore_errors=True)
    targets = [folder / str(number) for number in range(len(partitions))]
    missing = [place for place, target in enumerate(targets) if not _known(target, partitions[place])]
    tasks = [(tables, *partitions[place], targets[place]) for place in missing]
    left_bytes = work_bytes * len(missing) // max(1, len(partitions))
    for number, _ in run_all(write, tasks, execution, left_bytes, name):
        place = missing[number]
        check_shared(targets[place], execution)
        _record(targets[place], partitions[place])
    return targets


def _known(target: Path, partition: tuple[Any, ...]) -> bool:
    """Whether the file of this very partition was recorded, and is as it was then."""
    entry = read_record(record_of(target))
    return entry is not None and entry["key"] == digest(partition) and bytes_check.problem(target, entry) is None


def _record(target: Path, partition: tuple[Any, ...]) -> None:
    entry = {"key": digest(partition), "bytes": target.stat().st_size, HASH: fast_hash(target)}
    record_of(target).write_text(canonical(entry))  # where a kill leaves half of it, the partition is made again


def record_of(target: Path) -> Path:
    """Where it is noted that the file of a partition is finished."""
    return target.with_name(f"{target.name}.json")
