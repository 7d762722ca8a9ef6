"""Cleans up after a crash: lost runs, the slots that they hold, and their MLflow runs.

A run is lost if the process that wrote its log is gone. The run's log has the process id, so nothing else has to be
recorded, and `kill -9` of any process is detected. Runs of this project's assets also have the identity of their
process in a tag, which tells a reused id even if the clock was set; for other runs, the start time of the process does.
Processes of other machines cannot be seen: runs tagged with another host are left alone, and so are, in a database that
several machines share, those with no host in their tags. Runs that a launcher starts elsewhere and asks itself, as jobs
of Kubernetes, are Dagster's to judge.

It runs as a sensor of the daemon, before each `dagster job execute`, at the start of `make ui`, and with `make reap`.
"""

import datetime
import os
import socket
import time

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.runs import InMemoryRunStorage, SqliteRunStorage

from assets.keys import HOST_TAG
from pipeline import tracking
from pipeline.process_identity import identity, is_still

UNFINISHED = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
SECONDS_TO_START = 120  # a run without a process in its log may still be starting
# Of a run: "<process id>:<identity>". Tags that begin so are not shown by Dagster's pages.
PROCESS_TAG = ".dagster/slm_process"
CLOCK_TOLERANCE = 5  # seconds by which the clocks of the log and of the kernel may differ


def reap(instance: DagsterInstance, always_mlflow: bool = True) -> list[str]:
    """Mark lost runs as failed, and return their ids.

    always_mlflow: check MLflow's runs even if no Dagster run was lost (loading MLflow takes seconds).
    """
    lost = []
    judges_itself = instance.run_launcher.supports_check_run_worker_health
    for record in () if judges_itself else instance.get_run_records(RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        problem = reason(instance, run, record.create_timestamp)
        if problem:
            if run.status == DagsterRunStatus.CANCELING:
                instance.report_run_canceled(run, f"{problem}, after it was asked to stop.")
            else:
                instance.report_run_failed(run, f"{problem}. The same command resumes where it stopped.")
            lost.append(run.run_id)
    free_slots(instance)
    if lost or always_mlflow:
        tracking.close_lost(writer_is_gone)
    return lost


def reason(instance: DagsterInstance, run: DagsterRun, created: datetime.datetime) -> str:
    """Why a run is considered lost; "" if it is not."""
    host = run.tags.get(HOST_TAG)
    if host != socket.gethostname() and (host or is_shared(instance)):
        return ""
    process = process_of(instance, run.run_id)
    if process is None:
        waited = time.time() - created.timestamp()
        if run.status == DagsterRunStatus.STARTING and waited > SECONDS_TO_START:
            return f"The run did not start within {waited:.0f} s"
        return ""
    pid, seen_at = process
    noted_pid, _, noted = run.tags.get(PROCESS_TAG, "").partition(":")
    alive = is_still(pid, noted) if noted and noted_pid == str(pid) else runs_still(pid, seen_at)
    return "" if alive else f"Process {pid}, which ran this, is gone"


def note_process(instance: DagsterInstance, run_id: str) -> None:
    """Tag a run with the process that it runs in, so that it is known as alive even after the clock was set."""
    if instance.has_run(run_id):
        here = {PROCESS_TAG: f"{os.getpid()}:{identity(os.getpid())}", HOST_TAG: socket.gethostname()}
        instance.add_run_tags(run_id, here)


def is_shared(instance: DagsterInstance) -> bool:
    """Whether machines may share the instance's history: it is in a server, not in files."""
    return not isinstance(instance.run_storage, SqliteRunStorage | InMemoryRunStorage)


def process_of(instance: DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """(process id, timestamp) of the last entry in the run's log with a process id."""
    records = instance.get_records_for_run(
        run_id,
        of_type={DagsterEventType.ENGINE_EVENT, DagsterEventType.RUN_START, DagsterEventType.STEP_WORKER_STARTED},
    ).records
    for record in reversed(records):
        event = record.event_log_entry.dagster_event
        metadata = getattr(event.event_specific_data, "metadata", None) if event is not None else None
        if metadata and "pid" in metadata:
            return int(metadata["pid"].value), record.event_log_entry.timestamp
    return None


def runs_still(pid: int, seen_at: float) -> bool:
    """Whether the process `pid` that existed at `seen_at` (seconds since 1970) is still running."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time() <= seen_at + CLOCK_TOLERANCE and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_slots(instance: DagsterInstance) -> None:
    """Free pool slots held by finished runs."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    holders = {
        slot.run_id
        for pool in storage.get_concurrency_keys()
        for slot in storage.get_concurrency_info(pool).claimed_slots
    }
    for run_id in holders:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            storage.free_concurrency_slots_for_run(run_id)


def writer_is_gone(tags: dict[str, str]) -> bool:
    """Whether an MLflow run with these tags was written by a process of this machine that is gone."""
    host, _, number = tags.get(tracking.PID, "").rpartition(":")
    if not number or host != socket.gethostname():
        return False
    if noted := tags.get(tracking.PROCESS):
        return not is_still(int(number), noted)
    return not runs_still(int(number), float(tags.get(tracking.STARTED, "inf")))


def main() -> None:
    with DagsterInstance.get() as instance:
        lost = reap(instance)
    print(f"marked as failed: {', '.join(lost)}" if lost else "no run has lost its process")


if __name__ == "__main__":
    main()
