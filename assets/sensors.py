"""Automation: observing the sources, making tokens again if they have changed, and cleaning up after crashes.

All but the clean-up are off until they are turned on in the UI (Automation). Each change starts one run: the cursor has
the digest of each source, and the run key is derived from them, so neither a restart nor a second daemon starts the
same work twice.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from dagster import (
    AssetKey,
    DagsterInstance,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    RunRequest,
    ScheduleDefinition,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from assets import reaper
from assets.keys import op_name
from assets.sources import data_version, key_of
from pipeline.graph import Project
from pipeline.recipe import Recipe

SECONDS_BETWEEN_CHECKS = 30
# An automatic run is retried if its process died, but not if the work itself failed.
AUTOMATIC_RUN = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}


def keep_tokenizer() -> dict[str, Any]:
    """Settings of a run that keeps the tokenizer.

    New text alone does not retrain it, since new tokens would invalidate all shards and all models trained on them. A
    job that a user starts retrains it.
    """
    return {"ops": {op_name("tokenizer"): {"config": {"frozen": True}}}, "loggers": {"console": {}}}


def digests(instance: DagsterInstance, sources: Mapping[str, AssetKey]) -> dict[str, str]:
    """The data version of each source at its last observation; sources that were never observed are omitted."""
    by_source = {}
    for name, observed in sources.items():
        records = instance.fetch_observations(observed, limit=1).records
        if records and records[0].asset_observation is not None:
            version = records[0].asset_observation.data_version
            if version:
                by_source[name] = version
    return by_source


def digests_read(project: Project) -> dict[str, str]:
    """The data version of each source when `raw_documents` was made, from which the sensor starts."""
    raw = project.store.current("raw_documents")
    sources = raw.facts.get("sources", {}) if raw is not None else {}
    return {name: data_version(facts["observed"]["digest"]) for name, facts in sources.items()}


def sources_changed(recipe: Recipe) -> SensorDefinition:
    """The sensor that watches the sources of a recipe.

    A server evaluates those of several recipes, so all that tells them apart is fixed here.
    """
    file = os.environ.get("SLM_RECIPE")
    sources = {source.name: key_of(source) for source in recipe.sources}
    run_config = keep_tokenizer()

    @sensor(
        name="sources_changed",
        job_name="tokenize_job",
        minimum_interval_seconds=SECONDS_BETWEEN_CHECKS,
        default_status=DefaultSensorStatus.STOPPED,
        description="Starts tokenize_job once when an observation shows that a source has changed",
    )
    def changed(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        now = digests(context.instance, sources)
        if not now:
            return SkipReason("no source has been observed yet: turn on the schedule `observe_sources`")
        before = json.loads(context.cursor) if context.cursor else digests_read(Project.open(file))
        changed = sorted(name for name, digest in now.items() if before.get(name) != digest)
        if not changed:
            return SkipReason("no source has changed")
        state = json.dumps({**before, **now}, sort_keys=True)
        request = RunRequest(
            run_key="sources:" + hashlib.sha256(state.encode()).hexdigest()[:24],
            tags={"slm/sources": ",".join(changed)[:200], **AUTOMATIC_RUN},
            run_config=run_config,
        )
        return SensorResult(run_requests=[request], cursor=state)

    return changed


@sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_CHECKS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Marks runs whose process died as failed, and frees their slots",
)
def lost_runs(context: SensorEvaluationContext) -> SkipReason:
    lost = reaper.reap(context.instance)
    return SkipReason(f"marked as failed: {', '.join(lost)}" if lost else "no run has lost its process")


def sensors_of(recipe: Recipe, cleans_up: bool = True) -> list[SensorDefinition]:
    """The sensors; one that watches sources needs some. cleans_up: with the one that looks for lost runs."""
    return [*([sources_changed(recipe)] if recipe.sources else []), *([lost_runs] if cleans_up else [])]


def schedules_of(recipe: Recipe) -> list[ScheduleDefinition]:
    """The schedules of a recipe that has sources."""
    if not recipe.sources:
        return []
    return [
        ScheduleDefinition(
            name="observe_sources",
            job_name="observe_job",
            cron_schedule="*/15 * * * *",
            default_status=DefaultScheduleStatus.STOPPED,
            description="Observes every source every 15 minutes",
        ),
        ScheduleDefinition(
            name="tokens_nightly",
            job_name="tokenize_job",
            cron_schedule="30 3 * * *",
            tags=AUTOMATIC_RUN,
            run_config=keep_tokenizer(),
            default_status=DefaultScheduleStatus.STOPPED,
            description="Runs tokenize_job every night, in case a change was missed; takes seconds if nothing changed",
        ),
    ]
