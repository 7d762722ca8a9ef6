"""Tables that are made fragment by fragment, each remembered under a key of its own.

For each fragment, the caller says what its table depends on (the key) and what a worker needs to write it (the
arguments). A table that this draft or an earlier version made under the same key is linked. Workers write the others,
and each is recorded as soon as it is finished, so a kill loses only the tables that are being written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.documents.execution import ExecutionSettings, WorkerCrashed, check_shared, run_all
from pipeline.documents.known_rows import EarlierVersions
from pipeline.documents.view import Documents
from pipeline.store.draft import Draft


@dataclass(frozen=True)
class TableTask:
    """One table of a draft and the work that makes it."""

    name: str
    key: dict[str, Any]  # everything that the table depends on
    work_bytes: int  # bytes to process; decides whether worker processes are worth starting
    # The path to write to -> the worker's arguments. Called only if the table is not remembered.
    arguments: Callable[[Path], tuple[Any, ...]]
    parts: dict[str, str] | None = None  # keys of the parts that a later version may reuse (Draft.earlier_part)


def fragment_task(
    documents: Documents,
    fragment: str,
    name: str,
    depends_on: dict[str, Any],
    *more: Any,
    earlier: EarlierVersions | None = None,
) -> TableTask:
    """The task of a table of one fragment's documents; its worker is called with (documents, fragment, *more, path).

    depends_on: what the table depends on in addition to the documents. earlier: versions whose table of the fragment,
    as it was, the worker also gets, before the path.
    """

    def arguments(target: Path) -> tuple[Any, ...]:
        known = () if earlier is None else (earlier.remembered(fragment, name),)
        return documents.only(fragment), fragment, *more, *known, target

    return TableTask(name, {**documents.key(fragment), **depends_on}, 2 * documents.bytes(fragment), arguments)


def make_tables(
    draft: Draft,
    tasks: Iterable[TableTask],
    write: Callable[..., tuple[int, dict[str, Any]]],
    execution: ExecutionSettings,
    label: str,
    aside: Callable[[TableTask, Path], tuple[int, dict[str, Any]]] | None = None,
) -> None:
    """Make the tables that are not remembered.

    write: runs in workers, writes a table and returns (rows, facts). aside: writes the table that stands for one whose
    worker died, if the recipe says `on_crash: skip`; it is not remembered, so that a later version tries again. Raises
    WorkerCrashed, which names the table, if a worker dies otherwise.
    """
    skipped: set[int] = set()

    def crashed(index: int, words: str) -> tuple[int, dict[str, Any]]:
        task = missing[index]
        if execution.on_crash == "stop" or aside is None:
            offer = ", or leave such fragments out with `execution.on_crash: skip`" if aside is not None else ""
            raise WorkerCrashed(
                f"`{label}`: the worker on the fragment `{task.name}` {words}: give it more memory or fewer workers "
                f"(`execution.workers`){offer}, then run the same command again."
            )
        draft.log(f"{label}: the worker on the fragment `{task.name}` {words}, so the fragment is set aside")
        skipped.add(index)
        return aside(task, draft.path(f"{task.name}.parquet"))

    missing = [task for task in tasks if not draft.recall(task.name, task.key)]
    argument_lists = [task.arguments(draft.path(f"{task.name}.parquet")) for task in missing]
    work_bytes = sum(task.work_bytes for task in missing)
    for index, (rows, facts) in run_all(write, argument_lists, execution, work_bytes, label, crashed):
        task = missing[index]
        check_shared(draft.path(f"{task.name}.parquet"), execution)
        if index in skipped:
            draft.record(task.name, {**task.key, "crashed": True}, rows=rows, facts=facts)
        else:
            draft.record(task.name, task.key, rows=rows, facts=facts, parts=task.parts)
