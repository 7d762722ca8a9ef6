"""Rebuilds Dagster's history from the store, after it was deleted (`make reindex`).

The manifests are the record, and Dagster's history is a copy. Each artifact in force is reported as a materialisation
without a run, with the data, code and input versions that a run would have recorded, so that Dagster shows up-to-date
assets as up to date.
"""

import os
import sys
from pathlib import Path

from dagster import AssetCheckEvaluation, AssetCheckSeverity, AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    get_input_data_version_tag,
)

from assets import experiments, several
from assets.asset import AssetDescription, result
from assets.groups import described
from assets.keys import PREFIX, key
from pipeline import locations
from pipeline.errors import UserError
from pipeline.experiment import SHARDS
from pipeline.graph import Project
from pipeline.store.artifact import Artifact


def reindex(instance: DagsterInstance, project: Project) -> list[str]:
    """Report every artifact in force; returns their names, in the order of the graph."""
    reported = []
    descriptions = described(project.recipe) | experiments.described(project.recipe)
    for name in [*project.nodes, *experiments.described(project.recipe)]:
        artifact = project.store.current(name)
        if artifact is None:
            continue
        shown = result(project, descriptions[name], artifact)
        assert shown.metadata is not None
        instance.report_runless_asset_event(
            AssetMaterialization(
                asset_key=key(name),
                metadata={**shown.metadata, "state": "found in the store by `make reindex`"},
                tags=versions(project, descriptions[name], artifact),
            )
        )
        for check in shown.check_results or []:
            instance.report_runless_asset_event(
                AssetCheckEvaluation(
                    asset_key=key(name),
                    check_name=check.check_name or "",
                    passed=check.passed,
                    metadata=check.metadata or {},
                    severity=check.severity,
                    description=check.description,
                    blocking=check.severity == AssetCheckSeverity.ERROR,
                )
            )
        reported.append(name)
    return reported


def versions(project: Project, described: AssetDescription, artifact: Artifact) -> dict[str, str]:
    """The tags by which Dagster determines what is out of date."""
    tags = {DATA_VERSION_TAG: artifact.digest[:16], CODE_VERSION_TAG: described.version}
    node = project.nodes.get(described.name)
    for name in node.inputs.values() if node is not None else (SHARDS,):
        made_from = project.store.current(name)
        if made_from is not None:
            tags[get_input_data_version_tag(key(name))] = made_from.digest[:16]
    return tags


def main() -> None:
    """Reindex every recipe that the UI shows. What is wrong with one is said in a sentence, and the others are done all
    the same; then the exit code is 1."""
    try:
        found, wrong = recipes()
    except UserError as error:
        sys.exit(str(error))
    with DagsterInstance.get() as instance:
        for prefix, recipe, data in found:
            os.environ[PREFIX] = prefix
            if data:
                os.environ["SLM_DATA"] = data
            try:
                project = Project.open(recipe)
                names = reindex(instance, project)
            except UserError as error:
                wrong.append(str(error))
                continue
            print(
                f"{len(names)} artifacts of `{locations.scoped(project.recipe.name)}` are back in Dagster:"
                f" {', '.join(names) or 'none'}"
            )
    if wrong:
        sys.exit("\n".join(wrong))


def recipes() -> tuple[list[tuple[str, Path | None, str]], list[str]]:
    """What stands before the keys, the file and the store of each recipe; and a sentence for each that is none.

    Raises UserError for a file of locations that cannot be used.
    """
    found: list[tuple[str, Path | None, str]] = []
    wrong: list[str] = []
    chosen = several.chosen()
    for shown in chosen:
        try:
            named, unreadable = several.recipes_in(Path(shown.recipes))
        except UserError as error:
            wrong.append(str(error))
            continue
        found += [("/".join(filter(None, (shown.store, name))), file, shown.data) for name, file in named.items()]
        wrong += unreadable.values()
    return found if chosen else [("", None, "")], wrong


if __name__ == "__main__":
    main()
