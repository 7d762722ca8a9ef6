"""What a tuning changed, for the summary: figures and a few answers before and after, each marked better or worse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipeline.evaluation.figures import headline_figures
from pipeline.evaluation.measure import Measure
from pipeline.evaluation.measures import before_after
from pipeline.evaluation.report import read
from pipeline.printing import aligned
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.trained_models import BY_NAME, TRAINED_MODELS, TrainedModel

ANSWER = 100  # characters of an answer that are shown
SLIGHT = 0.005  # a change of a smaller share of the figure is none that anybody could see in an answer
LANGUAGES = {"ko": "Korean", "en": "English", "code": "code"}


class Change(NamedTuple):
    """A figure before and after a tuning."""

    words: str
    before: float
    after: float
    better: bool | None  # None: it hardly changed


def tunings(store: Store, measures: Sequence[Measure[Any]]) -> str:
    """Of each tuned model that was evaluated: its figures against its base's, and what they say; then five answers."""
    parts = []
    last: Artifact | None = None
    for model in TRAINED_MODELS:
        report = store.current(model.evaluation) if model.base else None
        if report is None or "comparison.parquet" not in report.manifest["files"]:
            continue
        found = changes(report, measures)
        if found:
            parts.append(f"{table_of(model, found)}{verdict(model, found)}")
        last = report if f"{before_after.TABLE}.parquet" in report.manifest["files"] else last
    return "\n\n".join([*parts, *([answers(last)] if last is not None else [])])


def changes(report: Artifact, measures: Sequence[Measure[Any]]) -> list[Change]:
    """The headlines of the report that its base has, too."""
    rows = pl.read_parquet(report.file("comparison.parquet")).drop_nulls("before")
    before = dict(rows.select("figure", "before").iter_rows())
    found = []
    for figure in headline_figures(read(report), measures):
        if figure.name in before:
            change = figure.value - before[figure.name]
            seen = abs(change) > SLIGHT * abs(before[figure.name])
            better = (change > 0) == figure.headline.higher_is_better if seen else None
            found.append(Change(in_full(figure.words), before[figure.name], figure.value, better))
    return found


def in_full(words: str) -> str:
    """The words of a figure with the names of languages in place of their codes."""
    head, comma, rest = words.rpartition(", ")
    code, space, count = rest.partition(" ")
    return f"{head}{comma}{LANGUAGES.get(code, code)}{space}{count}" if comma else words


def table_of(model: TrainedModel, found: Sequence[Change]) -> str:
    """A line for each figure."""
    marks = {True: "better", False: "worse", None: "same"}
    rows = [[one.words, f"{one.before:.3f}", f"{one.after:.3f}", marks[one.better]] for one in found]
    return aligned([f"{model.adjective}, against its base", "before", "after", ""], rows)


def verdict(model: TrainedModel, found: Sequence[Change]) -> str:
    """A sentence where a tuning made more figures worse than better; "" otherwise.

    What fine-tuning is for, answers, its base does not have: the figures of both are of continued text.
    """
    better, worse = (sum(one.better is which for one in found) for which in (True, False))
    if worse <= better:
        return ""
    if model.base == "pretrained_model":
        return (
            "\nThat a model which was taught to answer continues text less well is usual: judge it by its answers."
            " To continue text: `slm chat pretrained_model`."
        )
    base = BY_NAME[model.base].adjective if model.base in BY_NAME else "earlier"
    how_many = "every figure" if not better and worse == len(found) else f"{worse} of {len(found)} figures"
    remedy = (
        "a higher `preference.beta`, fewer epochs or better pairs"
        if model.block == "preference"
        else "fewer epochs or a lower `sft.learning_rate`"
    )
    return (
        f"\nThe {model.adjective} model is worse than the {base} one by {how_many}: keep `slm chat {model.base}`, or"
        f" try {remedy}."
    )


def answers(report: Artifact) -> str:
    """The questions that were asked before and after, with both answers."""
    table = pl.read_parquet(report.file(f"{before_after.TABLE}.parquet"))
    return "\n".join(["questions that it was not trained on, answered before and after:", *_lines(table)])


def _lines(table: pl.DataFrame) -> Iterator[str]:
    for row in table.iter_rows(named=True):
        yield f"  {shortened(row['prompt'])}"
        yield f"    before: {shortened(row['before'])}"
        yield f"    after:  {shortened(row['after'])}  ({row['change']})"


def shortened(text: str) -> str:
    flat = " ".join(text.split()) or "(nothing)"
    return flat if len(flat) <= ANSWER else flat[: ANSWER - 1] + "…"
