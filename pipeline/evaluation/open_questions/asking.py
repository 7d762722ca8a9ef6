"""Open questions of one or more turns, as MT-Bench and KoMT-Bench have them, answered by two models.

    answers.jsonl   id, category, turns, and the answers of both models, turn by turn

MT-Bench: Zheng et al. 2023; KoMT-Bench: LG AI Research 2024. What an open answer is worth only a person can say, or a
much larger model: `page.py` lays the answers side by side, `judge.py` asks a model elsewhere.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from pipeline.errors import UserError

if TYPE_CHECKING:
    from model.serve.text import TextModel


@dataclass(frozen=True)
class OpenQuestion:
    """One question; the turns after the first follow the model's own answers."""

    id: str
    category: str
    turns: tuple[str, ...]


@dataclass
class Answered:
    """One question with the answers of two models to each of its turns."""

    question: OpenQuestion
    answers: dict[str, list[str]] = field(default_factory=dict)  # by model

    @property
    def order(self) -> list[str]:
        """The models, the left one first: by a hash, so that the side tells nothing of the model."""
        names = sorted(self.answers)
        return names if xxhash.xxh3_64_intdigest(self.question.id.encode()) % 2 else names[::-1]

    def conversation(self, model: str) -> list[dict[str, str]]:
        """All turns, the user's and the model's."""
        return [
            {"role": role, "content": text}
            for asked, said in zip(self.question.turns, self.answers[model], strict=True)
            for role, text in (("user", asked), ("assistant", said))
        ]


def read_questions(path: Path, limit: int | None = None) -> list[OpenQuestion]:
    """The questions of a JSONL file (also .gz): {question_id | id, category, turns: [...] | prompt}.

    Raises UserError for a file that cannot be read or has none, and for a row of another shape.
    """
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a file of questions: name a JSONL file.") from error
    lines = [line for line in text.split("\n") if line.strip()]
    found = []
    for number, line in enumerate(lines[:limit], start=1):
        found.append(_question(path, number, line))
    if not found:
        raise UserError(f"{path} has no questions: name a file with at least one.")
    if len({one.id for one in found}) < len(found):
        raise UserError(f"{path} has two questions of the same `question_id`: give each its own.")
    return found


def _question(path: Path, number: int, line: str) -> OpenQuestion:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    turns = (row.get("turns") or [row.get("prompt")]) if isinstance(row, dict) else None
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise UserError(f"{path}, line {number}: a question is an object with `turns`, a list of texts, or `prompt`.")
    name = row.get("question_id", row.get("id", number))
    return OpenQuestion(str(name), str(row.get("category", "")), tuple(turns))


def answer_all(
    models: dict[str, TextModel],
    questions: Sequence[OpenQuestion],
    most_tokens: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Answered]:
    """Greedy answers of each model to each turn. Raises UserError for a model without the marks of conversations."""
    from model.sampling import GREEDY
    from model.serve.text import ReplyOptions

    options = ReplyOptions(GREEDY, most_tokens)
    found = [Answered(question) for question in questions]
    for number, (name, model) in enumerate(models.items()):
        if not model.chats:
            raise UserError(f"{name} has no marks of conversations: name a model that was fine-tuned to answer.")
        for done, one in enumerate(found, start=1):
            messages: list[dict[str, str]] = []
            for turn in one.question.turns:
                messages.append({"role": "user", "content": turn})
                messages.append({"role": "assistant", "content": _reply(model, messages, options)})
            one.answers[name] = [turn["content"] for turn in messages[1::2]]
            progress(number * len(found) + done, len(models) * len(found))
    return found


def _reply(model: TextModel, messages: Sequence[dict[str, str]], options: Any) -> str:
    """The answer to a conversation; one that is longer than the context loses its oldest turns, then its beginning."""
    turns = model.newest_turns(messages)
    room = model.network.config.context * 3 // 4
    ids = model.chat_ids(turns)
    if len(ids) > room:
        last = str(turns[-1]["content"])
        while len(ids) > room and len(last) > 1:
            last = last[len(last) // 4 or 1 :]
            ids = model.chat_ids([{"role": "user", "content": last}])
        turns = [{"role": "user", "content": last}]
    return "".join(model.answer(turns, options)).strip()
