"""`slm evaluate`: any models side by side, on the tasks of the recipe."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands import project
from pipeline.errors import UserError
from pipeline.printing import table


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
@click.option("--out", type=click.Path(file_okay=False), help="Write results.json, results.md and items.parquet here.")
@click.option(
    "--batch-tokens", type=click.IntRange(256), default=4096, show_default=True, help="Lower it if memory is short."
)
def evaluate(models: tuple[str, ...], suite: str, names: tuple[str, ...], out: str | None, batch_tokens: int) -> None:
    """Measure MODELS on the tasks of the recipe (`evaluation.tasks`), each beside the first.

    A model is an asset, a version, or a folder in Hugging Face's layout (Llama, Qwen3, GPT-2).
    """
    from pipeline.commands.models import _directory
    from pipeline.evaluation import side_by_side

    opened = project()
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
    if len(set(models)) < len(models):
        raise UserError("A model is named twice: name each once.")
    chosen = side_by_side.suite([task for task in tasks if not names or task.name in names], suite == "quick")
    folders = {name: _directory(name) for name in models}
    results, items = side_by_side.evaluate(
        folders, chosen, opened.store, device=opened.recipe.execution.device, seed=opened.recipe.seed,
        batch_tokens=batch_tokens, log=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    click.echo(table(side_by_side.rows(results)))
    if out:
        side_by_side.write(results, items, Path(out))
        click.echo(f"\n{out}: results.md, results.json, items.parquet")


COMMANDS = (evaluate,)
