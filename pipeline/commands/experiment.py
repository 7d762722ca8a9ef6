"""Experiments: several settings side by side, with seeds and intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.commands.outputs import PICTURE, save
from pipeline.errors import UserError
from pipeline.printing import table


@click.command()
@click.argument("name", required=False)
@click.option("--recipe", metavar="FILE", help="The recipe; default: $SLM_RECIPE, else recipes/demo.yaml.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="A key that all cells share, as under `at`.")
@click.option("--yes", is_flag=True, help="Start it however long it takes (`execution.max_hours`).")
@click.option("--picture", type=PICTURE, metavar="FILE", help="Draw the result here (PNG, SVG or PDF).")
@click.option("--list", "listed", is_flag=True, help="List all experiments and their results.")
def experiment(
    name: str | None, recipe: str | None, given: tuple[str, ...], yes: bool, picture: Path | None, listed: bool
) -> None:
    """Train and compare the settings of NAME: an experiment of the recipe, a shipped one, or a YAML file.

    What was trained is answered from the store; after an interruption, the same command resumes.
    """
    from pipeline import experiment as experiments
    from pipeline.experiments import drawing, finding, result
    from pipeline.graph import Project

    recipe = recipe or click.get_current_context().find_root().obj
    opened = Project.open(recipe, log=click.echo)
    if listed:
        click.echo(table(_listed(opened)))
        return
    if name is None:
        raise UserError("Name an experiment, or a YAML file of one: `slm experiment --list` shows all.")
    found, chosen = finding.named(name, opened.recipe.experiments)
    if given:
        chosen = chosen.model_copy(update={"at": {**chosen.at, **dict(map(_set, given))}})
    made = experiments.run(opened, experiments.comparison_of(found, chosen, recipe), anyhow=yes)
    for line in result.lines(made):
        click.echo(line)
    if picture is not None:
        save(drawing.drawn_law(made) or drawing.drawn(made), picture)


def _set(given: str) -> tuple[str, Any]:
    """KEY=VALUE; the value is YAML, as in a recipe."""
    import yaml

    key, equals, value = given.partition("=")
    if not equals or not key:
        raise UserError(f"`--set {given}` has no value: write KEY=VALUE, such as `--set model.layers=4`.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"`--set {given}`: the value is not YAML; put text with colons in quotes.") from None


def _listed(opened: Any) -> list[dict[str, Any]]:
    from pipeline import experiment as experiments
    from pipeline.experiments import finding

    results = experiments.known_results(opened.store)
    files = finding.shipped()
    names = dict.fromkeys([*opened.recipe.experiments, *files, *results])
    rows = []
    for name in names:
        made = results.get(name)
        if name in files or name in opened.recipe.experiments:
            question = finding.named(name, opened.recipe.experiments)[1].question
        else:
            question = made.facts["question"] if made else ""
        found = "not run yet"
        if made:
            best, decided = made.facts["best"], made.facts["decided"]
            sure = best in decided or (best == made.facts["against"] and decided) or made.counts["settings"] == 1
            found = f"best: {best}{'' if sure else ', undecided'} ({made.counts['cells']} cells)"
        rows.append({"experiment": name, "question": question, "result": found})
    return rows


COMMANDS = [experiment]
