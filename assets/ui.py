"""`make ui`: Dagster and MLflow in the browser, started together, once, and stopped together.

The idea: two daemons on one instance start every scheduled run twice, so a lock stands before them. The kernel drops it
with its holders, however they end. What a supervisor started is written down beside the lock, so that after a kill the
next one ends what is left before it starts servers of its own.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

SECONDS_TO_STOP = 30.0
SECONDS_BETWEEN_LOOKS = 15.0


class Refused(Exception):
    """A sentence for the person at the terminal."""


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    home = Path(os.environ["DAGSTER_HOME"]) if os.environ.get("DAGSTER_HOME") else Path.cwd() / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    try:
        lock = acquire(home)
        for port in (options.port, options.mlflow_port):
            refuse_taken(options.host, port)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1

    from dagster import DagsterInstance

    from assets import reaper
    from pipeline import tracking

    os.environ["DAGSTER_HOME"] = str(home)
    with DagsterInstance.get() as instance:
        for run_id in reaper.reap(instance):
            print(f"the run {run_id[:8]} had lost its process and is marked as failed")
    os.environ["SLM_MLFLOW_UI"] = f"http://{options.host}:{options.mlflow_port}"
    # A database on this machine is shown as it is; of a server elsewhere, only the link is.
    with_mlflow = not tracking.tracking_uri().startswith("http")
    return serve(commands(options, tracking.tracking_uri() if with_mlflow else None), home, lock, options)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make ui", description="Dagster and MLflow in the browser")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; other machines see nothing by default"
    )
    parser.add_argument("--port", type=int, default=3000, help="Dagster's port")
    parser.add_argument("--mlflow-port", type=int, default=5000, help="MLflow's port")
    return parser.parse_args(arguments)


def commands(options: argparse.Namespace, mlflow_uri: str | None) -> dict[str, list[str]]:
    binaries = Path(sys.executable).parent
    found = {"dagster": [str(binaries / "dagster"), "dev", "-h", options.host, "-p", str(options.port)]}
    if mlflow_uri:
        found["mlflow"] = [
            str(binaries / "mlflow"), "ui", "--backend-store-uri", mlflow_uri, "--workers", "1",
            "--host", options.host, "--port", str(options.mlflow_port),
        ]  # fmt: skip
    return found


def serve(servers: dict[str, list[str]], home: Path, lock: int, options: argparse.Namespace) -> int:
    """Starts the servers, waits for a signal or for one of them to end, and ends all."""
    stop = False

    def ask_to_stop(number: int, frame: Any) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    # Groups of their own: what a server starts is ended with it, and Ctrl-C reaches them through this process alone.
    # MLflow's server would start eight more processes (2 GB) for jobs that nothing here uses.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}
    processes = {
        name: subprocess.Popen(command, start_new_session=True, pass_fds=(lock,), env=environment)
        for name, command in servers.items()
    }
    (home / "ui.json").write_text(
        json.dumps({"supervisor": os.getpid(), "groups": [p.pid for p in processes.values()]})
    )
    site = f"http://{options.host}"
    print(f"Dagster: {site}:{options.port}   MLflow: {site}:{options.mlflow_port}   (Ctrl-C ends both)", flush=True)
    ended = ""
    looked = time.monotonic()
    while not stop and not ended:
        time.sleep(0.2)
        ended = next((name for name, process in processes.items() if process.poll() is not None), "")
        if time.monotonic() - looked > SECONDS_BETWEEN_LOOKS and not ended:
            watch(processes["dagster"].pid, f"{site}:{options.port}")
            looked = time.monotonic()
    end_groups([process.pid for process in processes.values()])
    for process in processes.values():
        process.wait()
    (home / "ui.json").unlink(missing_ok=True)
    if ended:
        print(
            f"{ended} ended by itself (code {processes[ended].returncode}), so the rest was ended too", file=sys.stderr
        )
        return 1
    return 0


def watch(dagster: int, address: str) -> None:
    """Marks lost runs, and has a code server that died started again: `dagster dev` itself leaves it dead.

    Without a code server no sensor runs, so the sensor that marks lost runs is no help then.
    """
    import psutil
    from dagster import DagsterInstance

    from assets import reaper

    try:
        with DagsterInstance.get() as instance:
            for run_id in reaper.reap(instance, always_mlflow=False):
                print(f"the run {run_id[:8]} has lost its process and is marked as failed", flush=True)
        below = [" ".join(of.cmdline()) for of in psutil.Process(dagster).children(recursive=True)]
    except (psutil.NoSuchProcess, OSError):
        return
    if any("dagster_webserver" in of for of in below) and not any("dagster api grpc" in of for of in below):
        query = json.dumps({"query": "mutation { reloadWorkspace { __typename } }"}).encode()
        request = urllib.request.Request(f"{address}/graphql", query, {"Content-Type": "application/json"})
        with contextlib.suppress(OSError):  # it is not up yet, or busy with just that: next time
            urllib.request.urlopen(request, timeout=30).read()
            print("the code server had died and is started again", flush=True)


def acquire(home: Path) -> int:
    """The lock, held from now on; ends what a killed supervisor left behind. Raises Refused where one is at work."""
    lock = os.open(home / "ui.lock", os.O_RDWR | os.O_CREAT, 0o644)
    held = not locked(lock)
    left = noted(home)
    if held and (left is None or is_supervisor(left["supervisor"])):
        raise Refused("The UI is running already for this folder; end it first (Ctrl-C where it was started).")
    if left is not None:  # a supervisor that ends by itself takes its note away
        print("an earlier UI was killed; ending what it left behind", flush=True)
        end_groups([group for group in left["groups"] if is_ours(group)])
    deadline = time.monotonic() + SECONDS_TO_STOP
    while not locked(lock):
        if time.monotonic() > deadline:
            raise Refused(f"Processes of an earlier UI still hold {home / 'ui.lock'}; end them first.")
        time.sleep(0.2)
    return lock


def locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def noted(home: Path) -> dict[str, Any] | None:
    try:
        return json.loads((home / "ui.json").read_text())
    except (FileNotFoundError, ValueError):
        return None


def is_supervisor(pid: int) -> bool:
    import psutil

    try:
        return "assets.ui" in " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False


def is_ours(group: int) -> bool:
    """Whether the processes of a group are servers that a UI started, and not others that were given its number."""
    import psutil

    for process in psutil.process_iter(["pid", "cmdline"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.info["pid"]) == group:
                line = " ".join(process.info["cmdline"] or [])
                if "dagster" in line or "mlflow" in line:
                    return True
    return False


def end_groups(groups: list[int]) -> None:
    """Ends the process groups: asks first, and insists after a while. Runs that go on are ended through Dagster."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        alive = [group for group in groups if group_alive(group)]
        for group in alive:
            os.killpg(group, number)
        deadline = time.monotonic() + SECONDS_TO_STOP / 3
        while any(group_alive(group) for group in alive) and time.monotonic() < deadline:
            reap_children()
            time.sleep(0.1)


def reap_children() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
        return True
    except ProcessLookupError:
        return False


def refuse_taken(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Refused(
                f"Port {port} cannot be used ({error.strerror}); choose another: make ui PORT=… MLFLOW_PORT=…"
            ) from None


if __name__ == "__main__":
    sys.exit(main())
