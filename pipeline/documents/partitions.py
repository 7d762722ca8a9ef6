"""Work on values of the whole corpus, in partitions: ranges of hashes, each a task wherever the recipe has work run.

What looks across fragments would otherwise hold all of a column in one process. Hashes are spread evenly over their
range, so a task that takes a part of the range holds that part of the column, of whatever corpus: their number follows
from its size. A task reads what it needs from tables by fragment, writes a file, and returns nothing else; the files
are read in the order of the partitions, so that the result does not depend on which task ended first, or where it ran.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.documents.execution import ExecutionSettings, run_all
from pipeline.store.disk import remove_tree
from pipeline.store.draft import Draft

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
    partitions: Sequence[tuple[Any, ...]],
    execution: ExecutionSettings,
    work_bytes: int,
) -> list[Path]:
    """The files that `write(*partition, path)` leaves for each partition, in their order, in a folder of the draft.

    name: of the work, in the bar of its progress and of its folder. work_bytes: size of what all tasks read together.
    """
    folder = draft.scratch(name)
    tasks = [(*partition, folder / str(number)) for number, partition in enumerate(partitions)]
    for _ in run_all(write, tasks, execution, work_bytes, name):
        pass
    return [target for *_, target in tasks]


def results(
    draft: Draft,
    name: str,
    write: Callable[..., int],
    partitions: Sequence[tuple[Any, ...]],
    execution: ExecutionSettings,
    work_bytes: int,
) -> Iterator[Path]:
    """The files of `written`, gone when all are read."""
    yield from written(draft, name, write, partitions, execution, work_bytes)
    remove_tree(draft.scratch(name))
