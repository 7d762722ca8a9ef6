"""Dagster's history and MLflow's runs in a real PostgreSQL server, which several programs use from the start."""

import glob
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import tracking

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PASSWORD = "never-shown"
TOY = """
from dagster import Definitions, asset, define_asset_job, in_process_executor

@asset(pool="gpu")
def made():
    return None

defs = Definitions([made], jobs=[define_asset_job("toy_job", executor_def=in_process_executor)])
"""
TRACKED = """
import sys
from pipeline import tracking
with tracking.run("pretrained_model", sys.argv[1], {tracking.RECIPE: "toy"}, {"layers": 2}) as run:
    run.metrics({"train/loss": 3.0}, step=1)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A PostgreSQL server of the tests' own on a free port, with empty databases; skips where none is installed."""
    pytest.importorskip("dagster_postgres", reason="pip install -e '.[deploy]'")
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb") or ""]
    if not found[-1]:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    if os.getuid() == 0 and not shutil.which("runuser"):
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    tools = Path(found[-1]).parent
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(subprocess.run([*as_user, "mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/", "check": True}
    cluster = str(folder / "cluster")
    subprocess.run([*as_user, tools / "initdb", "-D", cluster, "-A", "trust", "-U", "slm", "--no-sync"], **quiet)
    control = [*as_user, tools / "pg_ctl", "-D", cluster, "-l", str(folder / "log"), "-w"]
    subprocess.run([*control, "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -F", "start"], **quiet)
    try:
        for name in ("dagster", "mlflow"):
            subprocess.run([tools / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "slm", name], **quiet)
        yield {
            "SLM_POSTGRES_HOST": "127.0.0.1",
            "SLM_POSTGRES_USER": "slm",
            "SLM_POSTGRES_PASSWORD": PASSWORD,
            "SLM_POSTGRES_DB": "dagster",
            "PORT": port,
        }
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(folder, ignore_errors=True)


def finished(*processes: "subprocess.Popen[str]") -> list[str]:
    """What the processes said; each has succeeded."""
    said = []
    for process in processes:
        out, errors = process.communicate(timeout=280)
        assert process.returncode == 0, (out + errors)[-3000:]
        said.append(out + errors)
    return said


@pytest.mark.timeout(300)
def test_two_programs_at_once_on_an_empty_database_and_then_two_jobs_end_well(
    server: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "dagster_home"
    home.mkdir()
    settings = (ROOT / "docker" / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(settings.replace("port: 5432", f"port: {server['PORT']}"))
    (tmp_path / "toy.py").write_text(TOY)
    environment = {**os.environ, **server, "DAGSTER_HOME": str(home), "DAGSTER_MODULE_NAME": "toy"}
    environment["PYTHONPATH"] = str(tmp_path)

    def start(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(BIN / "dagster"), *words], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    said = finished(start("run", "list"), start("run", "list"))
    # As docs/guide/many-people.md says: of two runs that are the first of a pool, Dagster fails one on PostgreSQL.
    said += finished(start("instance", "concurrency", "set", "gpu", "1"))
    said += finished(start("job", "execute", "-j", "toy_job"), start("job", "execute", "-j", "toy_job"))
    (listed,) = finished(start("run", "list"))
    assert listed.count("toy_job") == 2, listed
    assert not any(PASSWORD in text for text in (*said, listed))


@pytest.mark.timeout(300)
def test_two_trainings_that_start_at_once_on_an_empty_database_are_both_tracked(
    server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"postgresql+psycopg2://slm:{PASSWORD}@127.0.0.1:{server['PORT']}/mlflow"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(ROOT), "SLM_OWNER": "ara"}
    environment.pop("SLM_TRACKING", None)
    said = finished(*(
        subprocess.Popen(
            [sys.executable, "-c", TRACKED, name], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("first", "second")
    ))  # fmt: skip
    assert not any(PASSWORD in text for text in said)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    client = tracking.connect()
    (experiment,) = (of for of in client.search_experiments() if of.name == "toy")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["first", "second"]
    assert all(run.info.status == "FINISHED" and run.data.metrics["train/loss"] == 3.0 for run in runs)
    assert {run.data.tags[tracking.OWNER] for run in runs} == {"ara"}
