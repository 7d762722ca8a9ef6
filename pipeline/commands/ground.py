"""Documents to answer from: indexed by `slm ground`, used by `slm serve --ground`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline import places
from pipeline.commands import project
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.context import RunContext
    from pipeline.grounding.search import Index
    from pipeline.store.artifact import Artifact


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", help="What `slm serve --ground` calls the documents of FOLDER.  [default: the folder's name]")
@click.option("--vectors", type=click.Path(path_type=Path), help="Look up by meaning, too: a model's folder, or vectors"
              " of words (a folder of `slm vectors distil`, or a fastText model).")  # fmt: skip
@click.option("--ask", metavar="QUESTION", help="Show what is found for a question.")
@click.option("--passages", type=click.IntRange(1, 20), default=3, show_default=True, help="Of --ask.")
def ground(folder: Path | None, name: str | None, vectors: Path | None, ask: str | None, passages: int) -> None:
    """Index documents to answer from: those in FOLDER; default: the recipe's curated documents.

    What did not change since the last time is not read again. `slm serve --ground NAME` answers from them.
    """
    from pipeline.grounding import index, search
    from pipeline.grounding.embedding import embedder_of

    embedder = embedder_of(vectors) if vectors else None
    context, documents, called = _of_folder(folder, name) if folder else _of_recipe(name)
    made = index.make(context, documents, embedder)
    counts = made.counts
    click.echo(
        f"{called}: {counts['chunks']:,} passages of {counts['documents']:,} documents; "
        f"`slm serve --ground {called}{f' --vectors {vectors}' if vectors else ''}` answers from them."
    )
    if ask:
        found = search.opened(made, embedder).found(ask, passages)
        sure = "answered" if found.certainty >= found.threshold else "not answered"
        click.echo(f"certainty {found.certainty:.2f}: {sure} (from {found.threshold:g})")
        for number, passage in enumerate(found.passages, 1):
            click.secho(f"[{number}] {passage.source}:{passage.name} {passage.start}-{passage.end}", bold=True)
            click.echo("    " + passage.text.replace("\n", "\n    "))


def _of_recipe(name: str | None) -> tuple[RunContext, Artifact, str]:
    from pipeline.graph import CURATED

    opened = project()
    if name not in (None, opened.recipe.name):
        raise UserError("`--name` is for the documents of a FOLDER; those of a recipe are called as the recipe.")
    return opened.context, opened[CURATED], opened.recipe.name


def _of_folder(folder: Path, name: str | None) -> tuple[RunContext, Artifact, str]:
    """The documents of a folder are raw documents, in a store of their own."""
    from pipeline.commands.start import recipe_name
    from pipeline.context import RunContext
    from pipeline.grounding import index
    from pipeline.grounding.folder import sources_of
    from pipeline.ingest import raw_documents
    from pipeline.ingest.source_kind import safe_name
    from pipeline.store.remote import open_store

    try:
        called = safe_name(name or recipe_name(folder), "The name")
    except ValueError as error:
        raise UserError(f"{error}.") from None
    store = open_store(places.data(), called)
    if set(store.all_assets()) - {raw_documents.ASSET, index.ASSET}:
        raise UserError(f"`{called}` is the name of a recipe: choose another one for {folder} with `--name`.")
    context = RunContext(store, click.echo)
    return context, raw_documents.make(context, {}, sources_of(folder)), called


def index_of(name: str, vectors: Path | None) -> Index:
    """The index that `slm ground` made under a name. Raises UserError if there is none."""
    from pipeline.grounding import index, search
    from pipeline.grounding.embedding import embedder_of
    from pipeline.store.remote import open_store

    made = open_store(places.data(), name).current(index.ASSET)
    if made is None:
        raise UserError(f"There are no documents called `{name}` to answer from: run `slm ground` for them first.")
    opened = search.opened(made, embedder_of(vectors) if vectors else None)
    opened.search("A first question loads what the others need.")
    return opened


COMMANDS = (ground,)
