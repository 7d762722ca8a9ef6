"""What the UI costs with many recipes: starting it, holding it, and asking it for the graph of all assets.

    python -m benchmarks.many_recipes --recipes 50
    python -m benchmarks.many_recipes --recipes 50 --stores 5

The recipes are copies of the demonstration's under other names, in one store or in several. The servers are those of
`make ui` without MLflow, in a folder of their own; processor time and memory are those of Dagster's processes, all
together.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_LOAD = 1200
LOADED = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename
    ... on RepositoryLocation { repositories { name } } ... on PythonError { message } } } } } }"""
# What the pages of all assets and of one group ask for.
NODES = """{ assetNodes { id assetKey { path } groupName kinds description opNames isExecutable owners {
    ... on TeamAssetOwner { team } } repository { name location { name } } dependencyKeys { path } } }"""
GROUP = """query ($of: AssetGroupSelector!) { assetNodes(group: $of) { id assetKey { path } dependencyKeys { path }
    staleStatus assetMaterializations(limit: 1) { runId } } }"""


def write_stores(folder: Path, count: int, stores: int) -> dict[str, str]:
    """Recipes shared out to so many stores; returns what the servers find set."""
    if stores == 1:
        write_recipes(folder / "recipes", count)
        return {"SLM_DATA": str(folder / "data"), "SLM_RECIPE": str(folder / "recipes")}
    names = [f"person{number}" for number in range(1, stores + 1)]
    for number, name in enumerate(names):
        write_recipes(folder / name, len(range(number, count, stores)))
    (folder / "locations.yaml").write_text(
        yaml.safe_dump({"locations": {name: {"recipes": name, "data": f"{name}/data"} for name in names}})
    )
    return {"SLM_DATA": str(folder / names[0] / "data"), "SLM_LOCATIONS": str(folder / "locations.yaml")}


def write_recipes(folder: Path, count: int) -> None:
    """`count` recipes: the demonstration's under names of their own."""
    folder.mkdir(parents=True)
    content = yaml.safe_load((ROOT / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
    for number in range(count):
        text = yaml.safe_dump({**content, "name": f"recipe{number:02}"}, sort_keys=False, allow_unicode=True)
        (folder / f"recipe{number:02}.yaml").write_text(text, encoding="utf-8")


def ask(port: int, query: str, **variables: Any) -> tuple[dict[str, Any], float, int]:
    """(answer, seconds, bytes) of a GraphQL query. Raises OSError while the server does not answer."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=600) as response:
        raw = response.read()
    answer = json.loads(raw)
    if answer.get("errors"):
        raise RuntimeError(str(answer["errors"])[:500])
    return answer["data"], time.monotonic() - began, len(raw)


def processes(of: int) -> list[psutil.Process]:
    """Dagster's processes below that of `make ui`."""
    found = psutil.Process(of).children(recursive=True)
    return [process for process in found if "dagster" in " ".join(process.cmdline())]


def cpu_seconds(of: int) -> float:
    """Processor time of Dagster's processes so far, with what their finished children took."""
    return sum(sum(process.cpu_times()[:4]) for process in processes(of))


def megabytes(of: int) -> float:
    """Memory of Dagster's processes; what several share is counted once (PSS)."""
    total = 0
    for process in processes(of):
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        total += int(text.partition("\nPss:")[2].split()[0])
    return total / 1000


def wait_until_loaded(port: int, server: subprocess.Popen[bytes]) -> int:
    """Wait until every location is loaded; returns how many recipes they hold."""
    deadline = time.monotonic() + SECONDS_TO_LOAD
    while time.monotonic() < deadline and server.poll() is None:
        try:
            entries = ask(port, LOADED)[0]["workspaceOrError"]["locationEntries"]
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                held = [entry["locationOrLoadError"] for entry in entries]
                broken = [of["message"] for of in held if of["__typename"] == "PythonError"]
                if broken:
                    raise RuntimeError(broken[0])
                return sum(len(of["repositories"]) for of in held)
        except OSError:
            pass
        time.sleep(0.5)
    raise RuntimeError("the locations were not loaded")


def started(folder: Path, stores: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    """The servers of `make ui` but MLflow. stores: what names the recipes."""
    home = folder / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster_home" / "dagster.yaml").read_text())
    inherited = {name: of for name, of in os.environ.items() if not name.startswith(("DAGSTER", "MLFLOW", "SLM"))}
    environment = {
        **inherited, **stores, "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT),
        "SLM_TRACKING": "off", "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
    }  # fmt: skip
    command = [sys.executable, "-m", "assets.ui", "--port", str(port), "--report-port", str(port + 1)]
    with open(folder / "ui.log", "w") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)


def measured(server: subprocess.Popen[bytes], port: int) -> dict[str, Any]:
    """The figures of a UI that has just been started."""
    try:
        began = time.monotonic()
        recipes = wait_until_loaded(port, server)
        loaded = time.monotonic() - began
        figures: dict[str, Any] = {"recipes": recipes, "seconds until all are loaded": round(loaded, 1)}
        figures |= {"CPU-s until then": round(cpu_seconds(server.pid), 1), "MB then": round(megabytes(server.pid))}
        figures["processes"] = len(processes(server.pid))
        for name, query in (("all assets", NODES), ("all assets, again", NODES)):
            before = cpu_seconds(server.pid)
            answer, seconds, size = ask(port, query)
            figures[f"{name}: seconds, CPU-s"] = (round(seconds, 2), round(cpu_seconds(server.pid) - before, 2))
        figures["assets"], figures["MB of the answer"] = len(answer["assetNodes"]), round(size / 1e6, 1)
        node = next(of for of in answer["assetNodes"] if of["groupName"].endswith("_curation"))
        place = node["repository"]
        of = {
            "groupName": node["groupName"], "repositoryName": place["name"],
            "repositoryLocationName": place["location"]["name"],
        }  # fmt: skip
        before = cpu_seconds(server.pid)
        seconds = ask(port, GROUP, of=of)[1]
        figures["one group: seconds, CPU-s"] = (round(seconds, 2), round(cpu_seconds(server.pid) - before, 2))
        before = cpu_seconds(server.pid)
        time.sleep(60)
        figures["CPU-s in an idle minute"] = round(cpu_seconds(server.pid) - before, 1)
        figures["MB at the end"] = round(megabytes(server.pid))
        return figures
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(120)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=int, default=50)
    parser.add_argument("--stores", type=int, default=1)
    parser.add_argument("--port", type=int, default=3950)
    return parser


def main() -> None:
    options = arguments().parse_args()
    with tempfile.TemporaryDirectory() as place:
        stores = write_stores(Path(place), options.recipes, options.stores)
        figures = measured(started(Path(place), stores, options.port), options.port)
    for name, value in figures.items():
        print(f"{name:>32}: {value}")


if __name__ == "__main__":
    main()
