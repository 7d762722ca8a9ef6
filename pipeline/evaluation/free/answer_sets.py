"""Sets of questions that are answered in free text (`evaluation.free_answers`), and how they are asked.

GSM8K (Cobbe et al. 2021): worded arithmetic, right if the number is. IFEval (Zhou et al. 2023): instructions whose
constraints a program checks (`constraints.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from model.config import MAX_CONTEXT
from pipeline.evaluation.free import constraints
from pipeline.evaluation.sets_of_a_form import SetOfAForm
from pipeline.ingest.files import Files
from pipeline.ingest.http import Http
from pipeline.ingest.huggingface import HuggingFace
from pipeline.ingest.records import Reading
from pipeline.ingest.rows import (
    FILES_BY_DEFAULT,
    KIND,
    Contents,
    RowsInFiles,
    RowsOnTheHub,
    RowsOverHttp,
)

Row = dict[str, Any]
NUMBER = re.compile(r"-?[$₩]?\d[\d,]*(?:\.\d+)?|-?[$₩]?\.\d+")
STATED = re.compile(r"####\s*(-?[$₩]?[\d.,]*\d)")


@dataclass(frozen=True)
class FreeQuestion:
    """One question. reference: the right number, of GSM8K. constraints: pairs of name and arguments (JSON)."""

    prompt: str
    reference: str = ""
    constraints: tuple[tuple[str, str], ...] = ()
    texts: tuple[str, ...] = field(default=(), compare=False)  # what to search training text for


class NotAFreeQuestion(ValueError):
    """A row that the form does not fit; its text says what is missing or wrong, without quoting values."""


def gsm8k(row: Row) -> FreeQuestion:
    """{question, answer}; the answer ends in `#### 18`, or is the number."""
    asked, answer = _text(row, "question"), str(row.get("answer", ""))
    number = stated_number(answer) or canonical(answer.strip())
    if number is None:
        raise NotAFreeQuestion("`answer` neither ends in `####` and a number nor is one")
    return FreeQuestion(asked, number, texts=(asked, answer))


def ifeval(row: Row) -> FreeQuestion:
    """{prompt, instruction_id_list, kwargs}: as many arguments as constraints."""
    names, arguments = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not names:
        raise NotAFreeQuestion("`instruction_id_list` is no list of constraints")
    if not isinstance(arguments, list) or len(arguments) != len(names):
        raise NotAFreeQuestion("`kwargs` is no list as long as `instruction_id_list`")
    for name in names:
        try:
            constraints.checks_of(str(name))
        except KeyError:
            raise NotAFreeQuestion("`instruction_id_list` names a constraint that cannot be checked") from None
    given = tuple((str(name), json.dumps(one or {}, ensure_ascii=False)) for name, one in zip(names, arguments))
    for name, one in given:
        try:
            constraints.followed(name, json.loads(one), "a")
        except (KeyError, TypeError, ValueError):
            raise NotAFreeQuestion("`kwargs` lacks an argument of a constraint, or has a wrong one") from None
    asked = _text(row, "prompt")
    return FreeQuestion(asked, constraints=given, texts=(asked,))


FORMS: dict[str, Callable[[Row], FreeQuestion]] = {"gsm8k": gsm8k, "ifeval": ifeval}


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise NotAFreeQuestion(f"`{name}` is missing")
    return value


# -- numbers -----------------------------------------------------------------------------------------------------------


def canonical(number: str) -> str | None:
    """A number in one form: `$1,000.50` is `1000.5`; None if it is none."""
    bare = re.sub(r"[,$₩]", "", number).rstrip(".")
    try:
        value = float(bare)
    except ValueError:
        return None
    return f"{value:.10g}"


def stated_number(text: str) -> str | None:
    """The number after `####`, as the answers of the set have it."""
    found = STATED.search(text)
    return canonical(found[1]) if found else None


def last_number(text: str) -> str | None:
    """The last number of a text, which is taken for its answer."""
    found = NUMBER.findall(text)
    return canonical(found[-1]) if found else None


# -- the sets of a recipe ----------------------------------------------------------------------------------------------


class AnswerRows(SetOfAForm):
    """A set of questions for free text; where its rows lie is said by the class that this is joined with."""

    noun: ClassVar[str] = "set of free answers"

    form: Literal["gsm8k", "ifeval"] = Field(description="what its rows look like")
    conversation: bool | None = Field(
        None,
        description="ask as the user's turn of a conversation, for a fine-tuned model, or as text to be continued;"
        " default: ifeval as a turn, gsm8k as text",
    )
    tokens: int = Field(256, ge=1, le=MAX_CONTEXT, description="longest answer, in tokens")

    @property
    def as_turn(self) -> bool:
        return self.form == "ifeval" if self.conversation is None else self.conversation

    def as_asked(self) -> dict[str, Any]:
        """The settings as a fingerprint of a report has them."""
        return {"form": self.form, "conversation": self.as_turn, "tokens": self.tokens}


class FileAnswers(AnswerRows, RowsInFiles):
    """Questions in files on this machine."""

    kind: Files = "files"


class HttpAnswers(AnswerRows, RowsOverHttp):
    """Questions in files at addresses."""

    kind: Http = "http"


class HubAnswers(AnswerRows, RowsOnTheHub):
    """Questions in a data set of the Hugging Face hub."""

    kind: HuggingFace = "huggingface"


AnswerSet = Annotated[FileAnswers | HttpAnswers | HubAnswers, KIND, FILES_BY_DEFAULT]


def questions_in(chosen: AnswerSet, contents: Contents, reading: Reading) -> Iterator[FreeQuestion]:
    """The questions of a set in order, at most its limit. Raises UserError for a row that its form does not fit."""
    return chosen.items_of(contents, reading, FORMS[chosen.form], NotAFreeQuestion)
