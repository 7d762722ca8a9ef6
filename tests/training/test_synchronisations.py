"""How often a training waits for the device: counted on a card that is not there (`pretended_card.py`)."""

import json
import os
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.utils.deterministic

from pipeline.training import loop, machine, transfer
from pipeline.training.objectives import fine_tuning
from pipeline.training.objectives.objective import Prefetcher, TrainingResult
from pipeline.training.training_settings import SftSettings
from tests.making import context
from tests.training import pretended_card, toy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def counted() -> dict[str, dict]:
    program = [sys.executable, "-m", "tests.training.pretended_card"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", pretended_card.CASES)
def test_a_step_fetches_its_figures_once_and_waits_for_nothing_else(counted, case):
    assert counted[case] == {"fetches": 1, "waits": []}


@pytest.mark.parametrize("kind", pretended_card.KINDS)
def test_a_validation_fetches_its_figures_once(counted, kind):
    assert counted[f"validation of {kind}"] == {"fetches": 1, "waits": []}


def test_evaluation_waits_once_a_batch_and_generation_once_a_token(counted):
    assert counted["scored"] == {"fetches": 0, "waits": ["copy"] * 2}
    assert counted["generated"] == {"fetches": 0, "waits": ["copy"] * 5}
    assert counted["reference"]["waits"] == []


def test_whether_weights_are_finite_is_asked_once_for_all(counted):
    assert counted["finite"] == {"fetches": 0, "waits": ["item"]}


@pytest.mark.parametrize("mistake", pretended_card.MISTAKES)
def test_whatever_waits_is_counted(counted, mistake):
    assert len(counted[f"mistake: {mistake}"]["waits"]) >= 1


def test_batches_are_page_locked_and_counted_by_the_thread_that_reads_them(monkeypatch):
    threads = []

    def noted(what):
        return lambda batch, *more: (
            threads.append((what, threading.current_thread())) or (1.0 if what == "units" else {"pinned": batch})
        )

    monkeypatch.setattr(transfer, "pinned", noted("pinned"))
    data = Prefetcher(toy.objective(steps=2, accumulation=2, units=noted("units")), "cpu")
    try:
        batches, units = data.take(0)
        data.take(1)
    finally:
        data.close()
    assert [set(batch) for batch in batches] == [{"pinned"}, {"pinned"}] and units == 2.0
    assert [what for what, _ in threads] == ["units", "units", "pinned", "pinned"] * 2
    assert threading.main_thread() not in {thread for _, thread in threads}


def test_figures_are_summed_in_their_order_as_python_adds_their_values():
    values = {
        "loss": [torch.tensor(value) for value in (0.1, 1e8, -1e8, 0.3)],
        "count": [torch.tensor(3), torch.tensor(2**40)],
        "half": [torch.tensor(0.1, dtype=torch.bfloat16)],
        "mixed": [0.25, torch.tensor(0.5), 0.0],
        "none": [],
    }
    expected = {}
    for name, parts in values.items():
        expected[name] = 0.0
        for part in parts:
            expected[name] += float(part)
    assert transfer.fetch(values)() == expected
    assert transfer.fetch({"loss": [1.5]})() == {"loss": 1.5}


def test_a_gpu_computes_in_the_same_order_each_time_without_filling_what_is_empty(monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with machine.deterministic("cuda"):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    assert not torch.are_deterministic_algorithms_enabled() and torch.utils.deterministic.fill_uninitialized_memory
    with machine.deterministic("cpu"):
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_training_runs_in_it(monkeypatch, store, base, instructions):
    entered = []

    @contextmanager
    def deterministic(device):
        entered.append(device)
        yield
        entered.append("left")

    monkeypatch.setattr(machine, "deterministic", deterministic)
    monkeypatch.setattr(loop, "train", lambda *given: entered.append("trained") or TrainingResult([], {}, []))
    inputs = {"base": base, "instruction_data": instructions}
    fine_tuning.make(context(store), inputs, SftSettings(epochs=1, batch_tokens=256))
    assert entered == ["cpu", "trained", "left"]


def test_a_compiled_network_does_not_warn_of_tf32():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        network = machine.compiled(torch.nn.Linear(2, 2))
        warnings.warn(
            "TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled.", stacklevel=1
        )
        warnings.warn("something else", stacklevel=1)
    said = [str(warning.message) for warning in found if warning.category is UserWarning]
    assert said == ["something else"] and callable(network)
