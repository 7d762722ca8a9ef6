"""`slm evaluate`: any models side by side, on the tasks of the recipe; `slm leaderboard`: all models of a store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.commands.outputs import FOLDER
from pipeline.errors import UserError
from pipeline.printing import table
from pipeline.store.artifact import MANIFEST

if TYPE_CHECKING:
    from pipeline.evaluation.tasks.forms import Question
    from pipeline.evaluation.tasks.task_items import Task
    from pipeline.graph import Project
    from pipeline.store.artifact import Artifact
    from pipeline.store.store import Store


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--suite",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: at most 100 questions of each task; full: all.",
)
@click.option("--task", "names", multiple=True, help="Only this task of the recipe; may be repeated.")
@click.option("--out", type=FOLDER, metavar="DIR", help="Write results.json, results.md and items.parquet here.")
@click.option(
    "--batch-tokens", type=click.IntRange(256), default=4096, show_default=True, help="Lower it if memory is short."
)
@click.option(
    "--checkpoints/--no-checkpoints",
    default=True,
    show_default=True,
    help="Measure the last kept weights of each model too, which show the noise of a figure.",
)
def evaluate(models: tuple[str, ...], suite: str, names: tuple[str, ...], out: Path | None, **given: Any) -> None:
    """Measure MODELS on the tasks of the recipe (`evaluation.tasks`), each beside the first.

    A model is an asset, a version, or a folder in Hugging Face's layout (Llama, Qwen3, GPT-2). Models that differ by
    their seed alone show how much of a difference is chance.
    """
    from pipeline.commands.models import _directory
    from pipeline.evaluation import noise, side_by_side, side_by_side_tables

    opened = project()
    tasks = chosen_tasks(opened, names)
    if len(set(models)) < len(models):
        raise UserError("A model is named twice: name each once.")
    chosen = side_by_side.suite(tasks, suite == "quick")
    folders = {name: _directory(name) for name in models}
    known = {name: model for name, folder in folders.items() if (model := artifact_at(opened.store, folder))}
    candidates = {
        name: side_by_side.Candidate(folder, covered_by_task(opened.store, known.get(name), chosen))
        for name, folder in folders.items()
    }
    options = side_by_side.Options(
        device=opened.recipe.execution.device, seed=opened.recipe.seed,
        log=lambda line: click.echo(line, err=True), seeds=noise.groups_of_seeds(known), **given,
    )  # fmt: skip
    results, items = side_by_side.evaluate(candidates, chosen, opened.store, options)
    click.echo(table(side_by_side_tables.rows(results)))
    noisy = side_by_side_tables.noise_rows(results)
    if noisy:
        click.echo(f"\n{table(noisy)}")
    if out:
        side_by_side_tables.write(results, items, out)
        click.echo(f"\n{out}: results.md, results.json, items.parquet")


@click.command("leaderboard")
@click.option("--out", type=FOLDER, metavar="DIR", help="Write leaderboard.json and leaderboard.md here.")
def leaderboard_command(out: Path | None) -> None:
    """All models of the recipe's store by every measure, with intervals, and which of them the figures tell apart."""
    from pipeline.evaluation import leaderboard_tables
    from pipeline.evaluation.leaderboard import entries_of, leaderboard
    from pipeline.trained_models import MODELS

    opened = project()
    entries = entries_of(opened.store)
    if not entries:
        raise UserError("No model has been measured: run `dagster job execute -j evaluate_job`.")
    figures = leaderboard(entries, opened.recipe.evaluation.measures())
    click.echo(table(leaderboard_tables.rows(figures)))
    measured = {entry.model.version for entry in entries if entry.model is not None}
    left = [f"{name}/{one.version[:8]}" for name in MODELS for one in opened.store.versions(name)
            if one.version not in measured]  # fmt: skip
    if left:
        click.echo(f"\nnot measured: {', '.join(left)}")
    if out:
        leaderboard_tables.write_files(figures, entries, out)
        click.echo(f"\n{out}: {', '.join(leaderboard_tables.NAMES)}")


def chosen_tasks(opened: Project, names: Sequence[str]) -> list[Task]:
    """The tasks of the recipe that are asked for by name, or all. Raises UserError if there are none."""
    tasks = opened.recipe.evaluation.tasks
    if not tasks:
        raise UserError(
            "The recipe names no tasks: list them under `evaluation.tasks` (docs/guide/evaluation.md has an example)."
        )
    unknown = [name for name in names if name not in {task.name for task in tasks}]
    if unknown:
        raise UserError(
            f"`{unknown[0]}` is no task of the recipe: use one of {', '.join(task.name for task in tasks)}."
        )
    return [task for task in tasks if not names or task.name in names]


def artifact_at(store: Store, directory: Path) -> Artifact | None:
    """The model of the store whose folder this is; None of any other folder."""
    manifest = directory / MANIFEST
    if not manifest.exists():
        return None
    about = json.loads(manifest.read_text(encoding="utf-8"))
    return store.version(about["asset"], about["version"])


def covered_by_task(
    store: Store, model: Artifact | None, tasks: Sequence[Task]
) -> Mapping[str, Mapping[Question, bool | None]]:
    """By task, which questions are in the text that a model learned from; empty where that text was not searched."""
    from pipeline.evaluation.tasks import covered_questions, task_items
    from pipeline.inspect.lineage import ancestry

    covered = store.current(covered_questions.ASSET)
    if model is None or covered is None:
        return {}
    made_of, searched = ancestry(store, model), covered.manifest["inputs"]
    texts = [name for name in covered_questions.LEARNED_FROM.get(model.asset, ()) if name in made_of]
    if not texts or any(searched.get(name, {}).get("digest") != made_of[name].digest for name in texts):
        return {}
    asked = store.version(task_items.ASSET, searched[task_items.ASSET]["version"])
    if asked is None:
        return {}
    found = covered_questions.Coverage(covered, tuple(texts))
    return {task.name: found.of_questions(asked, task.name) for task in tasks}


COMMANDS = (evaluate, leaderboard_command)
