"""`evaluation_tasks`: the questions and programming problems that the recipe names, in one shape.

- questions.parquet: task, item, prompt, choices, answer, texts; a row a question, in the order of the recipe and its
  files. texts: what `covered_questions` searches training text for
- free.parquet: set, item, prompt, reference, constraints, texts (`free/answer_sets.py`)
- bias.parquet: set, item, prompt, choices, stereotyped, answer, kind, texts (`bias/bias_forms.py`)
- problems.parquet: set, item, prompt, before, after, ends, texts (`code/problems.py`)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import polars as pl
import xxhash
from pydantic import Field, field_validator

from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.evaluation.bias.bias_forms import BiasItem
from pipeline.evaluation.bias.bias_sets import BiasSet, items_in
from pipeline.evaluation.code.problems import Problem
from pipeline.evaluation.code.program_sets import ProgramSet, problems_of
from pipeline.evaluation.free.answer_sets import AnswerSet, FreeQuestion, questions_in
from pipeline.evaluation.sets_of_a_form import SetOfAForm
from pipeline.evaluation.tasks.forms import NotAQuestion, Question, questions
from pipeline.ingest.cache import cache_of
from pipeline.ingest.files import Files
from pipeline.ingest.http import Http
from pipeline.ingest.huggingface import HuggingFace
from pipeline.ingest.records import SKIPPED, Reading, Tally
from pipeline.ingest.rows import (
    FILES_BY_DEFAULT,
    KIND,
    Contents,
    RowsInFiles,
    RowsOnTheHub,
    RowsOverHttp,
)
from pipeline.settings import MAX_DOCUMENTS
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table

# 2: `texts`: what training text is searched for
VERSION = "2"
ASSET = "evaluation_tasks"
QUESTIONS, PROBLEMS, FREE, BIAS = "questions", "problems", "free", "bias"
MAX_SHOTS = 32

QUESTION: dict[str, Any] = {
    "task": pl.String, "item": pl.Int64, "prompt": pl.String, "choices": pl.List(pl.String), "answer": pl.Int64,
    "texts": pl.List(pl.String),
}  # fmt: skip
PROBLEM: dict[str, Any] = {
    "set": pl.String, "item": pl.Int64, "prompt": pl.String, "before": pl.String, "after": pl.String,
    "ends": pl.List(pl.String), "texts": pl.List(pl.String),
}  # fmt: skip
FREE_QUESTION: dict[str, Any] = {
    "set": pl.String, "item": pl.Int64, "prompt": pl.String, "reference": pl.String,
    "constraints": pl.List(pl.Struct({"name": pl.String, "arguments": pl.String})), "texts": pl.List(pl.String),
}  # fmt: skip
BIAS_ITEM: dict[str, Any] = {
    "set": pl.String, "item": pl.Int64, "prompt": pl.String, "choices": pl.List(pl.String), "stereotyped": pl.Int64,
    "answer": pl.Int64, "kind": pl.String, "texts": pl.List(pl.String),
}  # fmt: skip
Form = Literal[
    "multiple-choice", "kobest-boolq", "kobest-copa", "kobest-hellaswag", "kobest-sentineg", "kobest-wic", "klue-nli",
    "klue-sts", "hellaswag", "analogies",
]  # fmt: skip


class TaskRows(SetOfAForm):
    """A task of questions with choices; where its rows lie is said by the class that this is joined with."""

    noun: ClassVar[str] = "task"
    text_lines: ClassVar[bool] = True

    form: Form = Field(
        "multiple-choice", description="what its rows look like: docs/guide/evaluation.md lists the forms"
    )
    # Wider than other sets: a line of text is a question, too.
    format: Literal["parquet", "jsonl", "json", "csv", "tsv", "text"] | None = Field(  # type: ignore[assignment]
        None, description="default: by the name of each file"
    )
    shots: tuple[Annotated[int, Field(ge=0, le=MAX_SHOTS)], ...] = Field(
        (0,), description="numbers of examples before each question; the task is measured with each"
    )
    limit: int | None = Field(
        None, ge=2, le=MAX_DOCUMENTS, description="only so many questions, chosen by a hash of their text"
    )

    @field_validator("shots")
    @classmethod
    def _any_shots(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if not shots:
            raise ValueError("`shots` names no number of examples: give at least one, such as [0]")
        return shots


class FileTask(TaskRows, RowsInFiles):
    """A task in files on this machine."""

    kind: Files = "files"


class HttpTask(TaskRows, RowsOverHttp):
    """A task in files at addresses."""

    kind: Http = "http"


class HubTask(TaskRows, RowsOnTheHub):
    """A task in a data set of the Hugging Face hub."""

    kind: HuggingFace = "huggingface"


Task = Annotated[FileTask | HttpTask | HubTask, KIND, FILES_BY_DEFAULT]


class Asked(NamedTuple):
    """What the recipe asks of models beside their text."""

    tasks: tuple[Task, ...]
    programs: tuple[ProgramSet, ...] = ()
    free_answers: tuple[AnswerSet, ...] = ()
    bias: tuple[BiasSet, ...] = ()

    @property
    def sets(self) -> list[Task | ProgramSet | AnswerSet | BiasSet]:
        """All of them."""
        return [*self.tasks, *self.programs, *self.free_answers, *self.bias]


def make(context: RunContext, inputs: Inputs, settings: Asked) -> Artifact:
    """The artifact `evaluation_tasks`. inputs: none. Raises UserError for a file or a row that cannot be read."""
    contents = contents_of(context, settings.sets)

    def build(draft: Draft) -> None:
        tables, problems = [pl.DataFrame(schema=QUESTION)], [pl.DataFrame(schema=PROBLEM)]
        for task in settings.tasks:
            found = ask(context, task, contents[task.name])
            tables.append(table(task.name, found))
            draft.counts[task.name] = len(found)
        for chosen in settings.programs:
            rows = problem_table(context, chosen, contents[chosen.name])
            problems.append(rows)
            draft.counts[chosen.name] = rows.height
        free = [pl.DataFrame(schema=FREE_QUESTION)]
        for answers in settings.free_answers:
            rows = free_table(context, answers, contents[answers.name])
            free.append(rows)
            draft.counts[answers.name] = rows.height
        write_table(pl.concat(tables), draft.path(f"{QUESTIONS}.parquet"))
        write_table(pl.concat(free), draft.path(f"{FREE}.parquet"))
        biased = [pl.DataFrame(schema=BIAS_ITEM)]
        for of_bias in settings.bias:
            rows = bias_table(context, of_bias, contents[of_bias.name])
            biased.append(rows)
            draft.counts[of_bias.name] = rows.height
        write_table(pl.concat(biased), draft.path(f"{BIAS}.parquet"))
        write_table(pl.concat(problems), draft.path(f"{PROBLEMS}.parquet"))

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={
            "tasks": [task.as_recorded() for task in settings.tasks],
            "programs": [chosen.as_recorded() for chosen in settings.programs],
            "free_answers": [chosen.as_recorded() for chosen in settings.free_answers],
            "bias": [chosen.as_recorded() for chosen in settings.bias],
        },
        inputs={name: "+".join(content.digests) for name, content in contents.items()},
        build=build,
        log=context.log,
    )


def contents_of(context: RunContext, tasks: Sequence[Task | ProgramSet | AnswerSet | BiasSet]) -> dict[str, Contents]:
    """What is in the files of each set now, by name. Raises UserError where nothing is."""
    return {task.name: task.contents(cache_of(context.store), context.log) for task in tasks}


def ask(context: RunContext, task: Task, contents: Contents) -> list[Question]:
    """The questions of a task, at most its limit; the log says what was left out. Raises UserError for a wrong row."""
    reading = Reading(cache_of(context.store), Tally(), context.log, context.execution)
    found = chosen(list(questions_of(task, contents, reading)), task.limit)
    for reason, count in sorted(reading.tally.skipped.items()):
        context.log(f"{task.label}: left out: {count:,} {reason} ({SKIPPED[reason]})")
    if len(found) < 2:
        raise UserError(f"{task.label} has {len(found)} question(s): name files with at least two.")
    return found


def questions_of(task: Task, contents: Contents, reading: Reading) -> Iterator[Question]:
    """The questions of a task in order. Raises UserError for a row that its form does not fit."""
    rows = (row for row in task.rows(contents, reading, [], []) if row is not None)
    try:
        yield from questions(task.form, rows)
    except NotAQuestion as error:
        raise UserError(
            f"{task.label} is not of the form `{task.form}`: {error}. See docs/guide/evaluation.md for the forms."
        ) from None


def chosen(found: list[Question], limit: int | None) -> list[Question]:
    """At most `limit` questions, chosen by a hash of their prompts and kept in their order."""
    if limit is None or len(found) <= limit:
        return found
    order = sorted(range(len(found)), key=lambda i: (xxhash.xxh3_64_intdigest(found[i].prompt.encode()), i))
    return [found[i] for i in sorted(order[:limit])]


def table(task: str, found: list[Question]) -> pl.DataFrame:
    rows = [
        {
            "task": task,
            "item": i,
            "prompt": one.prompt,
            "choices": list(one.choices),
            "answer": one.answer,
            "texts": list(one.texts),
        }
        for i, one in enumerate(found)
    ]
    return pl.DataFrame(rows, schema=QUESTION)


def read(items: Artifact, task: str) -> list[Question]:
    """The questions of one task, as they were made."""
    rows = pl.read_parquet(items.table(QUESTIONS)).filter(pl.col("task") == task).sort("item")
    return [
        Question(row["prompt"], tuple(row["choices"]), row["answer"], tuple(row["texts"]))
        for row in rows.iter_rows(named=True)
    ]


def problem_table(context: RunContext, chosen: ProgramSet, contents: Contents) -> pl.DataFrame:
    """The problems of a set. Raises UserError for a row that cannot be read."""
    reading = Reading(cache_of(context.store), Tally(), context.log, context.execution)
    rows = [
        {"set": chosen.name, "item": number, **asdict(problem)}
        for number, problem in enumerate(problems_of(chosen, contents, reading))
    ]
    if not rows:
        raise UserError(f"{chosen.label} has no problems: name files with at least one.")
    return pl.DataFrame(rows, schema=PROBLEM)


def read_problems(items: Artifact, name: str) -> list[Problem]:
    """The problems of one set, as they were made."""
    rows = pl.read_parquet(items.table(PROBLEMS)).filter(pl.col("set") == name).sort("item")
    return [
        Problem(row["prompt"], row["before"], row["after"], tuple(row["ends"]), tuple(row["texts"]))
        for row in rows.iter_rows(named=True)
    ]


def free_table(context: RunContext, chosen: AnswerSet, contents: Contents) -> pl.DataFrame:
    """The questions of a set of free answers. Raises UserError for a row that cannot be read."""
    reading = Reading(cache_of(context.store), Tally(), context.log, context.execution)
    rows = [
        {
            "set": chosen.name, "item": number, "prompt": one.prompt, "reference": one.reference,
            "constraints": [{"name": name, "arguments": given} for name, given in one.constraints],
            "texts": list(one.texts),
        }
        for number, one in enumerate(questions_in(chosen, contents, reading))
    ]  # fmt: skip
    if not rows:
        raise UserError(f"{chosen.label} has no questions: name files with at least one.")
    return pl.DataFrame(rows, schema=FREE_QUESTION)


def read_free(items: Artifact, name: str) -> list[FreeQuestion]:
    """The questions of one set of free answers, as they were made."""
    rows = pl.read_parquet(items.table(FREE)).filter(pl.col("set") == name).sort("item")
    return [
        FreeQuestion(
            row["prompt"], row["reference"], tuple((one["name"], one["arguments"]) for one in row["constraints"]),
            tuple(row["texts"]),
        )
        for row in rows.iter_rows(named=True)
    ]  # fmt: skip


def bias_table(context: RunContext, chosen: BiasSet, contents: Contents) -> pl.DataFrame:
    """The items of a set about stereotypes. Raises UserError for a row that cannot be read."""
    reading = Reading(cache_of(context.store), Tally(), context.log, context.execution)
    rows = [
        {"set": chosen.name, "item": number, **asdict(item)}
        for number, item in enumerate(items_in(chosen, contents, reading))
    ]
    if len(rows) < 2:
        raise UserError(f"{chosen.label} has {len(rows)} item(s): name files with at least two.")
    return pl.DataFrame(rows, schema=BIAS_ITEM)


def read_bias(items: Artifact, name: str) -> list[BiasItem]:
    """The items of one set about stereotypes, as they were made."""
    rows = pl.read_parquet(items.table(BIAS)).filter(pl.col("set") == name).sort("item")
    return [
        BiasItem(
            row["prompt"], tuple(row["choices"]), row["stereotyped"], row["answer"], row["kind"], tuple(row["texts"])
        )
        for row in rows.iter_rows(named=True)
    ]
