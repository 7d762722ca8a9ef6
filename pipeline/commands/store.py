"""`slm store`: what the store holds, whose it is, whether it is intact, and what may go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline import places
from pipeline.commands import complete_asset, project
from pipeline.errors import UserError
from pipeline.printing import duration, size, table

if TYPE_CHECKING:
    from pipeline.store.artifact import Artifact
    from pipeline.store.holdings import Holding


@click.group()
def store() -> None:
    """List, verify and prune the artifacts on disk."""


@store.command("list")
@click.option("--owner", help="Only what this owner made (`SLM_OWNER`, else the login, at that time).")
@click.option("--all", "every", is_flag=True, help="Of all recipes of the store.")
def store_list(owner: str | None, every: bool) -> None:
    """List all artifacts of the recipe, with their sizes and owners."""
    from pipeline.store.holdings import holdings, size_of

    held = holdings(places.data(), None if every else [project().recipe.name])
    click.echo(
        table(
            {
                **({"recipe": of.recipe} if every else {}),
                "asset": of.artifact.asset,
                "version": of.artifact.version,
                "in force": of.in_force,
                "files": len(of.artifact.manifest["files"]),
                "size": size(sum(file["bytes"] for file in of.artifact.manifest["files"].values())),
                "owner": of.owner,
                **({"pinned": of.pinned} if any(one.pinned is not None for one in held) else {}),
            }
            for of in held
            if owner is None or of.owner == owner
        )
    )
    if owner is not None:
        click.echo(f"{size(size_of(of for of in held if of.owner == owner))} on disk, what versions share counted once")


@store.command("usage")
def store_usage() -> None:
    """Show what the store holds, by recipe and owner, beside its quotas; what versions share counts once."""
    from pipeline import retention
    from pipeline.store.holdings import holdings, size_of
    from pipeline.trained_models import MODELS

    held = holdings(places.data())
    groups: dict[tuple[str, str], list[Holding]] = {}
    for of in held:
        groups.setdefault((of.recipe, of.owner), []).append(of)
    sizes = {group: size_of(some) for group, some in groups.items()}
    click.echo(
        table(
            {
                "recipe": recipe,
                "owner": owner,
                "versions": len(some),
                "models": sum(of.artifact.asset in MODELS for of in some),
                "size": size(sizes[recipe, owner]),
                "made in": duration(sum(of.seconds for of in some)),
            }
            for (recipe, owner), some in sorted(groups.items(), key=lambda group: -sizes[group[0]])
        )
    )
    click.echo(f"{size(size_of(held))} in total")
    policy = retention.policy_of(places.data())
    for line in retention.quota_lines(policy.quota, held) if policy is not None else ():
        click.echo(line)


@store.command("pin")
@click.argument("asset", shell_complete=complete_asset)
@click.argument("version", required=False)
@click.option("--note", default="", help="Why it has to stay.")
@click.option("--remove", is_flag=True, help="Take the pin away.")
def store_pin(asset: str, version: str | None, note: str, remove: bool) -> None:
    """Pin VERSION of ASSET (default: the one in force): no `slm store prune` deletes it, nor what it was made from
    where it goes by a policy."""
    from pipeline.run import inputs_in_order
    from pipeline.store import notes

    opened = project()
    artifacts = opened.store
    if asset not in artifacts.all_assets():
        inputs_in_order(opened.nodes, asset)  # a misspelt name: says which is near
    known = [artifacts.require(asset)] if version is None else artifacts.versions(asset)
    found = [of.version for of in known if version is None or of.version.startswith(version)]
    if not found:
        there = (
            f"name one of {', '.join(of.version for of in known)}" if known else f"`slm make {asset}` makes the first"
        )
        raise UserError(f"No version of `{asset}` begins with `{version}`: {there}.")
    if len(found) > 1:
        raise UserError(
            f"{len(found)} versions of `{asset}` begin with `{version}`: give more characters of one of"
            f" {', '.join(found)}."
        )
    notes.write(artifacts, notes.PINS, f"{asset}/{found[0]}", None if remove else note or "pinned")
    click.echo(f"{asset}/{found[0]} is {'no longer pinned' if remove else 'pinned'}")


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
@click.option(
    "--policy",
    is_flag=False,
    flag_value="",
    metavar="[FILE]",
    help="Go by the rules of the store's `policy.yaml`, or of FILE, in all recipes of the store.",
)
@click.option("--dry-run", is_flag=True, help="Delete nothing; list what would go, and what it took to make.")
def store_prune(
    keep: int, unused_days: float, days: float, asset: tuple[str, ...], policy: str | None, dry_run: bool
) -> None:
    """Delete old versions (all but the one in force and the newest KEEP others) and unused downloads."""
    from pipeline.ingest import raw_documents

    if policy is not None:
        _refuse_beside_policy(click.get_current_context())
        _prune_by_policy(policy, dry_run)
        return
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
    left = artifacts.sweep(dry_run)
    if left:
        freed.append(("deletions that did not finish", left))
    if not asset:
        freed += raw_documents.prune_downloads(artifacts, opened.recipe.origins(), unused_days, dry_run)
    for name, count in freed:
        click.echo(f"{name}: {size(count)} {'would be freed' if dry_run else 'freed'}")
    if not dry_run:
        click.echo(f"{size(sum(count for _, count in freed))} freed in total")


def _refuse_beside_policy(context: click.Context) -> None:
    """Raises UserError for an option that a policy leaves no room for."""
    given = [
        name
        for name in ("keep", "days", "asset", "unused_days")
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise UserError(f"{option} does not go with --policy, whose rules say what stays: leave one of them out.")


def _prune_by_policy(file: str, dry_run: bool) -> None:
    """Delete what a policy does not keep, after saying what is lost; or only say it."""
    from pipeline import retention
    from pipeline.store.holdings import holdings
    from pipeline.store.remote import open_store, recipes_in

    root = places.data()
    policy = retention.policy_of(root, file)
    if policy is None:
        raise UserError(
            f"There is no {retention.FILE} in the store ({root}): write one (launch/policy.yaml is an example), or name"
            " a file with --policy FILE."
        )
    held = holdings(root)
    outcome = retention.applied(policy, held)
    for line in (*retention.idle(policy, held), *retention.lost(outcome)):
        click.echo(line)
    left = sum(open_store(root, recipe).sweep(dry_run) for recipe in recipes_in(root))
    if left:
        click.echo(f"{size(left)} of deletions that did not finish{' would be' if dry_run else ''} freed")
    if dry_run:
        click.echo(f"{size(outcome.freed + left)} would be freed; nothing was deleted")
        return
    freed = retention.carried_out(outcome, click.echo)
    click.echo(f"{size(sum(count for _, count in freed) + left)} freed in total")


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


COMMANDS = (store,)
