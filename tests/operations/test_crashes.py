"""`kill -9` of whatever takes part in a run under `make ui`: nothing hangs, runs twice or is left behind.

(`kill -9` of `dagster job execute` is in test_reaper.py: no server takes part in it.) The project here is a toy of one
slow asset in the pool of the device, and the real supervisor, sensor and instance settings.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from dagster import DagsterInstance, DagsterRunStatus

ROOT = Path(__file__).parents[2]
TOY = """
import os, time
from dagster import Definitions, asset, define_asset_job, in_process_executor
from assets.sensors import lost_runs

@asset(pool="gpu")
def slow(context):
    with open("began", "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(600)

defs = Definitions([slow], jobs=[define_asset_job("slow_job", executor_def=in_process_executor)], sensors=[lost_runs])
"""
FAILED = DagsterRunStatus.FAILURE


class Ui:
    """`make ui` over the toy, in a folder and on ports of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.home = folder / "dagster_home"
        self.ports = [free_port(), free_port(), free_port()]
        self.supervisor: subprocess.Popen[str] | None = None

    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "MLFLOW", "SLM"))
        }
        own = {"DAGSTER_HOME": str(self.home), "PYTHONPATH": f"{self.folder}:{ROOT}", "SLM_TRACKING": "off"}
        own["SLM_DEVICE_SLOTS"] = "0"
        return {**inherited, **own}

    def command(self) -> list[str]:
        ports = ["--port", str(self.ports[0]), "--mlflow-port", str(self.ports[1])]
        return [sys.executable, "-m", "assets.ui", *ports, "--report-port", str(self.ports[2])]

    def start(self, cleared: Callable[[], bool] = lambda: True) -> None:
        log = open(self.folder / "ui.log", "a")  # noqa: SIM115
        self.supervisor = subprocess.Popen(
            self.command(), cwd=self.folder, env=self.environment(), stdout=log, stderr=log, text=True
        )
        until(cleared, 90, f"what an earlier UI left is still there: {self.log()}")
        until(lambda: listens(self.ports[0]), 150, f"Dagster does not answer: {self.log()}")

    def launch(self) -> str:
        """Starts the slow job through the daemon; returns the run's id once it is at work."""
        before = set(self.runs())
        lines = len(self.began())
        launched = subprocess.run(
            [str(Path(sys.executable).parent / "dagster"), "job", "launch", "-w", "workspace.yaml", "-j", "slow_job"],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert launched.returncode == 0, launched.stderr
        until(lambda: len(self.began()) > lines, 120, f"the run did not start: {self.log()}")
        (run_id,) = set(self.runs()) - before
        return run_id

    def began(self) -> list[int]:
        path = self.folder / "began"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def runs(self) -> dict[str, DagsterRunStatus]:
        with DagsterInstance.from_config(str(self.home)) as instance:
            return {run.run_id: run.status for run in instance.get_runs()}

    def slots(self) -> int:
        with DagsterInstance.from_config(str(self.home)) as instance:
            return len(instance.event_log_storage.get_concurrency_info("gpu").claimed_slots)

    def family(self, part: str) -> list[psutil.Process]:
        """Processes below the supervisor whose command line holds `part`."""
        assert self.supervisor is not None
        below = psutil.Process(self.supervisor.pid).children(recursive=True)
        found = []
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):  # gone, or a zombie, since it was listed
                if part in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def log(self) -> str:
        return (self.folder / "ui.log").read_text()[-1500:]


def until(holds: Callable[[], bool], seconds: float, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, problem
        time.sleep(0.25)


def still_runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[Ui]:
    made = Ui(tmp_path)
    made.home.mkdir()
    (made.home / "dagster.yaml").write_text((ROOT / "dagster_home" / "dagster.yaml").read_text())
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "workspace.yaml").write_text("load_from:\n  - python_module: {module_name: toy, location_name: toy}\n")
    with DagsterInstance.from_config(str(made.home)) as instance:
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
    made.start()
    try:
        yield made
    finally:
        assert made.supervisor is not None
        left = made.began()
        if made.supervisor.poll() is None:
            left += [made.supervisor.pid, *(of.pid for of in made.family(""))]
            made.supervisor.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                made.supervisor.wait(45)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(600)
def test_nothing_hangs_after_a_kill(ui: Ui) -> None:
    # 1. the process of a run
    first = ui.launch()
    os.kill(ui.began()[-1], signal.SIGKILL)
    until(lambda: ui.runs()[first] == FAILED, 120, f"the run is not marked as failed: {ui.log()}")
    until(lambda: ui.slots() == 0, 60, "the pool's slot is not freed")

    # 2. the code server: whatever becomes of the run, it does not stay open, and the next one runs
    second = ui.launch()
    for server in ui.family("dagster api grpc"):
        server.kill()
    os.kill(ui.began()[-1], signal.SIGKILL)  # with its server, a run's process is lost to everyone
    until(lambda: ui.runs()[second] == FAILED, 150, f"the run is not marked as failed: {ui.log()}")
    until(lambda: ui.slots() == 0, 60, "the pool's slot is not freed")
    until(lambda: bool(ui.family("dagster api grpc")), 60, "no code server was started again")

    # 3. the daemon: the servers end together and say so, instead of a UI that starts nothing any more
    third = ui.launch()
    (daemon,) = ui.family("dagster._daemon")
    daemon.kill()
    assert ui.supervisor is not None
    assert ui.supervisor.wait(90) == 1
    assert not any(listens(port) for port in ui.ports)
    ui.start()
    until(lambda: ui.runs()[third] == FAILED, 120, f"the run is not marked as failed: {ui.log()}")

    # 4. `dagster dev`, and the supervisor itself: the next start ends what is left and starts nothing twice
    fourth = ui.launch()
    assert subprocess.run(ui.command(), cwd=ui.folder, env=ui.environment(), capture_output=True).returncode == 1
    left = ui.family("")
    (dev,) = ui.family("dagster dev")
    ui.supervisor.kill()
    dev.kill()
    ui.supervisor.wait()
    ui.start(cleared=lambda: not any(still_runs(of) for of in left))
    until(lambda: ui.runs()[fourth] == FAILED, 120, f"the run is not marked as failed: {ui.log()}")
    assert len(ui.runs()) == len(ui.began()) == 4, "a run was started twice"
    assert len(ui.family("dagster._daemon")) == 1
    noted = json.loads((ui.home / "ui.json").read_text())
    assert noted["supervisor"] == ui.supervisor.pid
