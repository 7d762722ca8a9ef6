"""Turns an artifact of the graph into a Dagster asset; nothing else connects the two.

`pipeline/graph.py` defines what an artifact is made of and makes it; the other files of this folder define its page in
the UI (description, figures, checks). An asset calls one function and shows the result. There is no IO manager: the
store writes artifacts, and decides whether one has to be made.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dagster import (
    AssetCheckKey,
    AssetCheckResult,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    CodeReferencesMetadataValue,
    Config,
    DagsterEventType,
    DataVersion,
    Failure,
    LocalFileCodeReference,
    MaterializeResult,
    asset,
)

from assets import console, devices, display, reaper
from assets.keys import OWNER_TAG, group, key, owners, prefix, recipe_tag, run_tags
from assets.overrides import overridden, overrides_of
from assets.training_process import run_in_own_process
from pipeline import quota
from pipeline.errors import UserError
from pipeline.graph import Node, Project
from pipeline.inspect import registry
from pipeline.owner import VARIABLE as OWNER
from pipeline.store import leases
from pipeline.store.artifact import Artifact
from pipeline.store.store import NotMade

VERSION = "version"  # of an artifact, in the metadata of slow checks


@dataclass(frozen=True)
class Check:
    """A check: `test` returns a problem in a sentence ("" means passed). After a blocking one with a problem, later
    assets do not run; of the others it is a warning. A slow one is not run again on the same artifact."""

    name: str
    description: str
    test: Callable[[Project, Artifact], tuple[str, Mapping[str, Any]]]
    blocking: bool = True
    slow: bool = False


@dataclass(frozen=True)
class AssetDescription:
    """An artifact's page in the UI, and how its asset runs."""

    name: str
    description: str
    kinds: tuple[str, ...]
    version: str  # the code version in its fingerprint
    made_by: Callable[..., Any]  # linked as its source code
    show: Callable[[Project, Artifact], Mapping[str, Any]]
    checks: Sequence[Check]
    settings: str = ""  # block of the recipe that can be overridden in the Launchpad
    on_device: bool = False  # trains or evaluates: uses the device pool, and runs in a separate process
    measures: str = ""  # the model that this evaluates; without that model, the asset is skipped
    always_asked: bool = False  # only the process that would make it knows whether it is up to date


def build(
    described: AssetDescription, node: Node, recipe: str, sources: Sequence[AssetKey] = (), device: str = "auto"
) -> AssetsDefinition:
    """The Dagster asset of an artifact of a recipe; `sources` are further inputs besides artifacts.

    device: as the recipe sets it.
    """
    config_type = overrides_of(described.settings) if described.settings else Config

    @asset(
        name=described.name,
        key_prefix=prefix() or None,
        group_name=group(node.group),
        deps=[*sources, *(key(name) for name in dict.fromkeys(node.inputs.values()))],
        description=f"{described.description}\n\n{where_to_look(recipe)}",
        kinds=shown_kinds(described.kinds),
        owners=owners(),
        tags=recipe_tag(recipe),
        code_version=described.version,
        metadata={"dagster/code_references": code_reference(described.made_by)},
        check_specs=[
            AssetCheckSpec(
                check.name, asset=key(described.name), description=check.description, blocking=check.blocking
            )
            for check in described.checks
        ],
        pool=devices.pool_of(device) if described.on_device else None,
        output_required=not described.measures,
    )
    def artifact_asset(context: AssetExecutionContext, config: config_type):  # type: ignore[valid-type,no-untyped-def]
        overrides = {name: value for name, value in config.model_dump(mode="json").items() if value is not None}  # type: ignore[attr-defined]
        try:
            reaper.note_process(context.instance, context.run.run_id)
            project = Project.open(log=context.log.info)
            tag(context, project)
            if described.measures and project.store.current(described.measures) is None:
                yield from nothing_to_measure(context, described)
                return
            if overrides:
                project = replace(project, recipe=overridden(project.recipe, described.settings, overrides))
            with console.cancelled_at_terminal(context):
                artifact = make_artifact(context, project, described, overrides)
            with leases.held([artifact.directory]):  # its page is drawn from its files
                shown = previous_metadata(context, artifact)
                checked = previous_checks(context, described, artifact) if shown else {}
                yield result(project, described, artifact, shown, checked)
        except UserError as error:
            raise Failure(description=str(error), allow_retries=False) from None

    return artifact_asset


def shown_kinds(kinds: Sequence[str]) -> set[str]:
    """The kinds on an asset's page. Where keys are long, Dagster's list cuts names to make room for kinds: there, what
    nearly all assets have is left out."""
    return set(kinds) - ({"python"} if prefix() and len(kinds) > 1 else set())


def tag(context: AssetExecutionContext, project: Project) -> None:
    """Give the run the tags that a job would have given it; an owner that it has stays, and owns what it makes."""
    found = run_tags(project.recipe.name)
    found[OWNER_TAG] = context.run.tags.get(OWNER_TAG) or found[OWNER_TAG]
    os.environ[OWNER] = found[OWNER_TAG]
    if context.instance.has_run(context.run.run_id):
        context.instance.add_run_tags(context.run.run_id, found)


def where_to_look(recipe: str) -> str:
    """The last line of each description: Dagster opens an asset on its tab *Overview*, which shows no pictures."""
    report = f"[the report]({display.report_address(recipe)})"
    return f"Pictures, figures and samples: *Events*. Everything on one page: {report}."


def nothing_to_measure(context: AssetExecutionContext, described: AssetDescription) -> Iterator[AssetCheckResult]:
    """Skips an evaluation whose model does not exist yet: nothing is materialised, and its checks give the reason."""
    reason = f"there is no {described.measures} yet, so there is nothing to measure"
    context.log.info(reason)
    for check in described.checks:
        yield AssetCheckResult(
            check_name=check.name, passed=False, severity=AssetCheckSeverity.WARN, description=reason
        )


def make_artifact(
    context: AssetExecutionContext, project: Project, described: AssetDescription, overrides: Mapping[str, Any]
) -> Artifact:
    """The artifact, from the store or made now; training and evaluation run in a separate process."""
    refuse_beyond_quota(context, project)
    if not described.on_device:
        artifact = project.make(described.name)
        if artifact.made:
            registry.record(project.recipe, project.store, artifact, project.log)
        return artifact
    existing = None if described.always_asked else up_to_date(project, described.name)
    if existing is not None:
        project.log(f"{described.name}: up to date ({existing.version})")
        return existing
    before = project.store.current(described.name)
    run_in_own_process(context, described.name, described.settings, overrides)
    made = project.store.require(described.name)
    return replace(made, made=before is None or before.version != made.version)


_refused: dict[str, str] = {}  # run of this process whose room in the store was looked at -> why it is refused, or ""


def refuse_beyond_quota(context: AssetExecutionContext, project: Project) -> None:
    """Raises UserError for every asset of a run if what the run would make does not fit into a quota.

    That is found before its first asset. A job may begin at several assets, and a refused one stops only what is made
    from it.
    """
    run = context.run
    if run.run_id not in _refused:
        selected = run.asset_selection or context.job_def.asset_layer.executable_asset_keys
        own = {key(name): name for name in project.nodes}
        _refused[run.run_id] = ""
        try:
            quota.refuse_beyond(project, [own[asset] for asset in selected if asset in own])
        except UserError as error:
            _refused[run.run_id] = str(error)
    if _refused[run.run_id]:
        raise UserError(_refused[run.run_id])


def up_to_date(project: Project, name: str) -> Artifact | None:
    """The artifact in force, if it is up to date; else None. Makes nothing."""
    store = project.store.explaining()
    try:
        artifact = replace(project, store=store, log=lambda line: None).make(name)
    except NotMade:
        return None
    return None if (store.explanations or {}).get(name) else artifact


def result(
    project: Project,
    described: AssetDescription,
    artifact: Artifact,
    shown: Mapping[str, Any] | None = None,
    checked: Mapping[str, AssetCheckResult] | None = None,
) -> MaterializeResult:
    """The materialisation of an asset: data version, metadata and checks. `make reindex` uses it too.

    shown, checked: metadata of the same artifact, and what slow checks said of it, from an earlier run, to use instead
    of creating and running them again.
    """
    if not shown:
        shown = display.arranged(artifact, {**display.of_artifact(artifact), **described.show(project, artifact)})
    return MaterializeResult(
        asset_key=key(described.name),
        data_version=DataVersion(artifact.digest[:16]),
        metadata={**shown, "state": display.state_of(artifact)},
        check_results=[
            (checked or {}).get(check.name) or run_check(check, project, artifact) for check in described.checks
        ],
    )


def previous_metadata(context: AssetExecutionContext, artifact: Artifact) -> Mapping[str, Any]:
    """The metadata of the last materialisation, if it is of this artifact and was created by the current code.

    Looking it up is cheaper than drawing the pictures again.
    """
    event = context.instance.get_latest_materialization_event(key(artifact.asset))
    metadata = event.asset_materialization.metadata if event is not None and event.asset_materialization else {}
    drawn = tuple(metadata[name].value for name in ("version", "drawn by") if name in metadata)
    return metadata if not artifact.made and drawn == (artifact.version, display.code_digest()) else {}


def previous_checks(
    context: AssetExecutionContext, described: AssetDescription, artifact: Artifact
) -> Mapping[str, AssetCheckResult]:
    """What the slow checks of an asset said last, by name, where that was of this artifact."""
    found = {}
    for check in described.checks:
        if check.slow:
            last = AssetCheckKey(key(described.name), check.name)
            history = context.instance.event_log_storage.get_asset_check_execution_history(last, limit=3)
            events = [record.event.dagster_event for record in history if record.event is not None]
            # The newest record says only that this run will check.
            said = [
                of.asset_check_evaluation_data
                for of in events
                if of is not None and of.event_type == DagsterEventType.ASSET_CHECK_EVALUATION
            ]
            if said and VERSION in said[0].metadata and said[0].metadata[VERSION].value == artifact.version:
                found[check.name] = AssetCheckResult(
                    check_name=check.name, asset_key=last.asset_key, passed=said[0].passed, severity=said[0].severity,
                    description=said[0].description, metadata=said[0].metadata,
                )  # fmt: skip
    return found


def run_check(check: Check, project: Project, artifact: Artifact) -> AssetCheckResult:
    problem, figures = check.test(project, artifact)
    if check.slow:
        figures = {**figures, VERSION: artifact.version}
    return AssetCheckResult(
        check_name=check.name,
        asset_key=key(artifact.asset),
        passed=not problem,
        severity=AssetCheckSeverity.ERROR if check.blocking else AssetCheckSeverity.WARN,
        description=problem or "passed",
        metadata=dict(figures),
    )


@functools.cache
def code_reference(function: Callable[..., Any]) -> CodeReferencesMetadataValue:
    """A link to the function that makes the artifact; found once, since it is looked for in the source."""
    file, line = inspect.getsourcefile(function) or "", inspect.getsourcelines(function)[1]
    label = f"{function.__module__}.{function.__qualname__}"
    return CodeReferencesMetadataValue(
        code_references=[LocalFileCodeReference(file_path=file, line_number=line, label=label)]
    )
