"""`slm push` and `slm pull`: models to and from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.commands.evaluate import artifact_at
from pipeline.commands.models import _directory
from pipeline.commands.outputs import FOLDER
from pipeline.errors import UserError
from pipeline.printing import size, table

if TYPE_CHECKING:
    from pipeline.publishing.licences import Stated

NAME = click.argument("name", metavar="OWNER/NAME")


@click.command()
@click.argument("model")
@NAME
@click.option("--public", is_flag=True, help="Everybody may see it. Refused where licences speak against it.")
@click.option("--licence", "--license", "licence", help="Of the model, in the hub's words: apache-2.0, cc-by-sa-4.0 …")
@click.option("--despite-licences", is_flag=True, help="Publish although licences speak against it: you have asked.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@click.option("--message", default="Push by slm", show_default=True, help="Of the commit.")
def push(model: str, name: str, public: bool, dry_run: bool, message: str, **given: Any) -> None:
    """Send MODEL (an asset, a version or a folder) to the Hugging Face hub, private unless `--public` is given.

    Weights, tokenizer and a card, in one commit. Run it again if it broke off: what has arrived is not sent again. The
    token comes from HF_TOKEN.
    """
    from pipeline.publishing import licences, on_the_hub
    from pipeline.publishing.contents import contents

    checked_name(name)
    directory = _directory(model)
    manifests = manifests_of(directory)
    found = licences.stated(manifests)
    reasons = list(licences.objections(found, given["licence"]))
    if reasons and public and not given["despite_licences"]:
        raise UserError(
            f"{name} is not published: {'; '.join(reasons)}. Settle it, push it privately (without `--public`), or say"
            " `--despite-licences` if you have the right to."
        )
    plan = on_the_hub.planned(
        name, contents(directory, readme_of(directory, manifests, found, given["licence"])), public
    )
    click.echo(f"{name}, {'private' if plan.private else 'public'}{', new' if plan.new else ''}")
    rows = [{"file": one.name, "size": size(one.size), "": "sent"} for one in plan.changed]
    rows += [{"file": one.name, "size": size(one.size), "": "there already"} for one in plan.same]
    click.echo(table(rows))
    for reason in reasons:
        click.echo(f"before you publish it: {reason}")
    if dry_run:
        click.echo("Nothing was sent: this is a dry run.")
    elif not plan.changed:
        click.echo("Nothing has changed.")
    else:
        click.echo(f"commit {on_the_hub.push(plan, message)}")


@click.command()
@NAME
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@click.option("--out", type=FOLDER, metavar="DIR", help="Folder to fetch into.  [default: NAME]")
def pull(name: str, revision: str | None, out: Path | None) -> None:
    """Fetch a model of the Hugging Face hub into a folder: safetensors, config, tokenizer, licences; never pickles.

    Run it again if it broke off. Every file is compared with the hub's hash.
    """
    from pipeline.base_model.importing import stated_license
    from pipeline.publishing import on_the_hub
    from pipeline.tokens.tokenizer import ABOUT

    checked_name(name)
    folder = out or Path(name.partition("/")[2])
    commit = on_the_hub.pull(name, revision, folder, click.echo)
    click.echo(f"{folder}: {name} at {commit[:12]}; licence {stated_license(folder) or 'not stated'}")
    ours = (folder / ABOUT).exists()
    click.echo(f"slm chat {folder}" if ours else f"To start from it, write into a recipe: base: {{path: {folder}}}")


def checked_name(name: str) -> None:
    """Raises UserError for what is no name of a model on the hub."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"`{name}` is no name of a model on the hub: {error}") from error
    if "/" not in name:
        raise UserError(f"`{name}` has no owner: write OWNER/{name}.")


def manifests_of(directory: Path) -> dict[str, Mapping[str, Any]]:
    """The manifests of a model of the store and of what it was made of; none of any other folder."""
    from pipeline.inspect.lineage import ancestry, in_order

    store = project().store
    model = artifact_at(store, directory)
    return {} if model is None else {name: one.manifest for name, one in in_order(ancestry(store, model)).items()}


def readme_of(
    directory: Path, manifests: Mapping[str, Mapping[str, Any]], found: list[Stated], licence: str | None
) -> str:
    """README.md of a model: its card, with the figures of its newest report."""
    from pipeline.evaluation.leaderboard import entries_of
    from pipeline.inspect.cards import model_card
    from pipeline.publishing import card

    opened = project()
    model = artifact_at(opened.store, directory)
    text = f"# {directory.resolve().name}\n"
    if model is not None:
        newest = (
            one.figures for one in entries_of(opened.store) if one.model and one.model.directory == model.directory
        )
        text = model_card(model.asset, manifests, next(newest, None), opened.recipe.evaluation.measures())
    elif (directory / "README.md").exists():
        text = card.without_head((directory / "README.md").read_text(encoding="utf-8"))
    return card.readme(text, card.head_of(manifests, licence), found)


COMMANDS = (push, pull)
