"""The program that a person with a GPU runs once: here on small networks, without one."""

import json
from pathlib import Path

import pytest
import torch

from pipeline import recipe
from pipeline.training.loop import Loop
from pipeline.training.planning.tracing import Step
from scripts import gpu_check

RECIPES = Path(__file__).parent.parent / "recipes"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(place: Path, *recipes: str) -> int:
    files = [str(RECIPES / f"{name}.yaml") for name in recipes]
    return gpu_check.main(
        ["--device", "cpu", "--tiny", "--steps", "1", "--json", str(place / "found.json"), "--recipes", *files]
    )


def test_every_training_of_a_recipe_is_planned_and_run(tmp_path, capsys):
    assert run(tmp_path, "demo", "korean-85m") == 0
    found = json.loads((tmp_path / "found.json").read_text())
    trainings = {(row["recipe"], row["training"]): row for row in found["trainings"]}
    kinds = [("demo", kind) for kind in ("pretraining", "sft", "preference")]
    assert set(kinds) | {("korean-85m", "pretraining"), ("korean-85m", "sft")} == set(trainings)
    for row in trainings.values():
        assert row["planned_total_mib"] > row["planned_mib"] > 0 and row["measured_tokens_per_second"] > 0
        assert row["repeatable"] and row["wrong"] == "" and row["rows"] == 4 and row["waits"] is None
    assert found["made_on"]["torch"] == torch.__version__
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 4 + len(trainings) and len({line.count("|") for line in table[2:]}) == 1


def test_other_weights_the_second_time_are_noticed(tmp_path, capsys, monkeypatch):
    calls = []

    def advance(loop: Loop) -> None:
        calls.append(loop)
        if len(calls) in (4, 5):  # after two steps, and one that is timed, the second start
            next(loop.model.parameters()).data.add_(1.0)

    monkeypatch.setattr(Loop, "_advance", advance)
    assert run(tmp_path, "korean-85m") == 1
    assert "other weights the second time" in capsys.readouterr().out


def test_what_does_not_keep_to_the_plan_is_named():
    row = {"measured_mib": 10, "planned_mib": 9, "waits": 2, "repeatable": True}
    assert gpu_check.wrong(row, "cuda") == "more memory than planned, waits within a step"
    assert gpu_check.wrong({**row, "measured_mib": 9, "waits": 1}, "cuda") == ""


def test_without_a_card_one_sentence_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main(["--json", str(tmp_path / "found.json")]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("torch finds no GPU here") and said.err.count("\n") == 1
    assert not (tmp_path / "found.json").exists()


def test_the_kernel_is_the_one_that_the_network_asks_for():
    demo = recipe.load(RECIPES / "demo.yaml")
    config = demo.model.model_copy(update={"vocab_size": 256})
    case = gpu_check.Case("sft", config, demo.sft, "bf16", 1, 1, 1, 1)
    assert gpu_check.kernel_of(case, Step(1)) == "cpu"
    assert gpu_check.kernel_of(case, Step(1, gpu=(8, 0))) == "flash"
    assert gpu_check.kernel_of(case, Step(1, gpu=(8, 0), masked=True)) == "efficient"
