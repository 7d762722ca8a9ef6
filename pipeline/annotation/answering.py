"""Answers for people to judge: of two models to the same prompts, or of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from pipeline.annotation.tasks import Task, pair, single
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact

if TYPE_CHECKING:
    from model.serve.text import TextModel

Turns = list[dict[str, str]]


@dataclass(frozen=True)
class Asked:
    """A prompt: the turns to answer, and their language."""

    turns: Turns
    lang: str | None = None


def held_back(conversations: Artifact, limit: int) -> list[Asked]:
    """The prompts of conversations that no model was trained on, without their last answer; the first `limit`.

    They are sorted by a hash of their content, so the first ones are a random sample. Raises UserError if none is held
    back.
    """
    table = pl.read_parquet(conversations.file("held_back.parquet"), columns=["messages", "lang"]).head(limit)
    if not table.height:
        raise UserError("No conversation is held back (`instructions.held_back`): name a file with --questions.")
    return [Asked(messages[:-1], lang) for messages, lang in table.iter_rows()]


def answers(
    model: TextModel,
    asked: Sequence[Asked],
    most_tokens: int,
    seed: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[str]:
    """An answer to each prompt; "" where a prompt leaves no room for one. seed: sample; None: the likeliest tokens.

    Raises ValueError for a model without the marks of conversations.
    """
    from model.generate_together import generate_together
    from model.sampling import GREEDY, Sampling

    context = model.network.config.context
    prompts = [model.chat_ids(model.newest_turns(one.turns)) for one in asked]
    fitting = [number for number, ids in enumerate(prompts) if len(ids) < context]
    sampling = GREEDY if seed is None else Sampling(temperature=1.0, seed=seed)
    found = generate_together(
        model.network, [prompts[number] for number in fitting], most_tokens, sampling, model.stop_ids, progress
    )
    texts = [""] * len(asked)
    for number, ids in zip(fitting, found, strict=True):
        texts[number] = b"".join(model.bytes_of[token] for token in ids).decode("utf-8", "ignore").strip()
    return texts


def pairs(asked: Sequence[Asked], by_model: Sequence[tuple[str, Sequence[str]]]) -> tuple[list[Task], int]:
    """(tasks to compare two models' answers, number of prompts to which both gave the same answer, or one gave none).

    by_model: the two models' names and answers.
    """
    (one, first), (other, second) = by_model
    found = [
        pair(prompt.turns, (a, b), (one, other), prompt.lang) for prompt, a, b in zip(asked, first, second, strict=True)
    ]
    tasks = [task for task in found if task is not None]
    return tasks, len(found) - len(tasks)


def singles(asked: Sequence[Asked], name: str, said: Sequence[str]) -> tuple[list[Task], int]:
    """(tasks to judge one model's answers, number of prompts without an answer)."""
    found = [single(prompt.turns, text, name, prompt.lang) for prompt, text in zip(asked, said, strict=True)]
    tasks = [task for task in found if task is not None]
    return tasks, len(found) - len(tasks)
