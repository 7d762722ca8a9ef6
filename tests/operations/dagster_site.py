"""`dagster dev` over the real definitions, in a folder and on a port of its own, spoken to as the UI does (GraphQL)."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
from dagster import DagsterInstance

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LOCATION = {"repositoryLocationName": "slm", "repositoryName": "__repository__"}
# The definitions as they are, but for the pause of the sensor: half a minute, for which a test need not wait.
MODULE = """
from assets import sensors
sensors.SECONDS_BETWEEN_CHECKS = 5
from assets.definitions import defs
"""


class Site:
    """A fresh DAGSTER_HOME with the project's settings, a store, and a webserver and daemon over them."""

    def __init__(self, folder: Path, recipe: Path):
        """folder: of the site. recipe: the one that its workspace shows, until `workspace` names another."""
        self.folder, self.home, self.data = folder, folder / "dagster_home", folder / "data"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text((ROOT / "dagster_home" / "dagster.yaml").read_text())
        (folder / "watched.py").write_text(MODULE)
        workspace = "load_from:\n  - python_module: {module_name: watched, location_name: slm}\n"
        (folder / "workspace.yaml").write_text(workspace)
        self.workspace = folder / "workspace.yaml"
        inherited = {name: of for name, of in os.environ.items() if not name.startswith(("DAGSTER", "MLFLOW", "SLM"))}
        self.environment = {
            **inherited,
            "DAGSTER_HOME": str(self.home),
            "PYTHONPATH": f"{folder}:{ROOT}",
            "SLM_RECIPE": str(recipe),
            "SLM_DATA": str(self.data),
            "SLM_TRACKING": "off",
            "SLM_DEVICE_SLOTS": "0",
        }
        self.port = free_port()
        self.instance = DagsterInstance.from_config(str(self.home))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.instance.event_log_storage.set_concurrency_slots("gpu", 1)
        command = [str(BIN / "dagster"), "dev", "-h", "127.0.0.1", "-p", str(self.port), "-w", str(self.workspace)]
        with open(self.folder / "site.log", "w") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        until(self.answers, 120, lambda: f"Dagster does not answer: {self.log()}")

    def stop(self) -> None:
        self.instance.dispose()
        if self.process is None:
            return
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        for left in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        self.process.wait()

    def execute(self, job: str, *more: str) -> subprocess.Popen[str]:
        """`dagster job execute` beside the site, in a process group of its own."""
        command = [str(BIN / "dagster"), "job", "execute", "-m", "watched", "-j", job, *more]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            entry = "loadStatus locationOrLoadError { __typename ... on PythonError { message } }"
            found = self.ask(f"{{ workspaceOrError {{ ... on Workspace {{ locationEntries {{ {entry} }} }} }} }}")
            entries = found["workspaceOrError"].get("locationEntries", [])
            for loaded in entries:
                assert loaded["locationOrLoadError"]["__typename"] != "PythonError", loaded
            return bool(entries) and all(loaded["loadStatus"] == "LOADED" for loaded in entries)
        return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert not answer.get("errors"), answer["errors"]
        return answer["data"]

    def launch(
        self, job: str, config: dict[str, Any] | None = None, at: Mapping[str, str] = LOCATION
    ) -> dict[str, Any]:
        """The Launchpad's button: {"run": {"id"}}, or the errors that it shows. at: location and repository."""
        answer = self.ask(
            """mutation ($of: ExecutionParams!) { launchRun(executionParams: $of) { __typename
            ... on LaunchRunSuccess { run { id } } ... on RunConfigValidationInvalid { errors { message } }
            ... on PythonError { message } } }""",
            of={"selector": {**at, "pipelineName": job}, "runConfigData": config or {}},
        )
        return answer["launchRun"]

    def backfill(self, *assets: str) -> str:
        """A backfill of whole assets: its state and the states of its runs, once it is over."""
        answer = self.ask(
            """mutation ($of: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $of) { __typename
            ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }""",
            of={"partitionsByAssets": [{"assetKey": {"path": [asset]}} for asset in assets]},
        )
        found: dict[str, Any] = {}

        def over() -> bool:
            query = """query ($of: String!) { partitionBackfillOrError(backfillId: $of) {
                ... on PartitionBackfill { status runs { status } } } }"""
            found.update(
                self.ask(query, of=answer["launchPartitionBackfill"]["backfillId"])["partitionBackfillOrError"]
            )
            return found["status"] != "REQUESTED"

        until(over, 120, self.log)
        return " ".join([found["status"], *(run["status"] for run in found["runs"])])

    def switch_on(self, sensor: str, at: Mapping[str, str] = LOCATION) -> None:
        answer = self.ask(
            """mutation ($of: SensorSelector!) { startSensor(sensorSelector: $of) { __typename
            ... on Sensor { sensorState { status } } } }""",
            of={**at, "sensorName": sensor},
        )
        assert answer["startSensor"]["sensorState"]["status"] == "RUNNING", answer

    def ticks(self, sensor: str, at: Mapping[str, str] = LOCATION) -> list[dict[str, Any]]:
        """What became of each look of a sensor, the newest first."""
        answer = self.ask(
            """query ($of: SensorSelector!) { sensorOrError(sensorSelector: $of) { ... on Sensor {
            sensorState { ticks(limit: 100) { status skipReason runIds error { message } } } } } }""",
            of={**at, "sensorName": sensor},
        )
        return answer["sensorOrError"]["sensorState"]["ticks"]

    def terminate(self, run: str) -> str:
        answer = self.ask("mutation ($run: String!) { terminateRun(runId: $run) { __typename } }", run=run)
        return answer["terminateRun"]["__typename"]

    def runs(self, job: str) -> dict[str, str]:
        """Status of each run of a job."""
        return {of.run_id: of.status.value for of in self.instance.get_runs() if of.job_name == job}

    def status(self, run: str) -> str:
        found = self.instance.get_run_by_id(run)
        assert found is not None
        return found.status.value

    def finished(self, run: str, seconds: float = 240) -> str:
        until(lambda: self.status(run) in ("SUCCESS", "FAILURE", "CANCELED"), seconds, lambda: f"{run}: {self.log()}")
        return self.status(run)

    def manifest(self, recipe: str, asset: str) -> dict[str, Any]:
        place = self.data / recipe / asset
        return json.loads((place / (place / "current").read_text().strip() / "manifest.json").read_text())

    def manifests(self, recipe: str) -> dict[str, dict[str, Any]]:
        return {
            place.parent.name: self.manifest(recipe, place.parent.name)
            for place in self.data.glob(f"{recipe}/*/current")
        }

    def slm(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stale(self, asset: str) -> tuple[str, list[str]]:
        """What the graph shows of an asset: FRESH or STALE, and why."""
        answer = self.ask(
            """query ($of: [AssetKeyInput!]) { assetNodes(assetKeys: $of) {
            staleStatus staleCauses { key { path } category reason } } }""",
            of=[{"path": [asset]}],
        )
        (node,) = answer["assetNodes"]
        return node["staleStatus"], [f"{'/'.join(of['key']['path'])}: {of['reason']}" for of in node["staleCauses"]]

    def log(self) -> str:
        return (self.folder / "site.log").read_text()[-3000:]


def until(holds: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, problem()
        time.sleep(0.25)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
