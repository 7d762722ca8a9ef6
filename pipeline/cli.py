"""`slm`, the command line.

A user's mistake ends in one sentence and exit code 1. The commands are in `pipeline/commands/`, one file per topic.
Heavy modules are imported inside functions, so that `slm --help` is fast.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from pipeline import places
from pipeline.commands import (
    annotate,
    artifacts,
    curate,
    documents,
    evaluate,
    experiment,
    export,
    forget,
    generate,
    ground,
    hub,
    lineage,
    models,
    names,
    open_questions,
    operating,
    pair_task,
    plan,
    publish,
    quality,
    report,
    start,
    store,
    trace,
    vectors,
    worth,
)
from pipeline.commands.examples import add_examples
from pipeline.commands.overview import write_sections
from pipeline.errors import UserError
from pipeline.training.stopping import Stopped


class Commands(click.Group):
    """The commands by what they are for. A `UserError` is printed as a sentence, without a traceback."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        write_sections(self, formatter)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (UserError, Stopped) as error:
            click.echo(f"slm: {of_the_recipe(str(error), context.params.get('recipe'))}", err=True)
            sys.exit(1)


def of_the_recipe(message: str, recipe: str | None) -> str:
    """A message whose commands name the recipe that `--recipe` gave: as they stand they would be of the default one."""
    if recipe is None:
        return message
    before, option = places.in_commands(recipe)
    named = re.sub(r"`slm (?!--|init)", lambda _: f"`slm {option}", message)
    return named.replace("`dagster ", f"`{before}dagster ")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--recipe", metavar="FILE", help="The recipe; default: $SLM_RECIPE, else recipes/demo.yaml.")
@click.pass_context
def main(context: click.Context, recipe: str | None) -> None:
    """From raw text to a small language model of your own: inspect, chat and maintain.

    \b
    Trainings are jobs of Dagster:
      SLM_RECIPE=notes.yaml dagster job execute -j pretrain_job
    """
    context.obj = recipe
    # What those commands start is of all locations, each of which has GPUs of its own.
    if context.invoked_subcommand not in {command.name for command in operating.COMMANDS}:
        from pipeline import locations

        locations.take_gpus()


for group in (
    start,
    artifacts,
    store,
    documents,
    curate,
    quality,
    annotate,
    plan,
    models,
    generate,
    ground,
    export,
    hub,
    publish,
    evaluate,
    open_questions,
    experiment,
    pair_task,
    names,
    vectors,
    worth,
    lineage,
    trace,
    forget,
    report,
    operating,
):
    for command in group.COMMANDS:
        main.add_command(command)
add_examples(main)


if __name__ == "__main__":
    main()
