"""`slm worth`: what each part of the data is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands.outputs import PICTURE, save


@click.command()
@click.option("--recipe", metavar="FILE", help="The recipe; default: $SLM_RECIPE, else recipes/demo.yaml.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["sources", "doubled", "stages"]),
    help="What is tried; may be given several times.",
)
@click.option("--tokens", type=click.IntRange(min=1), help="Tokens that each model is trained on.")
@click.option("--seeds", type=click.IntRange(2, 100), help="Models of each kind.")
@click.option("--yes", is_flag=True, help="Start it however long it takes (`execution.max_hours`).")
@click.option("--picture", type=PICTURE, metavar="FILE", help="Draw the result here (PNG, SVG or PDF).")
def worth(recipe: str | None, yes: bool, picture: Path | None, **given: Any) -> None:
    """Train small models without each part of the data, and tell which of them helps.

    What was trained is answered from the store; after an interruption, the same command resumes.
    """
    from pipeline import worth as worths
    from pipeline.experiments import worth_drawing
    from pipeline.experiments.worth_settings import Worth
    from pipeline.graph import Project

    recipe = recipe or click.get_current_context().find_root().obj
    opened = Project.open(recipe, log=click.echo)
    asked = (opened.recipe.worth or Worth()).model_copy(update={name: value for name, value in given.items() if value})
    made = worths.run(opened, asked, recipe, anyhow=yes)
    for line in worths.lines(made):
        click.echo(line)
    if picture is not None:
        save(worth_drawing.drawn(worths.rows_of(made)), picture)


COMMANDS = (worth,)
