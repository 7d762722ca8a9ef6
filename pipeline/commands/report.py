"""`slm report`: a page on a recipe that one can send."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands import project
from pipeline.commands.outputs import FILE


@click.command()
@click.argument("recipe_file", metavar="[RECIPE]", required=False, type=click.Path(dir_okay=False))
@click.option(
    "--against", metavar="OTHER", help="Another recipe (file or name), or a model (asset/version), beside it."
)
@click.option("--out", type=FILE, metavar="FILE", help="The file.  [default: RECIPE.html]")
def report(recipe_file: str | None, against: str | None, out: Path | None) -> None:
    """Write one HTML page on RECIPE that needs no network: what went in, what was removed, and what came out.

    Texts on it are searched for personal data, which is blacked out.
    """
    from model.files import write_whole
    from pipeline.graph import Project
    from pipeline.sending import file_of, page

    opened = Project.open(recipe_file, log=click.echo) if recipe_file else project()
    content = page(opened, against)
    path = out or file_of(opened, against)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    click.echo(f"{path} ({len(content.encode()) / 1e6:.1f} MB): one file, to open in any browser, to print or to send")


COMMANDS = (report,)
