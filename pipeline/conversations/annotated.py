"""What people judged (`slm annotate`), as rows of preferences, and who judged what, by row.

A pair of answers becomes a preference, a single answer one rated by itself. Who judged is a hash; which models wrote
the answers is in the folder of tasks and comes along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.annotation.tasks import FIRST, GOOD, JUDGEMENTS, TASKS, Verdict, read_judgements, read_tasks, together
from pipeline.errors import UserError
from pipeline.store.artifact import file_digest

Row = dict[str, Any]

LINEAGE = "judged"  # the table with a row for each judged preference or rating
JUDGED: dict[str, Any] = {
    "id": pl.String,  # of the row of preferences or ratings
    "source": pl.String,
    "task": pl.String,
    "models": pl.List(pl.String),  # that wrote the chosen and the rejected answer, or the rated one
    "judges": pl.List(pl.String),
    "votes": pl.UInt32,  # of these, for what the row says
}


def digests(folder: Path, label: str) -> list[str]:
    """Hashes of the tasks and of the judgements. Raises UserError where there are none."""
    paths = [folder / TASKS, folder / JUDGEMENTS]
    for path, remedy in zip(paths, ("`slm annotate export` writes it", "nobody has judged anything yet"), strict=True):
        if not path.is_file():
            raise UserError(f"{label}: {path} does not exist: {remedy}.")
    return [file_digest(path) for path in paths]


def verdicts(folder: Path, least: int, expected: list[str], label: str) -> list[Verdict]:
    """What people said of each task. Raises UserError for documents, and if the folder is not as it was observed."""
    found = together(read_tasks(folder), read_judgements(folder), least)
    if digests(folder, label) != expected:
        raise UserError(f"{label}: somebody judges there right now: run the same command again afterwards.")
    if any(one.task.kind == "document" for one in found):
        raise UserError(f"{label} holds documents, not answers: `slm curate verdicts` counts what was said of them.")
    return found


def rows(found: Iterable[Verdict], lang: str | None) -> Iterator[tuple[Row, Verdict]]:
    """(a row as preferences are read from files, its verdict) of each task that is decided."""
    for one in found:
        task = one.task
        if one.verdict is None:
            continue
        stated = {"lang": lang or task.lang}
        if task.kind == "answer":
            completion = [{"role": "assistant", "content": task.texts[0]}]
            yield {"prompt": task.prompt, "completion": completion, "label": one.verdict == GOOD, **stated}, one
        else:
            chosen, rejected = task.texts if one.verdict == FIRST else task.texts[::-1]
            yield {"prompt": task.prompt, "chosen": chosen, "rejected": rejected, **stated}, one


def lineage(name: str, found: Iterable[Verdict], identify: Callable[[Row], str | None]) -> pl.DataFrame:
    """JUDGED of a set. identify: the id that a row gets, or None if it is refused."""
    told = []
    for row, one in rows(found, None):
        named = identify(row)
        if named is not None:
            models = one.task.models if one.verdict in (FIRST, GOOD) else one.task.models[::-1]
            told.append((named, name, one.task.task, models, one.judges, one.votes))
    return pl.DataFrame(told, schema=JUDGED, orient="row")
