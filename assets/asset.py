"""An artifact of the graph as a Dagster asset: the one place where the two meet.

The idea: `pipeline/graph.py` says what an artifact is made of and makes it; the files beside this one say what a person
reads about it (description, figures, checks). An asset calls one function, asks the store nothing that the function did
not, and shows what came of it. There is no IO manager: the store writes, and says itself whether anything was to do.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dagster import (
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    CodeReferencesMetadataValue,
    Config,
    DataVersion,
    Failure,
    LocalFileCodeReference,
    MaterializeResult,
    asset,
)

from assets import console, display
from assets.overrides import overridden, overrides_of
from assets.training_process import run_in_process_of_its_own
from pipeline.errors import UserError
from pipeline.graph import Node, Project
from pipeline.store.artifact import Artifact
from pipeline.store.store import NotMade

OWNERS = ["team:slm"]
DEVICE_POOL = "gpu"  # one slot, set by scripts/prepare_instance.py: two trainings never share a device


@dataclass(frozen=True)
class Check:
    """A blocking check: what comes after does not run where `test` gives a problem (a sentence; "" is a pass)."""

    name: str
    description: str
    test: Callable[[Project, Artifact], tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Described:
    """What a person reads about an artifact."""

    name: str
    description: str
    kinds: tuple[str, ...]
    version: str  # of the code that makes it, as its fingerprint holds it
    made_by: Callable[..., Any]  # where to read on
    show: Callable[[Project, Artifact], Mapping[str, Any]]
    checks: Sequence[Check]
    settings: str = ""  # block of the recipe that can be overridden in the Launchpad
    on_device: bool = False  # trains or evaluates: takes the pool, and runs in a process of its own
    measures: str = ""  # the model that this measures; where there is none, there is nothing to do


def build(described: Described, node: Node, sources: Sequence[AssetKey] = ()) -> AssetsDefinition:
    """The Dagster asset of an artifact; `sources` are what it reads besides other artifacts."""
    config_type = overrides_of(described.settings) if described.settings else Config

    @asset(
        name=described.name,
        group_name=node.group,
        deps=[*sources, *(AssetKey(name) for name in node.inputs.values())],
        description=described.description,
        kinds=set(described.kinds),
        owners=OWNERS,
        code_version=described.version,
        metadata={"dagster/code_references": code_reference(described)},
        check_specs=[
            AssetCheckSpec(check.name, asset=AssetKey(described.name), description=check.description, blocking=True)
            for check in described.checks
        ],
        pool=DEVICE_POOL if described.on_device else None,
        output_required=not described.measures,
    )
    def artifact_asset(context: AssetExecutionContext, config: config_type):  # type: ignore[valid-type,no-untyped-def]  # Dagster reads it
        given = {name: value for name, value in config.model_dump(mode="json").items() if value is not None}  # type: ignore[attr-defined]
        try:
            project = Project.open(log=context.log.info)
            if described.measures and project.store.current(described.measures) is None:
                yield from nothing_to_measure(context, described)
                return
            if given:
                project = replace(project, recipe=overridden(project.recipe, described.settings, given))
            with console.stopped_by_hand(context):
                artifact = made(context, project, described, given)
            yield result(project, described, artifact, shown_before(context, artifact))
        except UserError as error:
            raise Failure(description=str(error), allow_retries=False) from None

    return artifact_asset


def nothing_to_measure(context: AssetExecutionContext, described: Described) -> Iterator[AssetCheckResult]:
    """Leaves an evaluation out whose model was not made yet: nothing is materialised, and its checks say why."""
    why = f"there is no {described.measures} yet, so there is nothing to measure"
    context.log.info(why)
    for check in described.checks:
        yield AssetCheckResult(check_name=check.name, passed=False, severity=AssetCheckSeverity.WARN, description=why)


def made(context: AssetExecutionContext, project: Project, described: Described, given: Mapping[str, Any]) -> Artifact:
    """The artifact, from the store or made now; training and evaluation run in a process of their own."""
    if not described.on_device:
        return project.make(described.name)
    known = up_to_date(project, described.name)
    if known is not None:
        project.log(f"{described.name}: up to date ({known.version})")
        return known
    run_in_process_of_its_own(context, described.name, described.settings, given)
    return replace(project.store.require(described.name), made=True)


def up_to_date(project: Project, name: str) -> Artifact | None:
    """The artifact in force where it is the one that would be made now; nothing is made to find out."""
    store = project.store.explaining()
    try:
        artifact = replace(project, store=store, log=lambda line: None).make(name)
    except NotMade:
        return None
    return None if (store.explanations or {}).get(name) else artifact


def result(
    project: Project, described: Described, artifact: Artifact, shown: Mapping[str, Any] | None = None
) -> MaterializeResult:
    """What Dagster is told: data version, metadata and the blocking checks. `make reindex` asks for it too.

    shown: metadata of this very artifact from an earlier run, which is not made again.
    """
    if not shown:
        shown = {**display.of_artifact(artifact), **described.show(project, artifact)}
    return MaterializeResult(
        asset_key=AssetKey(described.name),
        data_version=DataVersion(artifact.digest[:16]),
        metadata={**shown, "state": display.state_of(artifact)},
        check_results=[checked(check, project, artifact) for check in described.checks],
    )


def shown_before(context: AssetExecutionContext, artifact: Artifact) -> Mapping[str, Any]:
    """The metadata of the last materialisation, if it was of this artifact and drawn by this code: pictures cost more
    than looking it up."""
    event = context.instance.get_latest_materialization_event(AssetKey(artifact.asset))
    known = event.asset_materialization.metadata if event is not None and event.asset_materialization else {}
    drawn = tuple(known[name].value for name in ("version", "drawn by") if name in known)
    return known if not artifact.made and drawn == (artifact.version, display.code()) else {}


def checked(check: Check, project: Project, artifact: Artifact) -> AssetCheckResult:
    problem, figures = check.test(project, artifact)
    return AssetCheckResult(
        check_name=check.name,
        asset_key=AssetKey(artifact.asset),
        passed=not problem,
        severity=AssetCheckSeverity.ERROR,
        description=problem or "passed",
        metadata=dict(figures),
    )


def code_reference(described: Described) -> CodeReferencesMetadataValue:
    """Link to the function that makes the artifact."""
    function = described.made_by
    file, line = inspect.getsourcefile(function) or "", inspect.getsourcelines(function)[1]
    label = f"{function.__module__}.{function.__qualname__}"
    return CodeReferencesMetadataValue(
        code_references=[LocalFileCodeReference(file_path=file, line_number=line, label=label)]
    )
