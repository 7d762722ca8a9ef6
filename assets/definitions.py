"""All Dagster definitions of the project (`DAGSTER_MODULE_NAME=assets.definitions`)."""

import os
import sys

from dagster import DagsterInstance, Definitions, in_process_executor

from assets import console, experiments, groups, jobs, location, reaper, sensors, several, sources
from pipeline.errors import UserError
from pipeline.recipe import load

try:
    recipe = load()
except UserError as error:
    if console.AT_TERMINAL:  # the message alone, without a traceback
        sys.exit(f"{error}")
    raise

if console.AT_TERMINAL:
    location.join_location(several.adopt(recipe.name))

if console.AT_TERMINAL and os.environ.get("DAGSTER_HOME"):
    # No daemon monitors these runs: without this, a run would wait for slots that a killed run still holds.
    with DagsterInstance.get() as instance:
        reaper.reap(instance, always_mlflow=False)

defs = Definitions(
    assets=[
        *sources.assets_of(recipe),
        *groups.assets_of(recipe),
        *experiments.assets_of(recipe),
    ],
    jobs=[*jobs.jobs_of(recipe), *([sources.observe_job(recipe)] if recipe.sources else [])],
    sensors=sensors.sensors_of(recipe),
    schedules=sensors.SCHEDULES if recipe.sources else [],
    loggers={"console": console.console},
    executor=in_process_executor,  # for materialising assets by hand, too: a process per step costs 5 s each
)
