"""Two processes on this machine (gloo): the same curve as one, the same bits after a resume, and sharded weights."""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file

from pipeline.errors import UserError
from pipeline.store.bytes_check import Damaged
from pipeline.store.disk import DiskTrouble
from pipeline.training import distributed
from pipeline.training.stopping import Stopped

ROOT = Path(__file__).parents[2]
PROGRAM = "tests.training.distributed_program"


def start(place: Path, processes: int, **options) -> subprocess.Popen:
    place.mkdir(parents=True, exist_ok=True)
    head = [sys.executable, "-m"]
    if processes > 1:
        head += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*head, PROGRAM, str(place), json.dumps(options)], cwd=ROOT, env=environment, start_new_session=True
    )


def finish(process: subprocess.Popen) -> None:
    assert process.wait(280) == 0  # some seconds on an idle machine


def curve(place: Path) -> list[tuple[float, float]]:
    log = pl.read_parquet(place / "log.parquet")
    return list(log.select("loss", "grad_norm").iter_rows())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_are_one(tmp_path):
    # The same eight sequences a step, cut 2 x 4 on one process and 2 x 2 on each of two. fp64 takes AdamW's
    # amplification of rounding out of the comparison; dropout would differ by rank, so there is none.
    runs = {"one": (1, {}), "two": (2, {}), "sharded": (2, {"sharded": True})}
    started = {name: start(tmp_path / name, n, steps=12, double=True, **more) for name, (n, more) in runs.items()}
    for process in started.values():
        finish(process)
    one = curve(tmp_path / "one")
    for name in ("two", "sharded"):
        for expected, found in zip(one, curve(tmp_path / name), strict=True):
            assert found == pytest.approx(expected, abs=1e-5)
        figures = json.loads((tmp_path / name / "figures.json").read_text())
        assert figures == pytest.approx(json.loads((tmp_path / "one" / "figures.json").read_text()), abs=1e-5)
        assert (tmp_path / name / "lines-0.txt").read_text() and not (tmp_path / name / "lines-1.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_warn_of_nothing(tmp_path, monkeypatch, capfd, sharded):
    monkeypatch.setenv("PYTHONWARNINGS", "always")
    finish(start(tmp_path, 2, steps=2, sharded=sharded))
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_resume_with_the_same_bits(tmp_path):
    options = {"steps": 14, "dropout": 0.1, "settings": {"checkpoint_every": 3, "ema": 0.9}}
    whole = start(tmp_path / "whole", 2, **options)
    stopped = start(tmp_path / "stopped", 2, **options, stop_after=22)
    finish(whole)
    finish(stopped)
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    finish(start(tmp_path / "stopped", 2, **options))
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]
    assert "resuming from the checkpoint of step" in (tmp_path / "stopped" / "lines-0.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_with_9_at_five_random_places(tmp_path, processes):
    options = {"steps": 40, "dropout": 0.1, "settings": {"checkpoint_every": 4, "evaluate_every": 10}}
    whole = start(tmp_path / "whole", processes, **options)
    chance = random.Random(20)
    for _ in range(5):
        # Counted in questions whether to stop, of which a step asks three: so it is within a step, or a measurement.
        killed = start(tmp_path / "killed", processes, **options, kill_after=chance.randint(14, 34))
        assert killed.wait(280) != 0
        assert not (tmp_path / "killed" / "model.safetensors").exists()
    finish(start(tmp_path / "killed", processes, **options))
    finish(whole)
    assert "resuming from the checkpoint of step" in (tmp_path / "killed" / "lines-0.txt").read_text()
    assert curve(tmp_path / "whole") == curve(tmp_path / "killed")
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed")]
    assert all(bool((weights[0][name] == weights[1][name]).all()) for name in weights[0])


def told(place: Path, where: str) -> list[dict[str, object]]:
    """What two processes of `ranks_program` found."""
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "tests.training.ranks_program",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command, str(place), where], cwd=ROOT, env=environment, check=True, timeout=200)
    return [json.loads((place / f"found-{rank}.json").read_text()) for rank in range(2)]


def test_what_keeps_the_draft_of_one_rank_keeps_it_on_all():
    for error, stays in ((DiskTrouble("full"), True), (Damaged("changed"), True), (UserError("wrong"), False)):
        told = pickle.loads(pickle.dumps(distributed.for_all(error)))  # as ranks send it to one another
        assert isinstance(told, distributed.RefusedByAll) and (str(told), told.draft_stays) == (str(error), stays)
    assert isinstance(distributed.for_all(Stopped("stop")), distributed.StoppedByAll)


@pytest.mark.timeout(600)
def test_ranks_agree_on_what_fits_the_one_with_the_least_memory(tmp_path):
    first, second = told(tmp_path, "alone")
    assert first == second
    assert first["one has less"] == 1 < first["both have much"]
    assert str(first["one has too little"]).startswith("UserError: One micro-batch of 1 sequences of 1024 tokens needs")
    assert first["one fails early"] == "RefusedByAll: no file on rank 1"
    assert first["one is stopped"] == "StoppedByAll: stop"
    assert first["the first decides"] == "rank 0" and first["after all that"] == 5.0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("where", "message"), [("while it prepares", "rank 1 has no room"), ("in the store", "is not writable")]
)
def test_what_one_rank_refuses_all_refuse_with_the_same_sentence(tmp_path, where, message):
    first, second = told(tmp_path, where)
    refusals = [str(found["model"]).partition(": ")[2] for found in (first, second)]
    assert refusals[0] == refusals[1] and message in refusals[0]
