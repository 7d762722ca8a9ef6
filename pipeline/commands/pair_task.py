"""`slm pair-task`: what a pretrained network understands of two texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands import complete_asset, project


@click.command("pair-task")
@click.argument("model", shell_complete=complete_asset)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--first", default="first", show_default=True, metavar="COLUMN", help="Column of the first text.")
@click.option("--second", default="second", show_default=True, metavar="COLUMN", help="Column of the second text.")
@click.option("--label", default="label", show_default=True, metavar="COLUMN", help="Column of the class or score.")
@click.option("--scores", is_flag=True, help="Whole numbers are scores, not classes.")
@click.option("--probe", is_flag=True, help="Only a linear head learns; the network stays as it is.")
@click.option("--both-ways", is_flag=True, help="A causal network reads from both sides (see `masked_share`).")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Repetitions.")
@click.option("--epochs", type=click.FloatRange(0, 1000, min_open=True), default=4.0, show_default=True, help="Passes.")
@click.option(
    "--held-back",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the pairs to measure on.",
)
@click.option(
    "--rate",
    "learning_rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="0: a tenth of pretraining's.",
)
def pair_task(model: str, file: Path, first: str, second: str, label: str, scores: bool, **how: Any) -> None:
    """Fine-tune MODEL, an asset, with a head on pairs of texts in FILE, and measure it on those held back.

    Classes are measured by accuracy, scores by Pearson's correlation.
    """
    from pipeline.ingest.cache import cache_of
    from pipeline.pair_tasks import pair_data, pair_scores
    from pipeline.printing import table

    opened = project()
    columns = pair_data.Columns(first, second, label)
    pairs = pair_data.read(file, columns, scores, cache_of(opened.store), opened.log)
    with opened.store.reading(model) as given:
        facts = pair_scores.make(opened.context, given, pairs, pair_scores.How(**how)).facts
    rows = [{"seed": seed, facts["measure"]: f"{figure:.4f}"} for seed, figure in facts["by_seed"].items()]
    click.echo(table([*rows, {"seed": "mean", facts["measure"]: f"{facts['mean']:.4f}{interval_of(facts)}"}]))
    click.echo(f"whoever says the same of all pairs: {facts['chance']:.4f}")


def interval_of(facts: dict[str, Any]) -> str:
    """The interval of several seeds, without what no figure can be: with two seeds it may go beyond."""
    if "low" not in facts:
        return ""
    least = -1.0 if facts["measure"] == "pearson" else 0.0
    return f" ({max(facts['low'], least):.4f} to {min(facts['high'], 1.0):.4f})"


COMMANDS = (pair_task,)
