"""The loop: it learns, is reproducible to the bit, resumes exactly, and stops when asked."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import UserError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import log_table
from pipeline.training.optimiser import Optimiser
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import LoopSettings
from tests.training import toy

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_learns_and_logs_each_step(tmp_path):
    _, trained = toy.run(tmp_path / "c", steps=60)
    assert [row["step"] for row in trained.log] == list(range(1, 61))
    assert trained.log[-1]["loss"] < 0.8 * trained.log[0]["loss"]
    assert trained.log[-1]["tokens"] == 60 * 8 * 16
    measured = [row["step"] for row in trained.log if row.get("validation_loss") is not None]
    assert measured == list(range(6, 61, 6))
    assert trained.figures["validation_loss"] == trained.log[-1]["validation_loss"]


def test_the_same_run_twice_gives_the_same_bits(tmp_path):
    first, log = toy.run(tmp_path / "a")
    second, again = toy.run(tmp_path / "b")
    assert toy.same(first, second) and log.log == again.log
    other, _ = toy.run(tmp_path / "c", model=toy.network(seed=1))
    assert not toy.same(first, other)


@pytest.mark.parametrize("settings", [
    LoopSettings(keep_checkpoints=9),
    LoopSettings(optimiser="muon", ema=0.9, schedule="cosine", checkpoint_every=3, select="best"),
    LoopSettings(optimiser="adamw", schedule="wsd", z_loss=1e-4, activation_checkpointing=True, loss_chunk=16),
])  # fmt: skip
def test_a_run_that_stops_at_any_step_ends_with_the_same_bits(tmp_path, settings):
    whole, log = toy.run(tmp_path / "whole", settings)
    for stop_at in (0, 1, 7, 12):
        directory, asked = tmp_path / f"stopped-{stop_at}", []

        def should_stop(at=stop_at, asked=asked, directory=directory):
            # Asked before each micro-batch, the middle of a step included.
            asked.append(1)
            return len(asked) > 3 * at + 1

        with pytest.raises(Stopped, match="resumes from it"):
            toy.run(directory, settings, should_stop=should_stop)
        resumed, again = toy.run(directory, settings)
        assert toy.same(whole, resumed), f"stopped after step {stop_at}"
        assert log_table(log.log).equals(log_table(again.log)) and log.figures == again.figures


PROGRAM = """
import sys, os, pathlib, torch
torch.set_num_threads(1)
sys.path.insert(0, {root!r})
from tests.training import toy
from pipeline.training.training_settings import LoopSettings
from safetensors.torch import save_file
model, trained = toy.run(pathlib.Path({place!r}) / "checkpoints", LoopSettings(checkpoint_every=2, ema=0.5), steps=40,
                         progress=None, log=lambda line: print(line, flush=True))
save_file(model.state_dict(), pathlib.Path({place!r}) / "model.safetensors")
print("finished", flush=True)
"""


def start(place: Path) -> subprocess.Popen:
    place.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(root=str(ROOT), place=str(place))], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_kill_9_at_any_moment_and_the_same_command_end_with_the_same_file(tmp_path):
    whole = start(tmp_path / "whole")
    killed = start(tmp_path / "killed")
    assert whole.wait(60) == 0
    kills = 0
    for seen in (1, 5, 9):  # checkpoints that are there when the signal comes
        while killed.poll() is None:
            places = sorted((tmp_path / "killed" / "checkpoints").glob("step-*[0-9]"))
            if places and int(places[-1].name[5:]) >= 2 * seen:
                killed.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        killed.wait(60)
        killed = start(tmp_path / "killed")
    assert killed.wait(60) == 0 and kills >= 2
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "killed/model.safetensors").read_bytes()


def test_a_signal_brings_a_checkpoint_and_a_clean_end(tmp_path):
    import os

    def progress(figures):
        os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    started = time.monotonic()
    with pytest.raises(Stopped):
        toy.run(tmp_path / "c", steps=100_000, progress=progress, validation_batches=0)
    assert time.monotonic() - started < 5
    assert signal.getsignal(signal.SIGTERM) is handler
    assert list((tmp_path / "c").glob("step-*/state.json")) and not list((tmp_path / "c").glob("*.part"))


def test_accumulation_does_not_change_the_gradient(tmp_path):
    # Targets are left out unevenly, so a mean of means would differ. In fp64, since AdamW's first moves are nearly
    # the signs of the gradients and blow rounding up to 1e-4 within ten steps.
    def batch_of(accumulation):
        plain = toy.objective(accumulation=accumulation).batch

        def batch(step, micro):
            found = {name: tensor.clone() for name, tensor in plain(step, micro).items()}
            first = micro * (8 // accumulation)
            for i, row in enumerate(found["targets"]):
                row[: 2 * (first + i)] = -100
            return found

        return batch

    losses = []
    for accumulation in (1, 4):
        model = toy.network(dropout=0.0).double()
        _, trained = toy.run(
            tmp_path / str(accumulation), model=model, accumulation=accumulation, batch=batch_of(accumulation)
        )
        losses.append([(row["loss"], row["grad_norm"]) for row in trained.log])
    for one, other in zip(*losses):
        assert one == pytest.approx(other, abs=1e-6)


def test_clipping_and_the_schedule_are_as_logged(tmp_path):
    _, trained = toy.run(
        tmp_path / "c", LoopSettings(clip=0.5, warmup=0.25, schedule="linear", final_learning_rate=0.0)
    )
    rates = [row["learning_rate"] for row in trained.log]
    assert rates[:4] == pytest.approx([0.00075, 0.0015, 0.00225, 0.003])
    assert rates[-1] == pytest.approx(3e-3 / 9)
    assert all(row["grad_norm"] > 0 for row in trained.log)


def poisoned(at, value=float("nan")):
    """A batch whose loss is not a number, whichever way the loop comes to it."""

    def loss(model, batch):
        total, _ = model(batch["tokens"], batch["targets"])
        return (total * value if bool(batch["bad"].any()) else total), {}

    plain = toy.objective().batch

    def batch(step, micro):
        return {**plain(step, micro), "bad": torch.tensor([step in at])}

    return {"loss": loss, "batch": batch}


def test_a_loss_that_is_no_number_is_left_out_and_recorded(tmp_path):
    lines = []
    settings = LoopSettings(checkpoint_every=2)
    model, trained = toy.run(tmp_path / "c", settings, log=lines.append, **poisoned({5}))
    assert trained.skipped == [5]
    assert [row["step"] for row in trained.log if row["skipped"]] == [6]
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert any("step 6: the loss is nan; rolled back to step 4" in line for line in lines)
    # Going back changes nothing but the step that was left out.
    again, _ = toy.run(tmp_path / "d", LoopSettings(checkpoint_every=5), **poisoned({5}))
    assert toy.same(model, again)


def test_a_run_that_always_breaks_gives_up_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"rolled back 3 times: lower learning_rate \(now 0.003\)"):
        toy.run(tmp_path / "c", LoopSettings(max_rollbacks=3), **poisoned(set(range(4, 100))))


def test_a_spike_is_left_out(tmp_path):
    _, trained = toy.run(tmp_path / "c", steps=132, validation_batches=0, **poisoned({130}, value=30.0))
    assert trained.skipped == [130]
    _, lenient = toy.run(
        tmp_path / "d", LoopSettings(spike_sigmas=0), steps=132, validation_batches=0, **poisoned({130}, value=30.0)
    )
    assert lenient.skipped == []


def test_weights_that_broke_are_never_checkpointed(tmp_path, monkeypatch):
    # The loss and gradient of step 8 are finite, the weights after it are not.
    bad = []

    def loss(model, batch):
        bad[:] = [bool(batch["bad"].any())]
        return model(batch["tokens"], batch["targets"])[0], {}

    def step(self, factor, scaler=None):
        plain(self, factor, scaler)
        if bad[0]:
            next(iter(self.names)).data.fill_(float("inf"))

    plain = Optimiser.step
    monkeypatch.setattr(Optimiser, "step", step)
    # A measurement that follows at once knows which step it was; the next step's loss tells of itself first.
    for directory, changes, skipped in (
        (tmp_path / "a", {}, [7]),
        (tmp_path / "b", {"validation_batches": 0}, [7, 8, 9]),
    ):
        settings = LoopSettings(checkpoint_every=1, keep_checkpoints=20)
        model, trained = toy.run(directory, settings, **{**poisoned({7}), "loss": loss, **changes})
        assert trained.skipped == skipped
        for place in directory.glob("step-*"):
            assert all(torch.isfinite(t).all() for t in checkpoint.read_tensors(place, "model").values())
        assert all(torch.isfinite(p).all() for p in model.parameters())


def test_out_of_memory_says_what_to_change(tmp_path):
    def loss(model, batch):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
            " bytes"
        )

    with pytest.raises(UserError, match="Out of memory in toy: set sequences to 2"):
        toy.run(tmp_path / "c", loss=loss, out_of_memory=lambda: "set sequences to 2")


def test_best_takes_the_weights_of_the_lowest_validation_loss(tmp_path):
    figures = iter([3.0, 1.0, 2.0, 2.5])
    changes = {"summary": lambda sums: {"validation_loss": next(figures)}}
    best, trained = toy.run(
        tmp_path / "c", LoopSettings(select="best", evaluate_every=3, keep_checkpoints=1), **changes
    )
    assert trained.figures == {"validation_loss": 1.0}
    kept = load_file(tmp_path / "c" / "step-00000006" / "model.safetensors")
    assert all(torch.equal(kept[name], p) for name, p in best.named_parameters())


def test_the_average_is_what_is_kept(tmp_path):
    model, _ = toy.run(tmp_path / "c", LoopSettings(ema=0.9))
    plain, _ = toy.run(tmp_path / "d", LoopSettings())
    assert not toy.same(model, plain)
    average = load_file(tmp_path / "c" / "step-00000012" / "average.safetensors")
    assert all(torch.equal(average[name], p) for name, p in model.named_parameters())


def test_checkpoints_hold_no_pickle_and_old_ones_go(tmp_path):
    toy.run(tmp_path / "c", LoopSettings(checkpoint_every=1, keep_checkpoints=2, evaluate_every=5))
    files = {path.name for path in (tmp_path / "c").glob("*/*")}
    assert files == {"model.safetensors", "optimiser.safetensors", "log.parquet", "state.json"}
    steps = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert len(steps) <= 3 and steps[-1] == "step-00000012"


def test_the_average_of_the_weights_forgets_the_random_start(tmp_path):
    """With a constant decay of 0.999, 150 steps would leave 86 % of the random weights in the average."""
    _, plain = toy.run(tmp_path / "plain", steps=150)
    _, averaged = toy.run(tmp_path / "averaged", LoopSettings(ema=0.999), steps=150)
    assert averaged.figures["validation_loss"] < plain.figures["validation_loss"] + 0.1


def test_the_average_weighs_the_updates_as_its_source_says(tmp_path):
    """By hand: the weights after each update, with the decay of TensorFlow's ExponentialMovingAverage."""
    weights = []
    for steps in range(1, 5):
        settings = LoopSettings(schedule="wsd", warmup=0, decay=0)  # the rate does not depend on the number of steps
        weights.append(toy.run(tmp_path / f"{steps}", settings, steps=steps)[0].state_dict())
    expected = {name: tensor.clone() for name, tensor in toy.network().state_dict().items()}
    for n, after in enumerate(weights):
        decay = min(0.2, (1 + n) / (10 + n))
        expected = {name: decay * average + (1 - decay) * after[name] for name, average in expected.items()}
    settings = LoopSettings(schedule="wsd", warmup=0, decay=0, ema=0.2)
    averaged, _ = toy.run(tmp_path / "averaged", settings, steps=4)
    for name, tensor in averaged.state_dict().items():
        assert torch.allclose(tensor, expected[name], atol=1e-6), name


def measured_as(losses: list[float]) -> dict:
    """Changes to the toy by which its validations give these losses, one after another, by step."""

    def measure(model, index):
        return {"nats": 0.0, "targets": 1.0}

    return {"measure": measure, "summary": lambda sums: {"validation_loss": losses.pop(0) if losses else 9.0}}


def test_patience_ends_a_run_that_no_longer_improves(tmp_path):
    settings = LoopSettings(evaluate_every=2, patience=2, select="best")
    lines = []
    model, result = toy.run(
        tmp_path / "a", settings, steps=20, log=lines.append, **measured_as([3.0, 2.0, 2.5, 2.1, 1.0])
    )
    assert len(result.log) == 8 and result.figures["validation_loss"] == 2.0
    assert any(
        "stopped early at step 8 of 20: the last 2 validations gave no lower loss than 2.0000" in x for x in lines
    )
    whole = LoopSettings(evaluate_every=2, select="best")
    at_step_4, _ = toy.run(tmp_path / "b", whole, steps=20, **measured_as([3.0, 2.0, 2.5, 2.1]))
    assert toy.same(model, at_step_4)


def test_patience_counts_from_the_lowest_loss(tmp_path):
    settings = LoopSettings(evaluate_every=2, patience=2)
    _, result = toy.run(tmp_path, settings, steps=12, **measured_as([3.0, 3.5, 2.0, 2.5, 1.9, 2.0]))
    assert len(result.log) == 12


def test_a_resumed_run_ends_at_the_same_step(tmp_path):
    settings = LoopSettings(evaluate_every=2, patience=2, checkpoint_every=1)
    losses = [3.0, 2.0, 2.5, 2.1, 1.0]
    whole, _ = toy.run(tmp_path / "whole", settings, steps=20, **measured_as(list(losses)))
    given = measured_as(losses)  # what is left of them is what the resumed run measures
    calls = []
    with pytest.raises(Stopped):
        toy.run(tmp_path / "cut", settings, steps=20, should_stop=lambda: calls.append(1) or len(calls) > 22, **given)
    assert 1 < len(losses) < 5
    again, result = toy.run(tmp_path / "cut", settings, steps=20, **given)
    assert len(result.log) == 8 and toy.same(whole, again)
    once_more, result = toy.run(tmp_path / "cut", settings, steps=20, **given)  # killed before its model was written
    assert len(result.log) == 8 and toy.same(whole, once_more)
