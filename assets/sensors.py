"""What starts by itself: looking at the sources, making tokens again where they changed, and clearing up after crashes.

All but the clearing up are off until they are switched on in the UI (Automation). A change is acted on once: the
cursor holds the digest of each source, and the run's key is made of them, so neither a restart nor a second daemon
starts the same work twice.
"""

import hashlib
import json

from dagster import (
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
from assets.sources import data_version, key_of
from pipeline.graph import Project
from pipeline.recipe import Recipe

SECONDS_BETWEEN_LOOKS = 30
# A run that was started by itself is started again where its process died, and not where the work itself failed.
OF_ITSELF = {"dagster/max_retries": "2", "dagster/retry_on_asset_or_op_failure": "false"}
# New text does not retrain the tokenizer by itself: other tokens would void every shard, and every model that reads
# them. It is trained anew where a person starts a job, or changes the recipe and does so.
TOKENIZER_STAYS = {"ops": {"tokenizer": {"config": {"frozen": True}}}, "loggers": {"console": {}}}


def digests(instance: DagsterInstance, recipe: Recipe) -> dict[str, str]:
    """What each source held when it was last observed; sources that never were are left out."""
    found = {}
    for source in recipe.sources:
        records = instance.fetch_observations(key_of(source), limit=1).records
        if records and records[0].asset_observation is not None:
            version = records[0].asset_observation.data_version
            if version:
                found[source.name] = version
    return found


def what_was_read(project: Project) -> dict[str, str]:
    """What each source held when `raw_documents` was made: where the sensor starts from."""
    raw = project.store.current("raw_documents")
    told = raw.facts.get("sources", {}) if raw is not None else {}
    return {name: data_version(of["observed"]["digest"]) for name, of in told.items()}


@sensor(
    job_name="tokenize_job",
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=DefaultSensorStatus.STOPPED,
    description="Starts tokenize_job, once, when an observation shows that a source has changed",
)
def sources_changed(context: SensorEvaluationContext) -> SensorResult | SkipReason:
    project = Project.open()
    now = digests(context.instance, project.recipe)
    if not now:
        return SkipReason("no source has been observed yet: switch on the schedule `observe_sources`")
    before = json.loads(context.cursor) if context.cursor else what_was_read(project)
    changed = sorted(name for name, digest in now.items() if before.get(name) != digest)
    if not changed:
        return SkipReason("no source has changed")
    state = json.dumps({**before, **now}, sort_keys=True)
    request = RunRequest(
        run_key="sources:" + hashlib.sha256(state.encode()).hexdigest()[:24],
        tags={"slm/sources": ",".join(changed)[:200], **OF_ITSELF},
        run_config=TOKENIZER_STAYS,
    )
    return SensorResult(run_requests=[request], cursor=state)


@sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=DefaultSensorStatus.RUNNING,
    description="Marks runs whose process died as failed, and frees what they held",
)
def lost_runs(context: SensorEvaluationContext) -> SkipReason:
    lost = reaper.reap(context.instance)
    return SkipReason(f"marked as failed: {', '.join(lost)}" if lost else "no run has lost its process")


SENSORS: list[SensorDefinition] = [sources_changed, lost_runs]

SCHEDULES = [
    ScheduleDefinition(
        name="observe_sources",
        job_name="observe_job",
        cron_schedule="*/15 * * * *",
        default_status=DefaultScheduleStatus.STOPPED,
        description="Looks at every source each quarter of an hour",
    ),
    ScheduleDefinition(
        name="tokens_nightly",
        job_name="tokenize_job",
        cron_schedule="30 3 * * *",
        tags=OF_ITSELF,
        run_config=TOKENIZER_STAYS,
        default_status=DefaultScheduleStatus.STOPPED,
        description="Each night, whatever was missed by day; what is up to date costs seconds",
    ),
]
