"""The tagger of names of people: teach it again, or on sentences of your own."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.outputs import FILE as OUTPUT
from pipeline.printing import table

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def names() -> None:
    """The tagger that finds names of people (`curation.personal_data.names`)."""


@names.command("teach")
@click.argument("out", type=OUTPUT)
@click.option("--labelled", type=FILE, multiple=True, required=True, help="JSON lines with `text` and `spans`.")
@click.option("--plain", type=FILE, multiple=True, required=True, help="Text or Parquet; how it writes words.")
@click.option("--nameless", type=FILE, multiple=True, help="Text or Parquet without names, such as manuals.")
@click.option("--source", multiple=True, help="Of Parquet files without names, only documents of this source.")
def names_teach(
    out: Path, labelled: tuple[Path, ...], plain: tuple[Path, ...], nameless: tuple[Path, ...], source: tuple[str, ...]
) -> None:
    """Teach the tagger, write it to OUT, and measure it on a fifth of the sentences, which it was not taught with."""
    from pipeline.curation.personal_data.names.course import taught_on
    from pipeline.curation.personal_data.names.nameless import nameless_lines

    tagger, figures = taught_on(labelled, plain, nameless_lines(nameless, source))
    tagger.save(out)
    rows = (
        {"file": name, "names": count, "recall": f"{recall:.3f}", "precision": f"{precision:.3f}"}
        for name, (count, recall, precision) in figures.items()
    )
    click.echo(table(rows))


COMMANDS = (names,)
