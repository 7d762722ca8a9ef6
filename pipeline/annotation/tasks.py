"""What people are asked to judge, in a folder, and what they said.

    tasks.jsonl        what is to be judged, with the models that wrote it: not for the eyes of those who judge
    judgements.jsonl   task, judge, verdict: one row for each task and person
    salt               what a person's name is hashed with; without it, nobody can find out by guessing names

The tools that judge (`label_studio.py`, `doccano.py`, `page.py`) are given the texts and never the models. Which of two
answers comes first follows from a hash, so the place of an answer tells nothing of who wrote it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import xxhash

from pipeline.errors import UserError
from pipeline.store.tables import write_whole

Kind = Literal["pair", "answer", "document"]
FIRST, SECOND, TIE = "first", "second", "tie"
GOOD, BAD = "good", "bad"
KEEP, DROP = "keep", "drop"
VERDICTS: dict[str, tuple[str, ...]] = {
    "pair": (FIRST, SECOND, TIE),
    "answer": (GOOD, BAD),
    "document": (KEEP, DROP),
}
# Of a document's case (pipeline/inspect/margins.py): what its verdict is kept with.
CASE = ("doc_id", "stage", "reason", "drawn", "state", "setting", "removes", "figure", "alone")
TASKS, JUDGEMENTS, SALT = "tasks.jsonl", "judgements.jsonl", "salt"


@dataclass(frozen=True)
class Task:
    """One thing to judge."""

    task: str  # 32 hex digits of what is judged
    kind: str  # a key of VERDICTS
    texts: list[str]  # two answers, one answer, or one document
    prompt: list[dict[str, str]] = field(default_factory=list)  # the turns that are answered
    models: list[str] = field(default_factory=list)  # which wrote each of the texts: asset/version, or a folder's name
    lang: str | None = None
    about: dict[str, Any] = field(default_factory=dict)  # of a document: the case of curation that it belongs to


@dataclass(frozen=True)
class Judgement:
    """What a person said of a task."""

    task: str
    judge: str  # a hash of who it was
    verdict: str
    told_by: str  # the tool: page, label-studio, doccano


def pair(
    prompt: Sequence[Mapping[str, str]], answers: Sequence[str], models: Sequence[str], lang: str | None
) -> Task | None:
    """Two answers to compare, in an order that tells nothing of their models; None if they are the same or empty."""
    texts = [answer.strip() for answer in answers]
    if texts[0] == texts[1] or not all(texts):
        return None
    name = _name("pair", prompt, sorted(texts))
    # Of the texts sorted, so that the same two answers are one task whichever model is named first.
    order = sorted(range(2), key=lambda number: texts[number], reverse=int(name, 16) % 2 == 1)
    shuffled = [texts[number] for number in order]
    return Task(name, "pair", shuffled, [dict(turn) for turn in prompt], [models[number] for number in order], lang)


def single(prompt: Sequence[Mapping[str, str]], answer: str, model: str, lang: str | None) -> Task | None:
    """An answer to judge by itself; None if it is empty."""
    text = answer.strip()
    name = _name("answer", prompt, [text])
    return Task(name, "answer", [text], [dict(turn) for turn in prompt], [model], lang) if text else None


def document(text: str, lang: str | None, about: Mapping[str, Any]) -> Task:
    """A document to keep or to drop. about: its id, stage and reason, and the figure that decided."""
    name = _name("document", [], [str(about["doc_id"]), str(about["stage"]), str(about["reason"])])
    return Task(name, "document", [text], lang=lang, about=dict(about))


def _name(kind: str, prompt: Sequence[Mapping[str, str]], texts: Sequence[str]) -> str:
    said = json.dumps([kind, [[turn["role"], turn["content"]] for turn in prompt], list(texts)], ensure_ascii=False)
    return xxhash.xxh3_128_hexdigest(said.encode("utf-8", "surrogatepass"))


# -- the folder --------------------------------------------------------------------------------------------------------


def write_tasks(folder: Path, tasks: Iterable[Task]) -> list[Task]:
    """Write the tasks, once each, sorted by id, which is a random order. Returns them.

    Raises UserError if there are none, or if the folder holds other tasks with judgements, which would be lost.
    """
    by_name = {task.task: task for task in tasks}
    kept = [by_name[name] for name in sorted(by_name)]
    if not kept:
        raise UserError("There is nothing to judge: all answers are empty, or both models gave the same ones.")
    if (folder / JUDGEMENTS).exists():
        gone = {judgement.task for judgement in read_judgements(folder)} - by_name.keys()
        if gone:
            raise UserError(
                f"{folder} has judgements of {len(gone)} tasks that are not among the new ones: name another folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / TASKS, "".join(json.dumps(asdict(task), ensure_ascii=False) + "\n" for task in kept))
    return kept


def read_tasks(folder: Path) -> list[Task]:
    """The tasks of a folder. Raises UserError if it has none, or if one is damaged."""
    return [Task(**row) for row in _rows(folder / TASKS, Task)]


def read_judgements(folder: Path) -> list[Judgement]:
    """All judgements of a folder; none if nobody has judged yet. Raises UserError if one is damaged."""
    if not (folder / JUDGEMENTS).exists():
        return []
    return [Judgement(**row) for row in _rows(folder / JUDGEMENTS, Judgement)]


def _rows(path: Path, form: type) -> list[dict[str, Any]]:
    """The rows of a file that this module wrote. Raises UserError."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: name a folder that `slm annotate export` has written.") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            form(**row)
        except (ValueError, TypeError, RecursionError):
            raise UserError(f"{path}, line {number}, is damaged: put the file back from a backup.") from None
        found.append(row)
    return found


def record(folder: Path, said: Iterable[Judgement | tuple[str, str]]) -> None:
    """Add judgements, each in the place of an earlier one of the same task and judge; (task, judge) takes one back.

    The file is replaced as a whole or not at all.
    """
    kept = {(one.task, one.judge): one for one in read_judgements(folder)}
    for one in said:
        if isinstance(one, tuple):
            kept.pop(one, None)
        else:
            kept[one.task, one.judge] = one
    rows = (json.dumps(asdict(kept[key]), ensure_ascii=False) + "\n" for key in sorted(kept))
    write_whole(folder / JUDGEMENTS, "".join(rows))


def judge_id(folder: Path, who: object) -> str:
    """16 hex digits that stand for a person, the same in all judgements of a folder.

    A hash with a secret that stays in the folder (`salt`): judgements can be passed on without it.
    """
    path = folder / SALT
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
    salt = path.read_text(encoding="utf-8").strip()
    return hashlib.blake2b(str(who).strip().casefold().encode(), key=salt.encode()[:64], digest_size=8).hexdigest()


# -- what they say together --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What people said of a task together."""

    task: Task
    verdict: str | None  # what more of them said than anything else; None: it is undecided
    judges: list[str]  # who judged it
    votes: int  # for the verdict


def together(tasks: Sequence[Task], judgements: Iterable[Judgement], least: int = 1) -> list[Verdict]:
    """The verdict of each task that somebody has judged: what most said, if at least `least` people judged it.

    A pair is decided by those who prefer one answer: as many for one as for the other is undecided, and so is a pair
    that most call a tie.
    """
    by_task: dict[str, list[Judgement]] = {}
    for one in judgements:
        by_task.setdefault(one.task, []).append(one)
    found = []
    for task in tasks:
        said = by_task.get(task.task, [])
        if not said:
            continue
        counts = {verdict: sum(one.verdict == verdict for one in said) for verdict in VERDICTS[task.kind]}
        best = max(counts.values())
        most = [verdict for verdict, count in counts.items() if count == best]
        decided = len(said) >= least and len(most) == 1 and most[0] != TIE
        judges = sorted(one.judge for one in said)
        found.append(Verdict(task, most[0] if decided else None, judges, best if decided else 0))
    return found
