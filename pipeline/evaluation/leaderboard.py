"""All models of a store by every measure: what each reached, and which of them the figures tell apart.

A measure compares the newest report of each model, as far as the reports asked the same (`basis`). The best model of a
figure is named, and every other one is `behind` it, or `undecided`: then the difference may come from the questions
(its interval contains 0), from the checkpoint, or from the seed (`noise.py`). Where a figure has neither an interval
nor a known noise, nothing is decided: figures are shown and the verdict is left empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.evaluation import noise
from pipeline.evaluation.figures import headline_figures
from pipeline.evaluation.measure import Measure
from pipeline.evaluation.measures import tasks, tasks_over_steps
from pipeline.evaluation.report import read
from pipeline.evaluation.tasks.scored import difference
from pipeline.store.artifact import Artifact, digest
from pipeline.store.reading import Reader

END = "_evaluation"  # of the names of all assets that are reports
BEST, BEHIND, UNDECIDED = "best", "behind", "undecided"
SEED = 0  # of the resampling of differences
# A figure of a task, by its name in a report -> the column of its items.
OF_ITEMS = {"plain": "right", "bits_per_byte": "bits_per_byte"}
# Settings of a measure that say how much is asked, or what.
ASKED = {
    "language_modelling": ("validation_tokens",), "answers": ("answers", "answer_tokens"),
    "preferences": ("preferences",), "programs": ("programs",), "village": ("village",),
    "village_answers": ("village",),
}  # fmt: skip
SHOWN_AT_CHANCE = ("plain", "stereotyped")  # instead of which it is said that a model guesses


@dataclass(frozen=True)
class Entry:
    """A model and its newest report."""

    name: str  # asset/beginning of the version
    model: Artifact | None  # None if it was pruned
    report: Artifact
    figures: Mapping[str, Any]


@dataclass
class Standing:
    """What one model reached in one figure."""

    entry: Entry
    value: float
    low: float | None = None
    high: float | None = None
    at_chance: float | None = None  # the share of guessing, where the model does not differ from it
    verdict: str = ""
    within: list[str] = field(default_factory=list)  # what could have made the difference to the best by itself


@dataclass(frozen=True)
class Figure:
    """One figure of all models, the best first."""

    path: str  # in report.json
    words: str
    higher_is_better: bool
    digits: int
    basis: str  # digest of what was asked
    standings: list[Standing]
    noise: Mapping[str, Any]


def entries_of(store: Reader) -> list[Entry]:
    """Every model of the store that was measured, by name, with the report that was made last."""
    newest: dict[tuple[str, str], Artifact] = {}
    for asset in store.all_assets():
        if not asset.endswith(END):
            continue
        for report in store.versions(asset):
            if "report.json" not in report.manifest["files"]:
                continue
            model = report.manifest["inputs"]["model"]
            key = model["asset"], model["version"]
            if key not in newest or age(newest[key]) < age(report):
                newest[key] = report
    return [
        Entry(f"{asset}/{version[:8]}", store.version(asset, version), report, read(report))
        for (asset, version), report in sorted(newest.items())
    ]


def age(report: Artifact) -> tuple[int, str]:
    return int(report.manifest.get("number", 0)), report.version


def leaderboard(entries: Sequence[Entry], measures: Sequence[Measure[Any]]) -> list[Figure]:
    """The figures of all models, in the order of the measures. A figure of other questions is one of its own."""
    found: dict[tuple[str, str], Figure] = {}
    for entry in entries:
        for measure in measures:
            for path, words, higher, digits in figures_of(entry.figures, measure):
                asked = basis(entry, measure, path)
                figure = found.setdefault((path, asked), Figure(path, words, higher, digits, asked, [], {}))
                figure.standings.append(standing(entry, path))
    models = {entry.name: entry.model for entry in entries if entry.model is not None}
    seeds = noise.groups_of_seeds(models)
    order = {measure.name: number for number, measure in enumerate(measures)}
    known = sorted(found.values(), key=lambda figure: order[figure.path.partition(".")[0]])
    return [judged(figure, seeds) for figure in known]


def basis(entry: Entry, measure: Measure[Any], path: str) -> str:
    """A digest of what a figure was measured on: of a task its questions, else the inputs and how much of them."""
    items = items_of(entry, path)
    if items is not None:
        return digest(items["prompt"].to_list())[:8]
    given, settings = entry.report.manifest["inputs"], entry.report.manifest["made_of"]["settings"]
    asked = {role: reference(given[role]) for role in measure.needs if role in given and role != "model"}
    return digest({"inputs": asked, "settings": [settings.get(name) for name in ASKED.get(measure.name, ())]})[:8]


def reference(given: Any) -> str:
    return given if isinstance(given, str) else str(given["digest"])


def figures_of(report: Mapping[str, Any], measure: Measure[Any]) -> Iterator[tuple[str, str, bool, int]]:
    """(path, words, whether higher is better, digits) of the figures of a measure: its headlines, and every task with
    every number of examples."""
    for figure in headline_figures(report, [measure]):
        yield figure.name, figure.words, figure.headline.higher_is_better, figure.headline.digits
    for task, by_shots in report.get(measure.name, {}).items() if measure.name == tasks.MEASURE.name else ():
        for shots in (name for name in by_shots if name != "0_shot"):
            words = f"{task}, {shots.removesuffix('_shot')} examples"
            yield f"{measure.name}.{task}.{shots}.plain.value", f"{words}, right answers", True, 4
            yield f"{measure.name}.{task}.{shots}.bits_per_byte.value", f"{words}, bits per byte", False, 4


def standing(entry: Entry, path: str) -> Standing:
    """The figure of one model, with its interval and whether it is at chance where the report says so."""
    *folders, leaf = path.split(".")
    above: Mapping[str, Any] = {}
    around: Mapping[str, Any] = entry.figures
    for name in _joined(entry.figures, folders):
        above, around = around, around[name]
    guessed = above.get("at_chance") and folders[-1] in SHOWN_AT_CHANCE
    return Standing(
        entry, float(around[leaf]), around.get("low"), around.get("high"), above.get("chance") if guessed else None
    )


def _joined(figures: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """The keys on a dotted path, of which some may hold dots themselves."""
    rest = list(names)
    while rest:
        count = next(n for n in range(1, len(rest) + 1) if ".".join(rest[:n]) in figures)
        key, rest = ".".join(rest[:count]), rest[count:]
        yield key
        figures = figures[key]


# -- what the figures tell apart ---------------------------------------------------------------------------------------


def judged(figure: Figure, seeds: Sequence[Sequence[str]]) -> Figure:
    """The figure with its models in order, and every one compared with the best."""
    sign = -1 if figure.higher_is_better else 1
    figure.standings.sort(key=lambda one: (sign * one.value, one.entry.name))
    values = {one.entry.name: one.value for one in figure.standings}
    groups = [[name for name in group if name in values] for group in seeds]
    points = {one.entry.name: last for one in figure.standings if (last := last_points(one.entry, figure.path))}
    found = noise.signal_to_noise(values, points, [group for group in groups if len(group) > 1])
    best, *others = figure.standings
    best.verdict = BEST if others else ""
    for other in others:
        compare(best, other, figure.path, found)
    if others and all(other.verdict == "" for other in others):
        best.verdict = ""
    return Figure(**{**figure.__dict__, "noise": found})


def compare(best: Standing, other: Standing, path: str, known: Mapping[str, Any]) -> None:
    """Write the verdict on a model that is not the best."""
    one, two = items_of(best.entry, path), items_of(other.entry, path)
    if one is not None and two is not None and one.select("prompt").equals(two.select("prompt")):
        decided = difference(one["value"].to_numpy(), two["value"].to_numpy(), SEED)["decided"]
    elif None not in (best.low, best.high, other.low, other.high):
        decided = best.low > other.high or best.high < other.low  # type: ignore[operator]
    elif "noise" in known:
        decided = True  # as far as questions go; what follows may be of another opinion
    else:
        return
    other.within = [] if decided else [noise.OF_QUESTIONS]
    other.within += noise.inside_noise(best.value - other.value, known)
    other.verdict = UNDECIDED if other.within else BEHIND


def items_of(entry: Entry, path: str) -> pl.DataFrame | None:
    """prompt and value of each question behind a figure; None of a figure that is not of a task."""
    place = of_task(entry, path)
    if place is None or f"{tasks.TABLE}.parquet" not in entry.report.manifest["files"]:
        return None
    task, shots, column = place
    rows = pl.read_parquet(
        entry.report.table(tasks.TABLE), columns=["task", "shots", "labels", "item", "prompt", column]
    )
    chosen = rows.filter((pl.col("task") == task) & (pl.col("shots") == shots) & (pl.col("labels") == tasks.GIVEN))
    return chosen.sort("item").select("prompt", value=pl.col(column).cast(pl.Float64))


def last_points(entry: Entry, path: str) -> list[float]:
    """A figure of a task at the last points of the training of one model; empty where they were not kept."""
    place = of_task(entry, path)
    if place is None or f"{tasks_over_steps.TABLE}.parquet" not in entry.report.manifest["files"]:
        return []
    task, shots, column = place
    points = pl.read_parquet(entry.report.table(tasks_over_steps.TABLE)).filter(task=task, shots=shots).sort("tokens")
    return points.tail(noise.LAST)[column].to_list()


def of_task(entry: Entry, path: str) -> tuple[str, int, str] | None:
    """(task, number of examples, column of its items) of a figure; None of one that is not of a task."""
    keys = list(_joined(entry.figures, path.split(".")[:-1]))
    if keys[0] != tasks.MEASURE.name or len(keys) != 4 or keys[3] not in OF_ITEMS:
        return None
    return keys[1], int(keys[2].removesuffix("_shot")), OF_ITEMS[keys[3]]
