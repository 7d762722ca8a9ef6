"""Artifacts: make one, explain why it is out of date, maintain the store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pipeline.commands import complete_asset, project
from pipeline.errors import UserError
from pipeline.printing import size, table

if TYPE_CHECKING:
    from pipeline.store.artifact import Artifact


@click.command()
def summary() -> None:
    """Show the results of the recipe: documents, tokens, models, figures, and where to find them."""
    from pipeline.curation.stages import decision_assets
    from pipeline.inspect.summary import summary as text

    opened = project()
    stages = decision_assets(opened.recipe.curation)
    recipe_file = click.get_current_context().find_root().obj
    recipe = opened.recipe
    generated = [source.name for source in recipe.sources if source.kind == "generated"]
    click.echo(text(opened.store, stages, recipe.evaluation.measures(), recipe_file, generated, recipe.sources))


@click.command()
@click.argument("asset", shell_complete=complete_asset)
@click.option("--yes", is_flag=True, help="Start pretraining however long it takes (`execution.max_hours`).")
def make(asset: str, yes: bool) -> None:
    """Make ASSET and everything it needs, without Dagster, skipping what is up to date."""
    from pipeline.run import make_with_inputs

    opened = project()
    if yes:
        anyhow = opened.recipe.execution.model_copy(update={"max_hours": 0.0})
        opened = replace(opened, recipe=opened.recipe.model_copy(update={"execution": anyhow}))
    make_with_inputs(opened, asset)


@click.command()
@click.argument("asset", shell_complete=complete_asset)
def why(asset: str) -> None:
    """Explain, key by key and file by file, why ASSET and each of its inputs is or is not up to date."""
    from pipeline.curation.stages import stages_of
    from pipeline.inspect import changes
    from pipeline.run import why as explained

    opened = project()
    blocks = changes.blocks_of({stage.name: stage.block for stage in stages_of(opened.recipe.curation)})
    sources = {source.name: source for source in opened.recipe.sources}
    for name, status in explained(opened, asset).items():
        state = "up to date" if not status.reasons else "may be out of date" if status.follows else "out of date"
        click.echo(f"{name}: {state}")
        for reason in status.reasons:
            for line in changes.in_words(
                reason, blocks.get(name, ""), lambda source: changes.of_source(sources[source], opened.store)
            ):
                click.echo(f"    {line}")
        for line in status.notes:
            click.echo(f"    {line}")


@click.command()
@click.option("--reference", is_flag=True, help="Print the reference page of all keys instead.")
def recipe(reference: bool) -> None:
    """Print the recipe with all defaults filled in."""
    import yaml

    from pipeline.inspect.reference import reference as page

    if reference:
        click.echo(page(), nl=False)
        return
    content = project().recipe.model_dump(mode="json", by_alias=True)
    click.echo(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), nl=False)


@click.group()
def store() -> None:
    """List, verify and prune the artifacts on disk."""


@store.command("list")
def store_list() -> None:
    """List all artifacts of the recipe, with their sizes."""
    artifacts = project().store
    versions = [
        (asset, artifacts.current(asset), artifact)
        for asset in artifacts.all_assets()
        for artifact in artifacts.versions(asset)
    ]
    click.echo(
        table(
            {
                "asset": asset,
                "version": artifact.version,
                "in force": current is not None and artifact.version == current.version,
                "files": len(artifact.manifest["files"]),
                "size": size(sum(file["bytes"] for file in artifact.manifest["files"].values())),
            }
            for asset, current, artifact in versions
        )
    )


@store.command("verify")
@click.option("--against", help="Another SLM_DATA: also compare the versions that both stores have.")
def store_verify(against: str | None) -> None:
    """Rehash every file of every artifact; list those that changed, and versions that exist with other bytes."""
    from pipeline.store.remote import open_store

    artifacts = project().store
    other = open_store(against, artifacts.recipe) if against else None
    checked, damaged, differ = 0, [], []
    for asset in artifacts.all_assets():
        checked += sum(len(artifact.manifest["files"]) for artifact in artifacts.versions(asset))
        damaged += list(artifacts.verify(asset))
        differ += list(artifacts.other_makings(asset, other))
    for line in (*damaged, *differ):
        click.echo(line)
    if damaged:
        raise UserError(
            f"{len(damaged)} of {checked:,} files are damaged: run `slm store repair`, which sets these versions aside "
            "and makes them again."
        )
    click.echo(f"all {checked:,} files are intact{f'; {len(differ)} version(s) differ, see above' if differ else ''}")


@store.command("repair")
@click.option("--make/--no-make", default=True, show_default=True, help="Make again what was in force.")
def store_repair(make: bool) -> None:
    """Set aside versions that are damaged or may have been made from damaged ones, and make them again."""
    from pipeline.repair import repair

    for line in repair(project(), make):
        click.echo(line)


@store.command("prune")
@click.option("--keep", default=2, show_default=True, help="Versions to keep, besides the one in force.")
@click.option(
    "--unused-days",
    default=30.0,
    show_default=True,
    help="Delete downloads that no source of the recipe uses and that no run has used for this many days.",
)
@click.option("--days", default=0.0, show_default=True, help="Keep versions that are younger than this many days.")
@click.option("--asset", multiple=True, help="Only versions of this artifact (and no downloads); may be repeated.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; list what would go, and what it took to make.")
def store_prune(keep: int, unused_days: float, days: float, asset: tuple[str, ...], dry_run: bool) -> None:
    """Delete old versions (all but the one in force and the newest KEEP others) and unused downloads."""
    from pipeline.ingest import raw_documents

    opened = project()
    artifacts, assets = opened.store, opened.store.all_assets()
    for name in asset:
        if name not in assets:
            raise UserError(f"There is no artifact `{name}` in the store: use {', '.join(assets)}.")
    assets = [name for name in assets if not asset or name in asset]
    if dry_run:
        _list_prunable([found for name in assets for found in artifacts.prunable(name, keep, days)])
    freed = [
        (f"{name}/{version}", count)
        for name in assets
        if not dry_run
        for version, count in artifacts.prune(name, keep, days=days)
    ]
    if not asset:
        freed += raw_documents.prune_downloads(artifacts, opened.recipe.origins(), unused_days, dry_run)
    for name, count in freed:
        click.echo(f"{name}: {size(count)} {'would be freed' if dry_run else 'freed'}")
    if not dry_run:
        click.echo(f"{size(sum(count for _, count in freed))} freed in total")


def _list_prunable(versions: list[Artifact]) -> None:
    """Print versions that would be deleted, with their size (what other versions share is not freed) and the time that
    making them took."""
    if not versions:
        click.echo("no version would be deleted")
        return
    click.echo(
        table(
            {
                "asset": found.asset,
                "version": found.version,
                "size": size(sum(file["bytes"] for file in found.manifest["files"].values())),
                "made in": f"{found.manifest['seconds']['total']:,.1f} s",
            }
            for found in versions
        )
    )
    click.echo(
        f"{len(versions)} version(s) would be deleted; only what no other version shares is freed, and what a run "
        "reads stays"
    )


COMMANDS = (summary, make, why, recipe, store)
