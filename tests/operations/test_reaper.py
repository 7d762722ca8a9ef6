"""What a crash leaves behind is found by the reaper: run marked failed, slot of the pool freed, MLflow run closed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus

from assets import reaper
from assets.jobs import jobs_of
from assets.keys import HOST_TAG, run_tags
from pipeline import tracking
from pipeline.process_identity import identity
from pipeline.recipe import Recipe

SOURCES = [{"name": "letters", "kind": "files", "path": "letters/*.txt"}]
TOY = """
import time
from dagster import Definitions, asset, define_asset_job, in_process_executor

@asset(pool="gpu")
def slow(context):
    open("began", "w").close()
    time.sleep(600)

defs = Definitions([slow], jobs=[define_asset_job("slow_job", executor_def=in_process_executor)])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance of its own, with the project's settings, and a toy project beside it."""
    folder = tmp_path / "dagster_home"
    folder.mkdir()
    settings = Path(__file__).parents[2] / "dagster_home" / "dagster.yaml"
    (folder / "dagster.yaml").write_text(settings.read_text())
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("SLM_TRACKING", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(home: Path) -> subprocess.Popen[bytes]:
    """`dagster job execute`, at work in its only step."""
    environment = {**os.environ, "DAGSTER_MODULE_NAME": "toy", "PYTHONPATH": str(home)}
    command = [str(Path(sys.executable).parent / "dagster"), "job", "execute", "-j", "slow_job"]
    process = subprocess.Popen(command, cwd=home, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (home / "began").exists():
        assert process.poll() is None and time.monotonic() < deadline, "the toy job did not start"
        time.sleep(0.1)
    (home / "began").unlink()
    return process


def claimed(instance: DagsterInstance) -> int:
    return len(instance.event_log_storage.get_concurrency_info("gpu").claimed_slots)


def test_a_killed_job_execute_is_marked_failed_and_its_slot_freed(home: Path) -> None:
    with DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
    process = started(home)
    try:
        with DagsterInstance.get() as instance:
            (run,) = instance.get_runs()
            assert reaper.reap(instance) == [], "a run whose process is there was taken for lost"
            assert claimed(instance) == 1
            process.kill()
            process.wait()
            assert instance.get_run_by_id(run.run_id).status == DagsterRunStatus.STARTED
            assert reaper.reap(instance) == [run.run_id]
            assert instance.get_run_by_id(run.run_id).status == DagsterRunStatus.FAILURE
            assert claimed(instance) == 0
            assert reaper.reap(instance) == [], "it was marked twice"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)


def test_runs_that_may_be_of_another_machine_are_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started(home)
    process.kill()
    process.wait()
    with DagsterInstance.get() as instance:
        (run,) = instance.get_runs()
        instance.add_run_tags(run.run_id, {HOST_TAG: "another"})
        assert reaper.reap(instance) == [], "its process is on another machine, and may be well"
        instance.add_run_tags(run.run_id, {HOST_TAG: ""})
        monkeypatch.setattr(reaper, "is_shared", lambda instance: True)
        assert reaper.reap(instance) == [], "nothing says on which of the machines its process is"
        instance.add_run_tags(run.run_id, {HOST_TAG: socket.gethostname()})
        with monkeypatch.context() as patch:
            patch.setattr(type(instance.run_launcher), "supports_check_run_worker_health", True)
            assert reaper.reap(instance) == [], "its launcher knows"
        assert reaper.reap(instance) == [run.run_id]


def test_every_run_of_a_recipe_says_on_which_machine_its_process_is() -> None:
    assert run_tags("notes")[HOST_TAG] == socket.gethostname()
    (job, *_) = jobs_of(Recipe.model_validate({"name": "notes", "sources": SOURCES}))
    assert job.tags is not None and job.tags[HOST_TAG] == socket.gethostname()


def test_a_process_of_the_same_number_is_another_one() -> None:
    assert reaper.runs_still(os.getpid(), time.time())
    assert not reaper.runs_still(os.getpid(), time.time() - 10 * 24 * 3600)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not reaper.runs_still(ended.pid, time.time())


def test_an_mlflow_run_whose_writer_was_killed_is_closed(home: Path) -> None:
    program = (
        "import os, signal\n"
        "from pipeline import tracking\n"
        "with tracking.run('pretrained_model', 'toy', {'slm.recipe': 'toy'}, {}) as run:\n"
        "    print(run.id, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    lost = killed.stdout.strip()
    client = tracking.connect()
    with tracking.run("pretrained_model", "toy", {"slm.recipe": "toy"}, {}) as mine:
        assert client.get_run(lost).info.status == "RUNNING"
        assert tracking.close_lost(reaper.writer_is_gone) == [lost]
        assert client.get_run(lost).info.status == "FAILED"
        assert client.get_run(mine.id).info.status == "RUNNING"


def test_a_clock_that_is_set_makes_no_live_process_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    noted = {tracking.PID: f"{os.uname().nodename}:{os.getpid()}", tracking.STARTED: repr(time.time())}
    noted[tracking.PROCESS] = identity(os.getpid())
    later = psutil.Process(os.getpid()).create_time() + 3600
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: later)  # as after the clock was put forward
    assert not reaper.runs_still(os.getpid(), time.time()), "the clock alone would call it gone"
    assert not reaper.writer_is_gone(noted)
    ended = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    others = {**noted, tracking.PID: f"{os.uname().nodename}:{ended.pid}", tracking.PROCESS: identity(ended.pid)}
    assert not reaper.writer_is_gone(others)
    ended.kill()
    ended.wait()
    assert reaper.writer_is_gone(others)
    assert reaper.writer_is_gone({**noted, tracking.PROCESS: "another-0"}), "the number was given out again"


def test_a_run_tagged_with_its_process_is_alive_whatever_the_clock_says(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = started(home)
    try:
        with DagsterInstance.get() as instance:
            (run,) = instance.get_runs()
            instance.add_run_tags(run.run_id, {reaper.PROCESS_TAG: f"{process.pid}:{identity(process.pid)}"})
            monkeypatch.setattr(reaper, "runs_still", lambda pid, seen_at: False)
            assert reaper.reap(instance) == []
            process.kill()
            process.wait()
            assert reaper.reap(instance) == [run.run_id]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
