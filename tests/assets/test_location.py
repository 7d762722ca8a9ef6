"""Runs started at a terminal belong to the code location, so that the pages of jobs and of the overview show them."""

from pathlib import Path

import pytest
from dagster import DagsterInstance, RunsFilter, job, op
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG

from assets import location

ROOT = Path(__file__).resolve().parents[2]


@op
def nothing() -> None:
    """Does nothing."""


@job
def toy_job() -> None:
    nothing()


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An instance of its own; what `join_location` changes is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DagsterInstance, "create_run_for_job", DagsterInstance.create_run_for_job)
    with DagsterInstance.ephemeral() as own:
        yield own


def test_a_run_belongs_to_the_location_of_the_workspace(instance: DagsterInstance) -> None:
    (Path.cwd() / "workspace.yaml").write_text((ROOT / "workspace.yaml").read_text())
    location.join_location()
    location.join_location()  # a second time changes nothing
    made = instance.create_run_for_job(job_def=toy_job)
    # How the pages of a job and of the overview ask for runs.
    label = {REPOSITORY_LABEL_TAG: "__repository__@slm"}
    (found,) = instance.get_runs(RunsFilter(job_name="toy_job", tags=label))
    assert found.run_id == made.run_id
    assert found.remote_job_origin is not None and found.remote_job_origin.location_name == "slm"


def test_such_a_run_is_carried_out_as_before(instance: DagsterInstance) -> None:
    (Path.cwd() / "workspace.yaml").write_text((ROOT / "workspace.yaml").read_text())
    location.join_location()
    assert toy_job.execute_in_process(instance=instance).success


def test_without_a_workspace_nothing_is_changed(instance: DagsterInstance) -> None:
    before = DagsterInstance.create_run_for_job
    location.join_location()
    assert DagsterInstance.create_run_for_job is before
    assert instance.create_run_for_job(job_def=toy_job).remote_job_origin is None


def test_the_name_of_the_location_is_the_workspaces(tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    file.write_text("load_from:\n  - python_module: assets.definitions\n")
    assert location.name_of_location(file) == "assets.definitions"
    file.write_text("load_from:\n  - python_file: other.py\n")
    assert location.name_of_location(file) is None
    assert location.name_of_location(ROOT / "workspace.yaml") == "slm"
