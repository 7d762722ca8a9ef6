"""Checkpoints of sharded weights: each process writes its part, and any number of processes reads them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from pipeline.store.disk import DiskTrouble
from pipeline.training import checkpoint, checkpoint_parts
from pipeline.training.checkpoint import log_table
from pipeline.training.distributed import Ranks
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import LoopSettings
from tests.training import toy
from tests.training.test_distributed import finish, start

STEPS = 12
SETTINGS = {"checkpoint_every": 1, "ema": 0.9}


@pytest.fixture
def alone_in_a_group():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def alone(place: Path, stop_after: int = 10**6) -> list[tuple[float, float]]:
    """Train in this process; returns the curve."""
    place.mkdir(exist_ok=True)
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > stop_after

    model = toy.network(dropout=0.0).double()
    settings = LoopSettings(**SETTINGS)  # type: ignore[arg-type]
    _, trained = toy.run(place / "checkpoints", settings, model, steps=STEPS, should_stop=should_stop)
    return list(log_table(trained.log).select("loss", "grad_norm").iter_rows())


def on_processes(place: Path, processes: int, stop_after: int) -> None:
    """Train sharded from the last checkpoint until a stop."""
    before = last(place)
    finish(start(place, processes, steps=STEPS, double=True, sharded=True, settings=SETTINGS, stop_after=stop_after))
    # Of a tensor, the length of the gradient alone has been gathered.
    assert {json.loads((place / f"gathered-{rank}.json").read_text()) for rank in range(processes)} == {1}
    step = checkpoint.step_of(before)
    assert f"resuming from the checkpoint of step {step} of" in (place / "lines-0.txt").read_text()
    assert step < checkpoint.step_of(last(place)) < STEPS
    assert checkpoint.read_state(last(place))["parts"] == processes


def last(place: Path) -> Path:
    return checkpoint.all_in(place / "checkpoints")[-1]


@pytest.mark.timeout(900)
def test_a_run_goes_on_in_any_number_of_processes(tmp_path):
    # A step asks three times whether to stop.
    with pytest.raises(Stopped):
        alone(tmp_path, stop_after=9)
    on_processes(tmp_path, 2, stop_after=9)
    on_processes(tmp_path, 4, stop_after=9)
    place = last(tmp_path)
    parts = sorted(place.glob("shard-*"))
    assert len(parts) == 4 and not (place / "model.safetensors").exists()
    sizes = [path.stat().st_size for path in parts]
    assert max(sizes) < 1.3 * min(sizes)

    damaged = tmp_path / place.name
    shutil.copytree(place, damaged)
    assert checkpoint.problem(damaged) is None
    content = bytearray(parts[2].read_bytes())
    content[-1] ^= 1
    (damaged / parts[2].name).write_bytes(content)
    assert checkpoint.problem(damaged) == f"{parts[2].name} is not what was written"
    (damaged / parts[2].name).unlink()
    assert checkpoint.problem(damaged) == f"{parts[2].name} is missing"

    for found, expected in zip(alone(tmp_path), alone(tmp_path / "undisturbed"), strict=True):
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_folder_that_another_process_does_not_see_is_noticed(tmp_path):
    assert checkpoint_parts.seen_by_all(Ranks(), tmp_path)
    assert not checkpoint_parts.seen_by_all(Ranks(rank=1), tmp_path)  # it writes nothing to see
    assert not list(tmp_path.iterdir())


def test_a_part_is_in_files_of_bounded_size_and_what_it_holds_is_read_back(tmp_path, monkeypatch, alone_in_a_group):
    monkeypatch.setattr(checkpoint_parts, "FILE_BYTES", 40)
    tensors = {"a": torch.arange(10.0), "b": torch.arange(4), "c/step": torch.tensor(3.0)}
    found = checkpoint_parts.write({"optimiser": tensors, "average": {}}, tmp_path, 0)
    assert sorted(found) == sorted(path.name for path in tmp_path.iterdir()) and len(found) == 2
    read = checkpoint_parts.read_whole(tmp_path, "optimiser")
    assert read.keys() == tensors.keys() and all(torch.equal(read[name], tensors[name]) for name in read)
    assert checkpoint_parts.read_whole(tmp_path, "average") == {}


def test_a_part_that_cannot_be_written_is_told_in_one_sentence(tmp_path, alone_in_a_group):
    (tmp_path / "file").touch()
    with pytest.raises(DiskTrouble, match=r"Process 0 could not write its part of the checkpoint step-00000003"):
        checkpoint_parts.write({"model": {"a": torch.ones(2)}}, tmp_path / "file" / "step-00000003.part", 0)
