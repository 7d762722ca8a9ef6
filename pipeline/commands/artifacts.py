"""Artifacts: make one, say why it is out of date, keep the store in order."""

from __future__ import annotations

import click

from pipeline.commands import project
from pipeline.errors import UserError
from pipeline.printing import size, table


@click.command()
def summary() -> None:
    """What came of the recipe: documents, tokens, models, figures, and where they lie."""
    from pipeline.curation.stages import decision_assets
    from pipeline.inspect.summary import summary as text

    opened = project()
    stages = decision_assets(opened.recipe.curation)
    named = click.get_current_context().find_root().obj
    click.echo(text(opened.store, stages, opened.recipe.evaluation.measures(), named))


@click.command()
@click.argument("asset")
def make(asset: str) -> None:
    """Make ASSET and whatever it needs, without Dagster; what is up to date is left as it is."""
    from pipeline.run import make_with_inputs

    make_with_inputs(project(), asset)


@click.command()
@click.argument("asset")
def why(asset: str) -> None:
    """Say why ASSET is or is not up to date, field by field, and so for all that it is made of."""
    from pipeline.run import why as explained

    for name, standing in explained(project(), asset).items():
        click.echo(f"{name}: {'out of date' if standing.reasons else 'up to date'}")
        for line in (*standing.reasons, *standing.notes):
            click.echo(f"    {line}")


@click.command()
@click.option("--reference", is_flag=True, help="Print the page that explains every key instead.")
def recipe(reference: bool) -> None:
    """Print the recipe as it is understood, with every default filled in."""
    import yaml

    from pipeline.inspect.reference import reference as page

    if reference:
        click.echo(page(), nl=False)
        return
    content = project().recipe.model_dump(mode="json", by_alias=True)
    click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)


@click.group()
def store() -> None:
    """The artifacts on the disk: list, verify, prune."""


@store.command("list")
def store_list() -> None:
    """All artifacts of the recipe, with their sizes."""
    kept = project().store
    versions = [(asset, index, found) for asset in kept.assets() for index, found in enumerate(kept.versions(asset))]
    click.echo(
        table(
            {
                "asset": asset,
                "version": found.version,
                "in force": index == 0,
                "files": len(found.manifest["files"]),
                "size": size(sum(file["bytes"] for file in found.manifest["files"].values())),
            }
            for asset, index, found in versions
        )
    )


@store.command("verify")
def store_verify() -> None:
    """Rehash every file of every artifact and name those that are not as they were written."""
    kept = project().store
    checked, wrong = 0, []
    for asset in kept.assets():
        checked += sum(len(found.manifest["files"]) for found in kept.versions(asset))
        wrong += list(kept.verify(asset))
    for line in wrong:
        click.echo(line)
    if wrong:
        raise UserError(
            f"{len(wrong)} of {checked:,} files are not as written: delete these versions and run the job again."
        )
    click.echo(f"all {checked:,} files are as they were written")


@store.command("prune")
@click.option("--keep", default=2, show_default=True, help="Versions to keep beside the one in force.")
@click.option(
    "--unused-days",
    default=30.0,
    show_default=True,
    help="Delete downloads that no source of the recipe names and that no run used for so many days.",
)
def store_prune(keep: int, unused_days: float) -> None:
    """Delete old versions (all but the one in force and the newest KEEP others) and downloads that nobody needs."""
    from pipeline.ingest import raw_documents

    opened = project()
    kept = opened.store
    freed = [(f"{asset}/{version}", count) for asset in kept.assets() for version, count in kept.prune(asset, keep)]
    freed += raw_documents.prune_downloads(kept, opened.recipe.origins(), unused_days)
    for name, count in freed:
        click.echo(f"{name}: {size(count)} freed")
    click.echo(f"{size(sum(count for _, count in freed))} freed in all")


COMMANDS = (summary, make, why, recipe, store)
