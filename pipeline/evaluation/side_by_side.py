"""Models side by side on the same questions: `slm evaluate`, for models of a store and of any folder.

    results.json     figures of each model by task and number of examples; differences from the first model; noise
    results.md       the same as tables (`side_by_side_tables.py`)
    items.parquet    model, and the columns of `scored.ITEM`: every question, every likelihood

Of two models one is called better on a task only where the interval of their difference, question by question,
excludes 0, and where the difference is larger than what lies between checkpoints of one model, or between seeds
(`noise.py`); else the comparison says `undecided`, and what that rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from pipeline.context import Log, RunContext
from pipeline.evaluation.measure import Subject
from pipeline.evaluation.measures.tasks import GIVEN, measured
from pipeline.evaluation.noise import LAST, OF_QUESTIONS, SCALES, inside_noise, signal_to_noise
from pipeline.evaluation.tasks import task_items
from pipeline.evaluation.tasks.forms import Question
from pipeline.evaluation.tasks.scored import difference
from pipeline.evaluation.tasks.task_items import Task
from pipeline.store.store import Store
from pipeline.tokens.tokenizer import ABOUT
from pipeline.training import kept_weights

QUICK = 100  # questions of each task in the quick suite


@dataclass(frozen=True)
class Candidate:
    """A model to measure."""

    directory: Path
    # task -> question -> whether the text that the model learned from holds it; empty: not known
    covered: Mapping[str, Mapping[Question, bool | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How models are measured."""

    device: str
    seed: int
    batch_tokens: int
    log: Log
    checkpoints: bool = True  # whether the last kept weights of a model are measured too
    seeds: Sequence[Sequence[str]] = ()  # groups of models that differ by their seed alone


def suite(tasks: Sequence[Task], quick: bool) -> tuple[Task, ...]:
    """The tasks as a suite asks them: all questions, or at most QUICK of each, chosen by their text."""
    if not quick:
        return tuple(tasks)
    return tuple(task.model_copy(update={"limit": min(task.limit or QUICK, QUICK)}) for task in tasks)


@contextmanager
def opened(directory: Path, log: Log) -> Iterator[Path]:
    """A folder that this project reads: the model's own, or one into which a model of another tool is imported.

    Raises UserError for a folder without a model that the network can hold.
    """
    if (directory / ABOUT).exists():
        yield directory
        return
    from pipeline.base_model import importing
    from pipeline.base_model.base_settings import Base

    with TemporaryDirectory() as temporary:
        context = RunContext(Store(Path(temporary), "imported"), log=log)
        yield importing.make(context, {}, Base(path=str(directory))).directory


def evaluate(
    models: Mapping[str, Candidate], tasks: Sequence[Task], store: Store, options: Options
) -> tuple[dict[str, Any], pl.DataFrame]:
    """(the content of results.json, the rows of items.parquet). models: by name; the first is the reference.

    Raises UserError for a folder without a model, and for a set that cannot be read.
    """
    context = RunContext(store, log=options.log)
    contents = task_items.contents_of(context, tasks)
    questions = {task.name: task_items.ask(context, task, contents[task.name]) for task in tasks}
    figures: dict[str, Any] = {}
    tables: list[pl.DataFrame] = []
    earlier: dict[str, pl.DataFrame] = {}
    for name, candidate in models.items():
        with ExitStack() as stack:
            directory = stack.enter_context(opened(candidate.directory, options.log))
            subject = subject_of(directory, store, options)
            asked = Asked(subject, tasks, questions, candidate.covered, options.batch_tokens)
            options.log(f"{name}: {len(tasks)} tasks")
            with autocast_of(subject, store):
                figures[name], rows = of_weights(asked)
                tables.append(rows.with_columns(model=pl.lit(name)))
                if options.checkpoints:
                    earlier[name] = of_kept_weights(asked, directory, name, options.log)
    items = pl.concat(tables).select("model", pl.exclude("model"))
    noise = noise_of(items, earlier, options.seeds)
    compared = differences(items, list(models), options.seed, noise)
    return {"models": figures, "differences": compared, "noise": noise}, items


@dataclass(frozen=True)
class Asked:
    """One model and what it is asked."""

    subject: Subject
    tasks: Sequence[Task]
    questions: Mapping[str, list[Question]]
    covered: Mapping[str, Mapping[Question, bool | None]]
    batch_tokens: int


def of_weights(asked: Asked) -> tuple[dict[str, Any], pl.DataFrame]:
    """The figures of a model by task, and its items."""
    figures: dict[str, Any] = {}
    tables: list[pl.DataFrame] = []
    for task in asked.tasks:
        questions, covered = asked.questions[task.name], asked.covered.get(task.name)
        figures[task.name], rows = measured(asked.subject, task, questions, asked.batch_tokens, covered)
        tables += rows
    return figures, pl.concat(tables)


def of_kept_weights(asked: Asked, directory: Path, name: str, log: Log) -> pl.DataFrame:
    """task, shots, and a column for each of SCALES: a row for each of the last kept weights. The network keeps the
    weights that were measured last."""
    found = [pl.DataFrame(schema={"task": pl.String, "shots": pl.Int64, **dict.fromkeys(SCALES, pl.Float64)})]
    for step, path in kept_weights.kept(directory)[-(LAST - 1) :]:
        log(f"{name}: the weights after step {step:,}")
        kept_weights.load_into(asked.subject.network, path)
        found.append(means(of_weights(asked)[1]))
    return pl.concat(found)


def means(items: pl.DataFrame) -> pl.DataFrame:
    """task, shots, and the mean of each of SCALES, of one model's items."""
    given = items.filter(pl.col("labels") == GIVEN)
    return given.group_by("task", "shots", maintain_order=True).agg(pl.col(*SCALES).cast(pl.Float64).mean())


def noise_of(
    items: pl.DataFrame, earlier: Mapping[str, pl.DataFrame], seeds: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """By task, number of examples and scale: what `noise.signal_to_noise` finds."""
    by_model = {str(name): means(rows) for (name,), rows in items.group_by("model", maintain_order=True)}
    (first, *_) = by_model.values()
    found: dict[str, Any] = {}
    for task, shots in first.select("task", "shots").iter_rows():
        place = (pl.col("task") == task) & (pl.col("shots") == shots)
        for scale in SCALES:
            models = {name: rows.filter(place)[scale].item() for name, rows in by_model.items()}
            points = {name: [*rows.filter(place)[scale], models[name]] for name, rows in earlier.items() if rows.height}
            by_shots = found.setdefault(task, {}).setdefault(f"{shots}_shot", {})
            by_shots[scale] = signal_to_noise(models, points, seeds)
    return found


def subject_of(directory: Path, store: Store, options: Options) -> Subject:
    """The model of a folder, to be measured without inputs."""
    import torch

    from model.export import load as load_model
    from pipeline.tokens.tokenizer import load as load_tokenizer
    from pipeline.training import machine

    chosen = torch.device(machine.choose_device(options.device))
    network = load_model(directory, torch.float32).to(chosen).eval()
    return Subject(
        network=network, generating=network, tokenizer=load_tokenizer(directory), device=chosen, inputs={},
        seed=options.seed, log=options.log, progress=lambda done, of: None,
    )  # fmt: skip


def autocast_of(subject: Subject, store: Store) -> Any:
    """The number format in which this machine computes fastest with the model."""
    from pipeline.training import machine
    from pipeline.training.measured import Machine

    here = Machine.beside(store)
    kind = subject.device.type
    return machine.autocast(kind, machine.evaluation_precision(kind, subject.network.config, here))


def differences(items: pl.DataFrame, models: Sequence[str], seed: int, noise: Mapping[str, Any]) -> dict[str, Any]:
    """By model, task and number of examples: each figure less the first model's, on the same questions.

    `within` names what could have made the difference by itself (`questions`, `checkpoints`, `seeds`); `decided`:
    nothing could.
    """
    given = items.filter(pl.col("labels") == GIVEN)
    found: dict[str, Any] = {}
    for model in models[1:]:
        for (task, shots), part in given.group_by("task", "shots", maintain_order=True):
            first = part.filter(pl.col("model") == models[0]).sort("item")
            other = part.filter(pl.col("model") == model).sort("item")
            by_scale = {}
            for scale in SCALES:
                one, two = (rows[scale].cast(pl.Float64).to_numpy() for rows in (other, first))
                compared = difference(one, two, seed)
                of_task = noise.get(str(task), {}).get(f"{shots}_shot", {}).get(scale, {})
                within = [] if compared["decided"] else [OF_QUESTIONS]
                within += inside_noise(compared["value"], of_task)
                by_scale[scale] = {**compared, "within": within, "decided": not within}
            found.setdefault(model, {}).setdefault(str(task), {})[f"{shots}_shot"] = by_scale
    return found
