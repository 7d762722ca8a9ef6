"""Tasks for Label Studio, and what it exports.

Import: a JSON list of `{"data": {...}}`, and the labelling configuration (XML) that shows it. Export: its JSON (one
entry per task, with `annotations` that have a `result` and `completed_by`) or its JSON-MIN (one row per annotation, the
choice under the name that the configuration gives it). Formats: https://labelstud.io/guide/task_format and
https://labelstud.io/guide/export.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import quoteattr

from pipeline.annotation.tasks import VERDICTS, Task
from pipeline.annotation.words import QUESTIONS, conversation_text

NAME = "label-studio"
TASK, CHOICE = "slm_task", "verdict"  # the key of a task's id in the data, and the name of the control


def tasks_for(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The list that Label Studio imports."""
    return [{"data": {TASK: task.task, **shown(task)}} for task in tasks]


def shown(task: Task) -> dict[str, str]:
    """What a person sees of a task, by name; the models are not in it."""
    if task.kind == "document":
        return {"text": task.texts[0]}
    names = ("first", "second") if task.kind == "pair" else ("text",)
    return {"prompt": conversation_text(task.prompt), **dict(zip(names, task.texts, strict=True))}


def configuration(kind: str) -> str:
    """The labelling configuration for tasks of a kind, to paste under Settings > Labeling Interface > Code."""
    views = []
    if kind != "document":
        views.append('  <Header value="Conversation"/>\n  <Text name="prompt" value="$prompt"/>')
    if kind == "pair":
        views += [
            f'  <Header value="{title}"/>\n  <Text name="{name}" value="${name}"/>'
            for name, title in (("first", "First answer"), ("second", "Second answer"))
        ]
        about = "first"
    else:
        views.append(f'  <Header value="{kind.title()}"/>\n  <Text name="text" value="$text"/>')
        about = "text"
    choices = "\n".join(
        f'    <Choice value="{verdict}" hotkey="{number}"/>' for number, verdict in enumerate(VERDICTS[kind], 1)
    )
    return (
        "<View>\n" + "\n".join(views) + f"\n  <Header value={quoteattr(QUESTIONS[kind])}/>\n"
        f'  <Choices name="{CHOICE}" toName="{about}" choice="single" required="true" showInLine="true">\n'
        f"{choices}\n  </Choices>\n</View>\n"
    )


def said(rows: Sequence[Any]) -> Iterator[tuple[str, object, list[str]]]:
    """(task's id, who, verdicts) of each annotation of an export, in the order in which they were made.

    An annotation that was skipped (`was_cancelled`), or has no choice, has no verdicts.
    """
    for row in rows:
        if not isinstance(row, dict):
            continue
        if not isinstance(row.get("annotations"), list):  # JSON-MIN
            yield str(row.get(TASK)), row.get("annotator"), _choices(row.get(CHOICE))
            continue
        data = row.get("data")
        task = str(data.get(TASK)) if isinstance(data, dict) else ""
        made = [one for one in row["annotations"] if isinstance(one, dict)]
        for one in sorted(made, key=lambda annotation: str(annotation.get("updated_at", ""))):
            yield task, _who(one.get("completed_by")), [] if one.get("was_cancelled") else _chosen(one.get("result"))


def _who(completed_by: Any) -> object:
    """A number or, in exports with whole users, the user's number."""
    return completed_by.get("id", completed_by.get("email")) if isinstance(completed_by, dict) else completed_by


def _chosen(result: Any) -> list[str]:
    """The choices of an annotation; those of other controls in the configuration are not ours."""
    found: list[str] = []
    for part in result if isinstance(result, list) else []:
        if isinstance(part, dict) and part.get("from_name") == CHOICE and isinstance(part.get("value"), dict):
            found += _choices(part["value"].get("choices"))
    return found


def _choices(value: Any) -> list[str]:
    """JSON-MIN has one choice as a text, and several as `{"choices": [...]}`."""
    if isinstance(value, dict):
        value = value.get("choices")
    return [value] if isinstance(value, str) else [str(one) for one in value or []]
