"""`make ui`: starts the servers of Dagster, MLflow and the reports together, only once, and stops them together.

Two daemons on one instance would start every scheduled run twice, so a file lock prevents it. The kernel releases the
lock when its holders end, however that happens. The supervisor records the process groups that it started in a file
next to the lock, so that after a kill the next supervisor ends what remains before it starts its own servers.
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
SECONDS_BETWEEN_CHECKS = 15.0
PORTS = ("port", "mlflow_port", "report_port")  # the options, and in capitals the variables of `make ui`
FOR_SERVERS = {
    # MLflow's server would start eight more processes (2 GB) for jobs, which are not used here.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # While a model trains on all cores, starting a run takes long; after 60 s Dagster would call the run failed.
    "DAGSTER_GRPC_TIMEOUT_SECONDS": "600",
    "DAGSTER_GRPC_SHUTDOWN_GRACE_PERIOD": "60",
}
EVERYWHERE = ("0.0.0.0", "::")  # listened on, but no address of a link


class CannotStart(Exception):
    """Why the UI cannot start, in one sentence for the user."""


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    home = Path(os.environ["DAGSTER_HOME"]) if os.environ.get("DAGSTER_HOME") else Path.cwd() / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    try:
        lock = acquire(home)
        require_free_ports(options)
    except CannotStart as problem:
        print(problem, file=sys.stderr)
        return 1

    from dagster import DagsterInstance

    from assets import reaper, several
    from pipeline import tracking
    from pipeline.errors import UserError
    from pipeline.recipe import load

    os.environ["DAGSTER_HOME"] = str(home)
    with DagsterInstance.get() as instance:
        for run_id in reaper.reap(instance):
            print(f"the process of run {run_id[:8]} is gone; the run is marked as failed")
    try:
        shown = several.chosen()
        for sentence in several.mistakes(shown):  # Dagster shows it, too, and the other recipes beside it
            print(sentence, file=sys.stderr)
        workspace = several.write_workspace(home, shown) if shown else None
        if workspace is None:
            several.forget_workspace(home)
    except UserError as problem:
        print(problem, file=sys.stderr)
        return 1
    try:
        recipe = load().name if not shown else None
    except UserError as problem:  # Dagster's page says so, too, and loads a recipe that was put right
        print(problem, file=sys.stderr)
        recipe = None
    # A local database needs an MLflow server of our own; a remote tracking server has one already.
    with_mlflow = not tracking.tracking_uri().startswith("http")
    os.environ.update(links(options, with_mlflow))
    if with_mlflow:  # where `ps` does not show its password
        os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking.tracking_uri()
    servers = commands(options, with_mlflow, workspace)
    return serve(servers, home, lock, options, tracking.curves(recipe) if with_mlflow else "")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make ui", description="Dagster, MLflow and the reports in the browser")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; by default, other machines cannot connect"
    )
    parser.add_argument("--port", type=int, default=3000, help="Dagster's port")
    parser.add_argument("--mlflow-port", type=int, default=5000, help="MLflow's port")
    parser.add_argument("--report-port", type=int, default=3001, help="the port of the reports")
    return parser.parse_args(arguments)


def links(options: argparse.Namespace, with_mlflow: bool) -> dict[str, str]:
    """The addresses for Dagster's links to the other servers, but those that the environment names.

    with_mlflow: MLflow is one of ours. Of another tracking server, its own address is the link.
    """
    host = socket.gethostname() if options.host in EVERYWHERE else options.host
    found = {"SLM_REPORT_UI": f"http://{host}:{options.report_port}"}
    if with_mlflow:
        found["SLM_MLFLOW_UI"] = f"http://{host}:{options.mlflow_port}"
    return {name: address for name, address in found.items() if not os.environ.get(name)}


def commands(options: argparse.Namespace, with_mlflow: bool, workspace: Path | None = None) -> dict[str, list[str]]:
    """The command of each server. workspace: of several recipes; None: the one of the folder."""
    chosen = ["-w", str(workspace)] if workspace is not None else []
    binaries = Path(sys.executable).parent
    servers = {
        "dagster": [str(binaries / "dagster"), "dev", *chosen, "-h", options.host, "-p", str(options.port)],
        "reports": [
            sys.executable, "-m", "assets.report_server", "--host", options.host, "--port", str(options.report_port),
        ],
    }  # fmt: skip
    if with_mlflow:
        servers["mlflow"] = [
            str(binaries / "mlflow"), "ui", "--workers", "1",
            "--host", options.host, "--port", str(options.mlflow_port),
        ]  # fmt: skip
    return servers


def serve(servers: dict[str, list[str]], home: Path, lock: int, options: argparse.Namespace, curves: str = "") -> int:
    """Start the servers, wait for a signal or for one of them to end, and end all of them.

    curves: what follows MLflow's address where it shows curves.
    """
    stop = False

    def request_stop(number: int, frame: Any) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, request_stop)
    signal.signal(signal.SIGTERM, request_stop)
    # Each in its own process group: a server's children end with it, and Ctrl-C reaches them only through this process.
    environment = {**FOR_SERVERS, **os.environ}
    processes = {
        name: subprocess.Popen(command, start_new_session=True, pass_fds=(lock,), env=environment)
        for name, command in servers.items()
    }
    (home / "ui.json").write_text(
        json.dumps({"supervisor": os.getpid(), "groups": [p.pid for p in processes.values()]})
    )
    site = f"http://{options.host}"
    print(f"Dagster: {site}:{options.port}   reports: {site}:{options.report_port}   (Ctrl-C ends all)")
    if "mlflow" in servers:
        print(f"MLflow:  {site}:{options.mlflow_port}{curves}")
    print("Once there is a model, `slm serve` opens a page to talk to it: http://127.0.0.1:8000", flush=True)
    ended = ""
    last_check = time.monotonic()
    while not stop and not ended:
        time.sleep(0.2)
        ended = next((name for name, process in processes.items() if process.poll() is not None), "")
        if time.monotonic() - last_check > SECONDS_BETWEEN_CHECKS and not ended:
            monitor(processes["dagster"].pid, f"{site}:{options.port}")
            last_check = time.monotonic()
    end_groups([process.pid for process in processes.values()])
    for process in processes.values():
        process.wait()
    (home / "ui.json").unlink(missing_ok=True)
    if ended:
        print(
            f"{ended} exited unexpectedly (code {processes[ended].returncode}), so all servers were stopped",
            file=sys.stderr,
        )
        return 1
    return 0


def monitor(dagster: int, address: str) -> None:
    """Mark lost runs as failed, and restart a code server that died, which `dagster dev` does not do.

    Sensors need a code server, so the sensor that marks lost runs does not help here.
    """
    import psutil
    from dagster import DagsterInstance

    from assets import reaper

    try:
        with DagsterInstance.get() as instance:
            for run_id in reaper.reap(instance, always_mlflow=False):
                print(f"the process of run {run_id[:8]} is gone; the run is marked as failed", flush=True)
        children = [" ".join(child.cmdline()) for child in psutil.Process(dagster).children(recursive=True)]
    except (psutil.NoSuchProcess, OSError):
        return
    if any("dagster_webserver" in line for line in children) and not any(
        "dagster api grpc" in line for line in children
    ):
        query = json.dumps({"query": "mutation { reloadWorkspace { __typename } }"}).encode()
        request = urllib.request.Request(f"{address}/graphql", query, {"Content-Type": "application/json"})
        with contextlib.suppress(OSError):  # not up yet, or already restarting: try again at the next check
            urllib.request.urlopen(request, timeout=30).read()
            print("the code server died and was restarted", flush=True)


def acquire(home: Path) -> int:
    """Acquire the lock, after ending the servers of a killed supervisor. Raises CannotStart if another one runs."""
    lock = os.open(home / "ui.lock", os.O_RDWR | os.O_CREAT, 0o644)
    held = not try_lock(lock)
    note = read_note(home)
    if held and (note is None or is_supervisor(note["supervisor"])):
        raise CannotStart("The UI is already running for this folder; stop it first (Ctrl-C where it was started).")
    if note is not None:  # a supervisor that exits normally removes its note
        print("an earlier UI was killed; stopping its servers", flush=True)
        end_groups([group for group in note["groups"] if is_ours(group)])
    deadline = time.monotonic() + SECONDS_TO_STOP
    while not try_lock(lock):
        if time.monotonic() > deadline:
            raise CannotStart(f"Processes of an earlier UI still hold {home / 'ui.lock'}; stop them first.")
        time.sleep(0.2)
    return lock


def try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def read_note(home: Path) -> dict[str, Any] | None:
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
    """Whether a process group has servers that a UI started, and is no other group that reused the id."""
    import psutil

    for process in psutil.process_iter(["pid", "cmdline"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.info["pid"]) == group:
                line = " ".join(process.info["cmdline"] or [])
                if "dagster" in line or "mlflow" in line or "assets.report_server" in line:
                    return True
    return False


def end_groups(groups: list[int]) -> None:
    """End the process groups with SIGINT, then SIGTERM, then SIGKILL. Dagster ends the runs that are still going."""
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


def require_free_ports(options: argparse.Namespace) -> None:
    """Raises CannotStart with the option to change if a port is taken, or chosen for two servers."""
    chosen: set[int] = set()
    for option in PORTS:
        port = getattr(options, option)
        why = "another server of this command has it" if port in chosen else taken(options.host, port)
        if why:
            raise CannotStart(
                f"Port {port} cannot be used ({why}); choose another: make ui {option.upper()}=…"
                f" (or slm ui --{option.replace('_', '-')} …)"
            )
        chosen.add(port)


def taken(host: str, port: int) -> str:
    """Why nothing can listen there; "" if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
