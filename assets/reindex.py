"""Shows what lies in the store in Dagster again, after its history was deleted (`make reindex`).

The idea: the manifests are the record and Dagster's history is a copy of it. Each artifact in force is reported as a
materialisation without a run, with the data, code and input versions that a run would have given it, so that what was
up to date is shown as up to date.
"""

from dagster import AssetCheckEvaluation, AssetKey, AssetMaterialization, DagsterInstance
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    get_input_data_version_tag,
)

from assets.asset import Described, result
from assets.groups import described
from pipeline.graph import Project
from pipeline.store.artifact import Artifact


def reindex(instance: DagsterInstance, project: Project) -> list[str]:
    """Reports every artifact in force; returns their names, in the order of the graph."""
    reported = []
    known = described(project.recipe)
    for name in project.nodes:
        artifact = project.store.current(name)
        if artifact is None:
            continue
        shown = result(project, known[name], artifact)
        assert shown.metadata is not None
        instance.report_runless_asset_event(
            AssetMaterialization(
                asset_key=AssetKey(name),
                metadata={**shown.metadata, "state": "found in the store by `make reindex`"},
                tags=versions(project, known[name], artifact),
            )
        )
        for check in shown.check_results or []:
            instance.report_runless_asset_event(
                AssetCheckEvaluation(
                    asset_key=AssetKey(name),
                    check_name=check.check_name or "",
                    passed=check.passed,
                    metadata=check.metadata or {},
                    severity=check.severity,
                    description=check.description,
                    blocking=True,
                )
            )
        reported.append(name)
    return reported


def versions(project: Project, described: Described, artifact: Artifact) -> dict[str, str]:
    """The tags by which Dagster tells what is out of date."""
    tags = {DATA_VERSION_TAG: artifact.digest[:16], CODE_VERSION_TAG: described.version}
    for given in project.nodes[described.name].inputs.values():
        before = project.store.current(given)
        if before is not None:
            tags[get_input_data_version_tag(AssetKey(given))] = before.digest[:16]
    return tags


def main() -> None:
    project = Project.open()
    with DagsterInstance.get() as instance:
        names = reindex(instance, project)
    print(f"{len(names)} artifacts of `{project.recipe.name}` are shown again: {', '.join(names) or 'none'}")


if __name__ == "__main__":
    main()
