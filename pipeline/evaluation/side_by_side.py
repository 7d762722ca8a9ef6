"""Models side by side on the same questions: `slm evaluate`, for models of a store and of any folder.

    results.json     figures of each model by task and number of examples; differences from the first model
    results.md       the same as tables
    items.parquet    model, and the columns of `scored.ITEM`: every question, every likelihood

Of two models one is called better on a task only where the interval of their difference, question by question,
excludes 0; else the comparison says `undecided`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from pipeline.context import Log, RunContext
from pipeline.evaluation.measure import Subject
from pipeline.evaluation.measures.tasks import GIVEN, measured
from pipeline.evaluation.tasks import task_items
from pipeline.evaluation.tasks.scored import difference
from pipeline.evaluation.tasks.task_items import Task
from pipeline.store.store import Store
from pipeline.store.tables import write_table, write_whole
from pipeline.tokens.tokenizer import ABOUT

QUICK = 100  # questions of each task in the quick suite
SCALES = {"right": "share right", "bits_per_byte": "bits per byte of the right answer"}


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
    models: Mapping[str, Path],
    tasks: Sequence[Task],
    store: Store,
    *,
    device: str,
    seed: int,
    batch_tokens: int,
    log: Log,
) -> tuple[dict[str, Any], pl.DataFrame]:
    """(the content of results.json, the rows of items.parquet). models: folders by name; the first is the reference.

    Raises UserError for a folder without a model, and for a set that cannot be read.
    """
    context = RunContext(store, log=log)
    contents = task_items.contents_of(context, tasks)
    questions = {task.name: task_items.ask(context, task, contents[task.name]) for task in tasks}
    figures: dict[str, Any] = {}
    tables: list[pl.DataFrame] = []
    for name, directory in models.items():
        with ExitStack() as stack:
            subject = subject_of(stack.enter_context(opened(directory, log)), store, device, seed, log)
            figures[name] = {}
            for task in tasks:
                log(f"{name}: {task.name}")
                with autocast_of(subject, store):
                    figures[name][task.name], rows = measured(subject, task, questions[task.name], batch_tokens)
                tables += [table.with_columns(model=pl.lit(name)) for table in rows]
    rows_of_all = pl.concat(tables).select("model", pl.exclude("model"))
    return {"models": figures, "differences": differences(rows_of_all, list(models), seed)}, rows_of_all


def subject_of(directory: Path, store: Store, device: str, seed: int, log: Log) -> Subject:
    """The model of a folder, to be measured without inputs."""
    import torch

    from model.export import load as load_model
    from pipeline.tokens.tokenizer import load as load_tokenizer
    from pipeline.training import machine

    chosen = torch.device(machine.choose_device(device))
    network = load_model(directory, torch.float32).to(chosen).eval()
    return Subject(
        network=network, generating=network, tokenizer=load_tokenizer(directory), device=chosen, inputs={},
        seed=seed, log=log, progress=lambda done, of: None,
    )  # fmt: skip


def autocast_of(subject: Subject, store: Store) -> Any:
    """The number format in which this machine computes fastest with the model."""
    from pipeline.training import machine
    from pipeline.training.measured import Machine

    here = Machine.beside(store)
    kind = subject.device.type
    return machine.autocast(kind, machine.evaluation_precision(kind, subject.network.config, here))


def differences(items: pl.DataFrame, models: Sequence[str], seed: int) -> dict[str, Any]:
    """By model, task and number of examples: each figure less the first model's, on the same questions."""
    given = items.filter(pl.col("labels") == GIVEN)
    found: dict[str, Any] = {}
    for model in models[1:]:
        for (task, shots), part in given.group_by("task", "shots", maintain_order=True):
            first = part.filter(pl.col("model") == models[0]).sort("item")
            other = part.filter(pl.col("model") == model).sort("item")
            by_scale = {
                scale: difference(
                    other[scale].cast(pl.Float64).to_numpy(), first[scale].cast(pl.Float64).to_numpy(), seed
                )
                for scale in SCALES
            }
            found.setdefault(model, {}).setdefault(str(task), {})[f"{shots}_shot"] = by_scale
    return found


# -- how it is shown ---------------------------------------------------------------------------------------------------


def rows(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each model, task and number of examples, as text."""
    shown = []
    for model, tasks in results["models"].items():
        for task, by_shots in tasks.items():
            for shots, found in by_shots.items():
                compared = results["differences"].get(model, {}).get(task, {}).get(shots)
                shown.append(
                    {
                        "task": task, "examples": shots.removesuffix("_shot"), "model": model,
                        "questions": f"{found['items']:,}",
                        "right": share_in_words(found), "bits per byte": interval(found["bits_per_byte"], 3),
                        "against the first": verdict(compared) if compared else "",
                    }
                )  # fmt: skip
    order = {task: place for place, task in enumerate(dict.fromkeys(row["task"] for row in shown))}
    return sorted(shown, key=lambda row: (order[row["task"]], int(row["examples"])))


def share_in_words(found: Mapping[str, Any]) -> str:
    """The share of right answers with its interval; at chance it says so instead of a figure."""
    if found["at_chance"]:
        return f"at chance ({found['chance']:.0%})"
    return interval(found["plain"], 3)


def interval(figure: Mapping[str, float], digits: int) -> str:
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def verdict(compared: Mapping[str, Mapping[str, Any]]) -> str:
    """`better`, `worse` or `undecided`, by the share of right answers and by bits per byte of the right one."""
    right, bits = compared["right"], compared["bits_per_byte"]
    by_share = ("better" if right["value"] > 0 else "worse") if right["decided"] else "undecided"
    by_bits = ("better" if bits["value"] < 0 else "worse") if bits["decided"] else "undecided"
    return by_share if by_share == by_bits else f"{by_share}; by bits per byte {by_bits}"


def markdown(results: Mapping[str, Any]) -> str:
    """The content of results.md."""
    shown = rows(results)
    head = list(shown[0])
    lines = [
        "# Models side by side", "",
        "Shares of right answers and bits per byte of the right answer, with 95 % intervals. `undecided`: the interval"
        " of the difference, question by question, contains 0.", "",
        f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}",
        *(f"| {' | '.join(row.values())} |" for row in shown),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write(results: Mapping[str, Any], items: pl.DataFrame, directory: Path) -> None:
    """Write the three files."""
    directory.mkdir(parents=True, exist_ok=True)
    write_table(items, directory / "items.parquet")
    write_whole(directory / "results.md", markdown(results))
    content = json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True)
    write_whole(directory / "results.json", content + "\n")
