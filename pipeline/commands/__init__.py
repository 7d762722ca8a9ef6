"""The commands of `slm`, one file per topic. Each is a thin wrapper around one function of the project."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.graph import Project


def project(quiet: bool = False) -> Project:
    """The project of the recipe named on the command line or in the environment.

    quiet: what it logs goes to standard error, so that standard output is the answer alone.
    """
    from pipeline.graph import Project

    return Project.open(click.get_current_context().find_root().obj, log=partial(click.echo, err=quiet))


def in_commands() -> tuple[str, str]:
    """What stands before `dagster` and after `slm` in suggested commands, so that they are of the recipe given here."""
    from pipeline import places

    recipe = click.get_current_context().find_root().obj
    return places.in_commands(recipe) if recipe else ("", "")


def complete_asset(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The names of assets of the recipe that begin so, for a shell's Tab key; none where there is no recipe."""
    from pipeline.errors import UserError
    from pipeline.graph import Project

    try:
        opened = Project.open(context.find_root().params.get("recipe"), log=lambda line: None)
    except UserError:
        return []
    return [name for name in opened.nodes if name.startswith(begun)]


def weakest_of(decision: Mapping[str, Any]) -> str:
    """The figure that lowered a document's score most, where the stage says so: `; most of all: newlines 0.31`."""
    name = decision.get("weakest")
    return f"; most of all: {name} {decision[name]:.3g}" if name and decision.get("reason") else ""
