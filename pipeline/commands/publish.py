"""`slm publish`: the documents that go with a model or a data set that is passed on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import project
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.graph import Project
    from pipeline.publishing.subject import Subject
    from pipeline.store.artifact import Artifact

DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")


@click.command()
@click.argument("name", metavar="MODEL|DATASET")
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--licence", "--license", "licence", help="Under which it is published, such as apache-2.0.")
@click.option("--publisher", help="Who publishes it.")
@click.option("--url", help="Where it will be.")
@click.option("--date", help="The day of publication, YYYY-MM-DD; nothing is taken from the clock.")
@click.option("--force", is_flag=True, help="Write them although a licence speaks against it; the cards say so.")
def publish(name: str, directory: Path, force: bool, **told: str | None) -> None:
    """Write the documents of a MODEL or a DATASET (such as curated_documents) into DIR, from manifests alone.

    Model card, data card, licences and what they ask for, Croissant 1.1, an SPDX 3.0 bill of materials, the EU's
    summary of training content, and OpenLineage events. What nobody stated is named as not known.
    """
    from pipeline.publishing.documents import documents
    from pipeline.publishing.licences import objections
    from pipeline.store.tables import write_whole

    if told["date"] and not DATE.fullmatch(told["date"]):
        raise UserError(f"`--date {told['date']}` is no date: write it as 2026-11-26.")
    opened = project()
    subject = subject_of(opened, artifact_of(opened, name), told)
    reasons = list(objections(subject.licences, subject.told.licence, needs_own=False))
    if reasons and not force:
        raise UserError(
            f"{subject.asset}/{subject.version} is not published: {'; '.join(reasons)}. Settle it, or say `--force` if"
            " you have the right to: the cards will tell."
        )
    if reasons:
        subject = replace(subject, despite=tuple(reasons))
    directory.mkdir(parents=True, exist_ok=True)
    for file, content in documents(subject).items():
        write_whole(directory / file, content)
        click.echo(f"{directory / file}")
    for reason in reasons:
        click.echo(f"written although {reason}")


def artifact_of(opened: Project, name: str) -> Artifact:
    """The model or data set that somebody names. Raises UserError if there is none."""
    from pipeline.inspect.lineage import find_model
    from pipeline.publishing.documents import DATA

    asset, _, version = name.partition("/")
    if asset not in DATA:
        return find_model(opened.store, name)
    if not version:
        return opened.store.require(asset)
    matching = [one for one in opened.store.versions(asset) if one.version.startswith(version)]
    if len(matching) != 1:
        available = ", ".join(f"{asset}/{one.version}" for one in opened.store.versions(asset)) or "none"
        raise UserError(f"There is no one data set `{name}`; there are: {available}.")
    return matching[0]


def subject_of(opened: Project, artifact: Artifact, told: Mapping[str, str | None]) -> Subject:
    """What is published, with everything that it was made of."""
    from pipeline.evaluation.leaderboard import entries_of
    from pipeline.inspect.lineage import ancestry, in_order
    from pipeline.inspect.rules_reference import reasons_by_asset
    from pipeline.publishing.subject import Subject, Told, sources_of

    manifests = {name: one.manifest for name, one in in_order(ancestry(opened.store, artifact)).items()}
    entries = entries_of(opened.store)
    report = next((one.figures for one in entries if one.model and one.model.directory == artifact.directory), None)
    sources = sources_of(manifests, recorded(opened, manifests))
    reasons = reasons_by_asset(opened.recipe.curation)
    return Subject(artifact.asset, manifests, Told(**told), sources, report, (), reasons)


def recorded(opened: Project, manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str | None]]:
    """(kind, address) of the sources that the recipe still describes as they were when they were read."""
    known = manifests.get("raw_documents", {}).get("facts", {}).get("sources", {})
    found: dict[str, tuple[str, str | None]] = {}
    for source in opened.recipe.sources:
        facts = known.get(source.name, {})
        if facts and source.identity(facts["observed"]["digest"]) == facts.get("identity"):
            given = source.model_dump(mode="json")
            address = next((given[key] for key in ("dataset", "url", "crawl") if given.get(key)), None)
            found[source.name] = (source.kind, ", ".join(address) if isinstance(address, list) else address)
    return found


COMMANDS = (publish,)
