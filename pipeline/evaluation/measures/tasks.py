"""Tasks by likelihood: of several endings of a prompt, which one the model finds likeliest; with and without examples.

The likelihood of answers tells small models apart long before accuracy does (Gu et al. 2024, OLMES; Heineman et al.
2025): so bits per byte of the right answer stand beside shares of right answers. What examples in the prompt are worth
is the difference to none, item by item, and the same with the examples' answers drawn at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.evaluation.choice_scoring import encode_items, score_choices
from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.tasks import shots, task_items
from pipeline.evaluation.tasks.covered_questions import figures_without
from pipeline.evaluation.tasks.forms import Question
from pipeline.evaluation.tasks.scored import ITEM, difference, figures, scored
from pipeline.evaluation.tasks.task_items import Task

TABLE = "tasks"
CLEAN = {"plain": "right", "bits_per_byte": "bits_per_byte"}  # figures given without covered questions, too: columns
GIVEN, DRAWN = "given", "drawn"  # the examples' answers


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Figures by task and number of examples, and a row for every question as asked."""
    items = subject.inputs["evaluation_tasks"]
    groups: dict[str, Any] = {}
    tables: list[pl.DataFrame] = []
    for number, task in enumerate(settings.tasks):
        questions = task_items.read(items, task.name)
        covered = subject.coverage.of_questions(items, task.name) if subject.coverage else None
        groups[task.name], asked = measured(subject, task, questions, settings.batch_tokens, covered)
        tables += asked
        subject.progress(number + 1, len(settings.tasks))
    return Result(groups, tables={TABLE: pl.concat(tables)})


def measured(
    subject: Subject,
    task: Task,
    questions: list[Question],
    batch_tokens: int,
    covered: Mapping[Question, bool | None] | None = None,
) -> tuple[dict[str, Any], list[pl.DataFrame]]:
    """The figures of one task by number of examples, and the tables of its questions.

    covered: whether the training text holds a question (None: too short to be searched for); None: not known of any.

    The questions that serve as examples of the longest prompt are asked in none, so that all figures are of the same
    items and can be subtracted.
    """
    most = min(max(task.shots), len(questions) // 2)
    examples, asked = shots.split(questions, most)
    found: dict[str, Any] = {}
    tables: dict[tuple[int, str], pl.DataFrame] = {}
    for number in sorted({min(number, most) for number in task.shots}):
        shown = examples[:number]
        for labels in (GIVEN, DRAWN) if number else (GIVEN,):
            before = shown if labels == GIVEN else shots.with_other_labels(shown, subject.seed)
            table, cut = score(subject, shots.with_examples(asked, before), asked, batch_tokens)
            known = [covered.get(question) for question in asked] if covered else [None] * len(asked)
            table = table.with_columns(covered=pl.Series(known, dtype=pl.Boolean))
            tables[number, labels] = table
            if labels == GIVEN:
                found[f"{number}_shot"] = {**figures(table, subject.seed), "cut": cut}
                if covered:
                    found[f"{number}_shot"]["without_covered"] = figures_without(table, CLEAN, subject.seed)
        if number and (0, GIVEN) in tables:
            found[f"{number}_shot"]["gain"] = gain(tables[number, GIVEN], tables[0, GIVEN], subject.seed)
            found[f"{number}_shot"]["gain_of_drawn_labels"] = gain(
                tables[number, DRAWN], tables[0, GIVEN], subject.seed
            )
    named = [
        table.with_columns(
            task=pl.lit(task.name), shots=pl.lit(number, pl.Int64), labels=pl.lit(labels),
            item=pl.int_range(pl.len()), prompt=pl.Series([question.prompt for question in asked]),
        ).select(list(ITEM))
        for (number, labels), table in tables.items()
    ]  # fmt: skip
    return found, named


def score(subject: Subject, prompts: list[str], asked: list[Question], batch_tokens: int) -> tuple[pl.DataFrame, int]:
    """The questions as scored, and how many choices were too long for the context."""
    choices = [[shots.BEFORE_ANSWER + choice for choice in question.choices] for question in asked]
    encoded, cut = encode_items(prompts, choices, subject.tokenizer, subject.network.config.context)
    return scored(asked, score_choices(subject.network, encoded, batch_tokens, subject.device)), cut


def gain(with_examples: pl.DataFrame, without: pl.DataFrame, seed: int) -> dict[str, Any]:
    """What examples add to the share of right answers, item by item."""
    one, other = (table["right"].cast(pl.Float64).to_numpy() for table in (with_examples, without))
    return difference(one, other, seed)


MEASURE: Measure[MeasureSettings] = Measure(
    name="tasks",
    description="questions with choices, by likelihood",
    run=run,
    needs=("evaluation_tasks",),
    enabled=lambda settings: bool(settings.tasks),
    headlines=(
        Headline("*.0_shot.plain.value", "right.*", higher_is_better=True, words="{key}, right answers"),
        Headline("*.0_shot.bits_per_byte.value", "answer_bits.*", higher_is_better=False, words="{key}, bits per byte"),
    ),
)
