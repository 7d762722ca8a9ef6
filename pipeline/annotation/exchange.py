"""Files for the tools in which people judge, and what those tools export, brought into the folder of tasks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.annotation import doccano, label_studio
from pipeline.annotation.tasks import VERDICTS, Judgement, Task, judge_id, read_judgements, read_tasks, record
from pipeline.errors import UserError
from pipeline.store.tables import write_whole

FILES = ("label_studio.json", "label_studio.xml", "doccano.jsonl", "doccano_labels.json")
SHARED = "all"  # doccano's name for the file of members who share their labels
LEFT_OUT = {
    "no_verdict": "was skipped, or has no label yet",
    "several_verdicts": "has more than one label",
    "unknown_verdict": "has a label that is none of those asked for",
    "unknown_task": "belongs to none of the folder's tasks",
}


def write_for_tools(folder: Path, tasks: Sequence[Task]) -> None:
    """Write what Label Studio and doccano import. All tasks are of one kind."""
    kind = tasks[0].kind
    rows = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in doccano.rows_for(tasks))
    contents = (
        json.dumps(label_studio.tasks_for(tasks), ensure_ascii=False, indent=1) + "\n",
        label_studio.configuration(kind),
        rows,
        json.dumps(doccano.labels(kind), ensure_ascii=False, indent=1) + "\n",
    )
    for name, content in zip(FILES, contents, strict=True):
        write_whole(folder / name, content)


def take_in(folder: Path, exports: Sequence[Path]) -> tuple[dict[str, int], dict[str, int]]:
    """Record what people said in exported files. Returns (new, changed, as before; what was left out, by LEFT_OUT).

    A later judgement of the same person on the same task replaces the earlier one. Raises UserError for a file that is
    neither tool's, and if no row of a file belongs to the folder's tasks.
    """
    tasks = {task.task: task for task in read_tasks(folder)}
    before = {(one.task, one.judge): one.verdict for one in read_judgements(folder)}
    found: dict[tuple[str, str], Judgement] = {}
    left_out: Counter[str] = Counter()
    for path in exports:
        tool, rows = read_export(path)
        known = 0
        for name, who, verdicts in rows:
            task = tasks.get(name)
            known += task is not None
            reason = _refused(task, verdicts)
            if reason or task is None:
                left_out[reason] += 1
                continue
            judge = judge_id(folder, f"{tool}:{who}")
            found[name, judge] = Judgement(name, judge, verdicts[0], tool)
        if not known:
            raise UserError(f"{path} has no judgement of the tasks in {folder}: name the folder that was exported.")
    counts = Counter(
        "new" if key not in before else "as before" if before[key] == one.verdict else "changed"
        for key, one in found.items()
    )
    record(folder, found.values())
    return dict(counts), dict(left_out)


def _refused(task: Task | None, verdicts: Sequence[str]) -> str:
    if task is None:
        return "unknown_task"
    if len(verdicts) != 1:
        return "several_verdicts" if verdicts else "no_verdict"
    return "" if verdicts[0] in VERDICTS[task.kind] else "unknown_verdict"


def read_export(path: Path) -> tuple[str, Iterable[tuple[str, object, list[str]]]]:
    """(the tool, its judgements) of an exported file: Label Studio's JSON or JSON-MIN, doccano's JSONL or zip.

    Raises UserError for any other file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: name a file that Label Studio or doccano has exported.") from error
    if content.lstrip()[:1] == b"[":
        try:
            rows: Any = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no whole JSON: export it from Label Studio again.") from error
        return label_studio.NAME, list(label_studio.said(rows))
    files = list(doccano.files_in(path.name, content))
    if not files:
        raise UserError(f"{path} holds no labels: export them from doccano as JSONL.")
    return doccano.NAME, [one for who, text in files for one in doccano.said(who, text, path.name)]
