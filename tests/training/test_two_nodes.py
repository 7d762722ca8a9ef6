"""Two nodes on loopback, an agent of torchrun with one process each; one of them is killed and started again (gloo)."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = {"steps": 14, "dropout": 0.1, "settings": {"checkpoint_every": 3, "ema": 0.9}}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(place: Path, head: list[str], **options: object) -> subprocess.Popen[bytes]:
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pipeline.training.torchrun", *head, "--nproc-per-node"]
    command += ["1" if "--nnodes=2" in head else "2", "-m", "tests.training.distributed_program"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (place / "said.txt").open("ab") as said:
        return subprocess.Popen([*command, str(place), json.dumps(options)], cwd=ROOT, env=environment, stderr=said)


def node(place: Path, port: int, first: bool, restarts: int = 0, **options: object) -> subprocess.Popen[bytes]:
    """The agent of one of two nodes; the first holds the rendezvous."""
    head = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1"]
    head += [f"--rdzv-conf=is_host={int(first)},keep_alive_interval=1,last_call_timeout=1", "--rdzv-id=pair"]
    return start(place, [*head, f"--max-restarts={restarts}"], **options)


def left(place: Path) -> tuple[bytes, list[dict[str, object]]]:
    """The weights and the log of a run."""
    return (place / "model.safetensors").read_bytes(), pl.read_parquet(place / "log.parquet").to_dicts()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("sharded", [False, True])
def test_a_node_that_is_killed_and_comes_back_leaves_no_trace(tmp_path, sharded):
    # One node with two processes, and two with one each, of which the second is killed within a step.
    options = {**OPTIONS, "sharded": sharded}
    whole = start(tmp_path / "whole", ["--standalone"], **options)
    place, port = tmp_path / "nodes", free_port()
    first = node(place, port, True, restarts=3, **options)
    assert node(place, port, False, **options, kill_after=25, with_agent=True).wait(280) == -9
    assert not (place / "model.safetensors").exists()
    again = node(place, port, False, restarts=3, **options)
    assert [process.wait(280) for process in (first, again, whole)] == [0, 0, 0]
    assert left(place) == left(tmp_path / "whole")
    said = (place / "said.txt").read_text()
    assert "has lost contact with another one" in said and "Traceback" not in said
    assert any("resuming from the checkpoint of step" in lines.read_text() for lines in place.glob("lines-*.txt"))
