"""The leaderboard as text: a row for each figure and model, as Markdown, as JSON, and as the artifact `leaderboard`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.leaderboard import UNDECIDED, Entry, Figure, Standing, entries_of, leaderboard
from pipeline.evaluation.side_by_side_tables import markdown_table
from pipeline.store import leases
from pipeline.store.artifact import Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table, write_whole

VERSION = "1"
ASSET = "leaderboard"
TABLE = "standings"
NAMES = ("leaderboard.json", "leaderboard.md")
STANDING: dict[str, Any] = {
    "figure": pl.String, "basis": pl.String, "place": pl.Int64, "model": pl.String, "value": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "at_chance": pl.Boolean, "verdict": pl.String, "within": pl.List(pl.String),
}  # fmt: skip


def make(context: RunContext, inputs: Inputs, settings: EvaluationSettings) -> Artifact:
    """The artifact `leaderboard`: every model of the store that was measured, by the measures of the recipe.

    inputs: the reports in force. Those of earlier models are found in the store; they count as one input.
    """
    measures, entries = settings.measures(), entries_of(context.store)
    given = {report.version for report in inputs.values()}
    others = [entry.report for entry in entries if entry.report.version not in given]
    further = {"earlier reports": digest(sorted(report.digest for report in others))} if others else {}

    def build(draft: Draft) -> None:
        with leases.held([report.directory for report in others]) if others else nullcontext():
            figures = leaderboard(entries, measures)
        write_files(figures, entries, draft.directory)
        write_table(pl.DataFrame(records(figures), schema=STANDING), draft.path(f"{TABLE}.parquet"))
        draft.counts = {"models": len(entries), "figures": len(figures)}

    return context.store.make(
        ASSET, code_version=VERSION, settings={"measures": [measure.name for measure in measures]},
        inputs={**inputs, **further}, build=build, log=context.log,
    )  # fmt: skip


def rows(figures: Sequence[Figure]) -> list[dict[str, str]]:
    """One row for each figure and model, the best first, as text."""
    shown = []
    for figure in figures:
        for place, one in enumerate(figure.standings, start=1):
            shown.append(
                {
                    "figure": figure.words if place == 1 else "", "asked": figure.basis if place == 1 else "",
                    "model": one.entry.name, "value": value_in_words(one, figure.digits),
                    "interval": interval(one, figure.digits), "verdict": verdict_in_words(one),
                }
            )  # fmt: skip
    return shown


def value_in_words(one: Standing, digits: int) -> str:
    return f"{one.value:.{digits}f}" if one.at_chance is None else f"at chance ({one.at_chance:.0%})"


def interval(one: Standing, digits: int) -> str:
    return "" if one.low is None or one.high is None else f"{one.low:.{digits}f} to {one.high:.{digits}f}"


def verdict_in_words(one: Standing) -> str:
    return f"{UNDECIDED} ({', '.join(one.within)})" if one.verdict == UNDECIDED else one.verdict


def records(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """One record for each figure and model, in the columns of STANDING."""
    return [
        {
            "figure": figure.path, "basis": figure.basis, "place": place, "model": one.entry.name, "value": one.value,
            "low": one.low, "high": one.high, "at_chance": one.at_chance is not None, "verdict": one.verdict,
            "within": one.within,
        }
        for figure in figures
        for place, one in enumerate(figure.standings, start=1)
    ]  # fmt: skip


def as_json(figures: Sequence[Figure], entries: Sequence[Entry]) -> str:
    """The content of leaderboard.json."""
    models = {entry.name: {"report": f"{entry.report.asset}/{entry.report.version}"} for entry in entries}
    by_figure = [
        {
            "figure": figure.path, "words": figure.words, "higher_is_better": figure.higher_is_better,
            "basis": figure.basis, "noise": dict(figure.noise),
            "standings": [
                {name: value for name, value in record.items() if name not in ("figure", "basis")}
                for record in records([figure])
            ],
        }
        for figure in figures
    ]  # fmt: skip
    content: Mapping[str, Any] = {"models": models, "figures": by_figure}
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def markdown(figures: Sequence[Figure]) -> str:
    """The content of leaderboard.md."""
    lines = [
        "# Leaderboard", "",
        "The newest report of each model. `undecided`: the difference to the best may come from the questions (the 95 %"
        " interval contains 0), from the checkpoint or from the seed. Rows of another `asked` answered other questions,"
        " so they are not compared. Without an interval and a known noise nothing is decided.", "",
    ]  # fmt: skip
    lines += markdown_table(rows(figures)) if figures else ["No model has been measured."]
    return "\n".join(lines) + "\n"


def write_files(figures: Sequence[Figure], entries: Sequence[Entry], directory: Path) -> None:
    """Write leaderboard.json and leaderboard.md."""
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / NAMES[0], as_json(figures, entries))
    write_whole(directory / NAMES[1], markdown(figures))
