"""Runs that a person starts at a terminal belong to the code location of the workspace, as those of the daemon do.

`dagster job execute` records no location with a run, so Dagster's pages of a job, of the overview and of the location
leave the run out, and only the list of all runs has it. The location is the one that `workspace.yaml` gives the
definitions.
"""

import functools
from pathlib import Path
from typing import Any

import yaml
from dagster import DagsterInstance, DagsterRun
from dagster._core.definitions.job_definition import JobDefinition
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

MODULE = "assets.definitions"
WORKSPACE = Path("workspace.yaml")


def name_of_location(workspace: Path = WORKSPACE) -> str | None:
    """The name that the workspace in this folder gives the location of MODULE; None if it has none."""
    try:
        content = yaml.safe_load(workspace.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError):
        return None
    for entry in content.get("load_from") or ():
        given = entry.get("python_module") if isinstance(entry, dict) else None
        if given == MODULE:
            return MODULE
        if isinstance(given, dict) and given.get("module_name") == MODULE:
            return str(given.get("location_name") or MODULE)
    return None


def origin_of(job: str, location: str, repository: str = SINGLETON_REPOSITORY_NAME) -> RemoteJobOrigin:
    """Where the servers of the workspace find a job. repository: of a location that has several recipes."""
    target = LoadableTargetOrigin(module_name=MODULE, working_directory=str(Path.cwd()))
    place = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=location)
    return RemoteJobOrigin(RemoteRepositoryOrigin(place, repository), job)


def join_location(location: str | None = None, repository: str = SINGLETON_REPOSITORY_NAME) -> None:
    """From now on, runs that this process creates belong to the location; once, and only if there is one.

    location: its name; None: that of this folder's workspace. repository: of a location that has several recipes.
    """
    location = location or name_of_location()
    created = DagsterInstance.create_run_for_job
    if location is None or getattr(created, "joins_location", False):
        return

    @functools.wraps(created)
    def create_run_for_job(self: DagsterInstance, job_def: JobDefinition, *given: Any, **named: Any) -> DagsterRun:
        if named.get("remote_job_origin") is None:
            named["remote_job_origin"] = origin_of(job_def.name, location, repository)
        return created(self, job_def, *given, **named)

    create_run_for_job.joins_location = True  # type: ignore[attr-defined]
    DagsterInstance.create_run_for_job = create_run_for_job  # type: ignore[assignment,method-assign]
