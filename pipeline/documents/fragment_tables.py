"""Tables that are made fragment by fragment, each remembered under a key of its own.

The one idea: a caller says of each fragment what its table depends on (the key) and what a worker needs to write it
(the task). A table that this draft or an earlier version made under the same key is linked; the rest are written by
workers and recorded as they come, so that a kill loses only those that are being written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.documents.execution import ExecutionSettings, run_all
from pipeline.documents.view import Documents
from pipeline.store.draft import Draft


@dataclass(frozen=True)
class TableTask:
    """One table of a draft."""

    name: str
    key: dict[str, Any]  # all that the table depends on
    work: int  # bytes to go through for it, which decides whether worker processes are worth starting
    task: Callable[[Path], tuple[Any, ...]]  # path to write to -> arguments of the worker; called where it is not there
    parts: dict[str, str] | None = None  # keys of what else the table can be used for (Draft.earlier_part)


def fragment_task(documents: Documents, fragment: str, name: str, about: dict[str, Any], *arguments: Any) -> TableTask:
    """A table of one fragment's documents, for a worker called with (documents, fragment, *arguments, path).

    about: what it depends on beside the documents.
    """

    def task(target: Path) -> tuple[Any, ...]:
        return documents.only(fragment), fragment, *arguments, target

    return TableTask(name, {**documents.key(fragment), **about}, 2 * documents.bytes(fragment), task)


def make_tables(
    draft: Draft,
    wanted: Iterable[TableTask],
    write: Callable[..., tuple[int, dict[str, Any]]],
    execution: ExecutionSettings,
    label: str,
) -> None:
    """Have `write` make the tables that nothing remembers; it runs in workers and returns (rows, facts)."""
    missing = [table for table in wanted if not draft.recall(table.name, table.key)]
    tasks = [table.task(draft.path(f"{table.name}.parquet")) for table in missing]
    work = sum(table.work for table in missing)
    for index, (rows, facts) in run_all(write, tasks, execution, work, label):
        table = missing[index]
        draft.record(table.name, table.key, rows=rows, facts=facts, parts=table.parts)
