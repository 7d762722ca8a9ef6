"""Tasks for doccano, and what it exports.

Import: JSONL for a project of text classification, `text` and keys that become metadata, with the labels to choose from
in a file of their own. Export: JSONL, a row per text with `label`, a list, and the metadata beside it; a zip with
USERNAME.jsonl of each member, or, where members share their labels, all.jsonl
(backend/data_export of https://github.com/doccano/doccano).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from pipeline.annotation.label_studio import TASK
from pipeline.annotation.tasks import VERDICTS, Task
from pipeline.annotation.words import QUESTIONS, conversation_text
from pipeline.errors import UserError

NAME = "doccano"
COLOURS = ("#2457a7", "#a52a2a", "#615d53")
MOST_BYTES = 2**30  # of an unpacked export


def rows_for(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The rows that doccano imports."""
    return [{"text": shown(task), "label": [], TASK: task.task} for task in tasks]


def shown(task: Task) -> str:
    """A task as one text, since doccano shows one."""
    if task.kind == "document":
        return task.texts[0]
    titles = ("First answer", "Second answer") if task.kind == "pair" else ("Answer",)
    parts = [conversation_text(task.prompt)]
    parts += [f"[{title}]\n{text}" for title, text in zip(titles, task.texts, strict=True)]
    return "\n\n".join([*parts, f"[{QUESTIONS[task.kind]}]"])


def labels(kind: str) -> list[dict[str, Any]]:
    """The labels to import under Labels > Import Labels."""
    return [
        {"text": verdict, "suffix_key": str(number), "background_color": colour, "text_color": "#ffffff"}
        for number, (verdict, colour) in enumerate(zip(VERDICTS[kind], COLOURS), 1)
    ]


def files_in(name: str, content: bytes) -> Iterator[tuple[str, str]]:
    """(who, JSONL) of an export: a zip, or one file, which is named after its member. Raises UserError."""
    if not content.startswith(b"PK\x03\x04"):
        yield PurePosixPath(name).stem, _text(name, content)
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [one for one in archive.infolist() if one.filename.endswith(".jsonl")]
            if sum(one.file_size for one in members) > MOST_BYTES:
                raise UserError(f"{name} holds more than a gigabyte of labels: export fewer at a time.")
            for member in members:
                yield PurePosixPath(member.filename).stem, _text(member.filename, archive.read(member))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{name} is no zip that can be read: export the labels from doccano again.") from error


def said(who: str, text: str, name: str) -> Iterator[tuple[str, object, list[str]]]:
    """(task's id, who, verdicts) of each row of one member's file. Raises UserError for a line that is no JSON."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(f"{name}, line {number}, is no JSON: export the labels again, as JSONL.") from None
        if isinstance(row, dict):
            found = row.get("label")
            yield str(row.get(TASK)), who, [str(one) for one in found] if isinstance(found, list) else []


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8: export the labels again, as JSONL.") from error
