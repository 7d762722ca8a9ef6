"""Everything that Dagster sees, merged: `DAGSTER_MODULE_NAME=assets.definitions`."""

import os
import sys

from dagster import DagsterInstance, Definitions, in_process_executor

from assets import console, groups, jobs, reaper, sensors, sources
from pipeline.errors import UserError
from pipeline.recipe import load

try:
    recipe = load()
except UserError as error:
    if console.AT_A_TERMINAL:  # the sentence alone, without the way through the code
        sys.exit(f"{error}")
    raise

if console.AT_A_TERMINAL and os.environ.get("DAGSTER_HOME"):
    # No daemon looks after these runs: what an earlier one held when it was killed would be waited for here.
    with DagsterInstance.get() as instance:
        reaper.reap(instance, always_mlflow=False)

defs = Definitions(
    assets=[
        *sources.assets_of(recipe),
        *groups.assets_of(recipe),
    ],
    jobs=[*jobs.jobs_of(recipe), sources.OBSERVE_JOB],
    sensors=sensors.SENSORS,
    schedules=sensors.SCHEDULES,
    loggers={"console": console.console},
    executor=in_process_executor,  # also for what is materialised by hand: a process a step costs 5 s
)
