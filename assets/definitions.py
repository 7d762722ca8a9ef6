"""All Dagster definitions of the project (`DAGSTER_MODULE_NAME=assets.definitions`)."""

import os
import sys

from dagster import DagsterInstance, Definitions

from assets import console, location, reaper, repository, several
from pipeline import locations
from pipeline.errors import UserError
from pipeline.recipe import load

try:
    recipe = load()
    if console.AT_TERMINAL:
        locations.take_gpus()
except UserError as error:
    if console.AT_TERMINAL:  # the message alone, without a traceback
        sys.exit(f"{error}")
    raise

if console.AT_TERMINAL:
    location.join_location(*several.adopt(recipe.name))

if console.AT_TERMINAL and os.environ.get("DAGSTER_HOME"):
    # No daemon monitors these runs: without this, a run would wait for slots that a killed run still holds.
    with DagsterInstance.get() as instance:
        reaper.reap(instance, always_mlflow=False)

defs = Definitions(**repository.parts(recipe))
