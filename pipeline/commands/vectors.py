"""Vectors of words, made once from a model of sentences, for twins in other words."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def vectors() -> None:
    """Vectors of words (`curation.duplicates.semantic.vectors`)."""


@vectors.command("distil")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--dimensions", type=click.IntRange(min=2), default=256, show_default=True, help="Length of a vector.")
def vectors_distil(model: Path, out: Path, dimensions: int) -> None:
    """Write to the folder OUT what the model of sentences in the folder MODEL says of each token alone."""
    from pipeline.curation.duplicates.distilling import distil

    count, size = distil(model, out, dimensions)
    click.echo(f"{out}: {count:,} tokens, {size} dimensions. Name it in `curation.duplicates.semantic.vectors`.")


COMMANDS = (vectors,)
