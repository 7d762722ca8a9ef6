"""Work on values of the whole corpus, in partitions: ranges of hashes, each a task wherever the recipe has work run.

What looks across fragments would otherwise hold all of a column in one process. Hashes are spread evenly over their
range, so a task that takes a part of the range holds that part of the column, of whatever corpus: their number follows
from its size. A task reads what it needs from tables by fragment, writes a file, and returns nothing else; the files
are read in the order of the partitions, so that the result does not depend on which task ended first, or where it ran.
They stay in the draft until the artifact is finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.documents.execution import ExecutionSettings, check_shared, run_all
from pipeline.store import bytes_check
from pipeline.store.artifact import canonical, digest
from pipeline.store.bytes_check import HASH, fast_hash
from pipeline.store.draft import Draft, read_record

LAST_HASH = 2**64 - 1


def hash_ranges(values: int, at_once: int) -> list[tuple[int, int]]:
    """First and last hash (uint64) of as few ranges of equal width as hold about `at_once` of so many values each."""
    number = max(1, -(-values // at_once))
    bounds = [place * 2**64 // number for place in range(number + 1)]
    return [(first, end - 1) for first, end in pairwise(bounds)]


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
