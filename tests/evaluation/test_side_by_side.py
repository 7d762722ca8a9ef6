"""`slm evaluate`: models of a store and of any folder, on the same questions, and no ranking inside the noise."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner

from model import export
from pipeline.cli import main
from pipeline.evaluation import side_by_side_tables
from pipeline.training import kept_weights
from tests.evaluation.conftest import WORDS


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, made):
    """A recipe with two tasks, whose store is the fixture's."""
    folder = tmp_path_factory.mktemp("recipe")
    rows = [
        {"question": f"{WORDS[i % 9]} {i}", "choices": [WORDS[i % 7], WORDS[(i + 3) % 11] + "s"], "answer": i % 2}
        for i in range(130)
    ]
    (folder / "own.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (folder / "few.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:12]))
    (folder / "recipe.yaml").write_text(
        "name: test\nsources: [{name: s, kind: files, path: own.jsonl}]\n"
        "evaluation:\n  tasks:\n    - {name: own, path: own.jsonl}\n    - {name: few, path: few.jsonl, shots: [0, 2]}\n"
    )
    return folder / "recipe.yaml"


@pytest.fixture
def slm(recipe, made, monkeypatch):
    monkeypatch.setenv("SLM_DATA", str(made.store.root))
    return lambda *words: CliRunner().invoke(main, ["--recipe", str(recipe), "evaluate", *map(str, words)])


def test_models_of_the_store_and_of_a_folder_stand_side_by_side(slm, made, tmp_path):
    first, second = made.inputs["model"].directory, made.second_model.directory
    before = {path.name for path in made.store.root.rglob("*") if not path.name.startswith(".")}
    found = slm(first, second, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "against the first" in found.output and "undecided" in found.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["models"]) == {str(first), str(second)} and set(results["differences"]) == {str(second)}
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    counts = items.group_by("task", "shots", "labels").len().sort("task", "shots", "labels").rows()
    assert counts == [
        ("few", 0, "given", 20),
        ("few", 2, "drawn", 20),
        ("few", 2, "given", 20),
        ("own", 0, "given", 200),
    ]
    assert "| own |" in (tmp_path / "out" / "results.md").read_text()
    after = {path.name for path in made.store.root.rglob("*") if not path.name.startswith(".")}
    assert after == before, "measuring models changes nothing in the store"


def test_a_model_against_itself_is_undecided(slm, made, tmp_path):
    same = tmp_path / "same"
    same.symlink_to(made.inputs["model"].directory)
    found = slm(made.inputs["model"].directory, same, "--suite", "full", "--task", "own")
    assert found.exit_code == 0, found.output
    lines = [line for line in found.output.splitlines() if line.startswith("own")]
    assert len(lines) == 2 and lines[1].endswith("undecided") and "130" in lines[0]


def test_a_model_in_another_tools_layout_gives_the_same_figures(slm, made, tmp_path):
    """The folder as transformers has it: without this project's own files."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (theirs / name).write_bytes((made.inputs["model"].directory / name).read_bytes())
    found = slm(made.inputs["model"].directory, theirs, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    items = pl.read_parquet(tmp_path / "out" / "items.parquet").sort("task", "shots", "labels", "item")
    ours, others = items.partition_by("model", maintain_order=True)
    for one, other in zip(ours["log_likelihoods"], others["log_likelihoods"], strict=True):
        assert one.to_list() == pytest.approx(other.to_list(), abs=1e-4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nothing",), "nothing"),
        ((".", "--task", "other"), "`other` is no task of the recipe: use one of own, few"),
        ((".", "."), "A model is named twice"),
        ((".",), "has no config.json"),
    ],
)
def test_a_mistake_is_one_sentence(slm, words, sentence, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = slm(*words)
    assert found.exit_code == 1 and sentence in found.output and "Traceback" not in found.output


def test_better_is_said_only_where_nothing_could_have_made_the_difference():
    def compared(value, right_within, bits, bits_within):
        return {
            "right": {"value": value, "decided": not right_within, "within": right_within},
            "bits_per_byte": {"value": bits, "decided": not bits_within, "within": bits_within},
        }

    verdict = side_by_side_tables.verdict
    assert verdict(compared(0.1, [], -0.2, [])) == "better"
    assert verdict(compared(-0.1, [], 0.2, [])) == "worse"
    assert verdict(compared(0.1, ["questions"], -0.2, ["questions"])) == "undecided"
    assert verdict(compared(0.1, ["questions"], -0.2, [])) == "undecided; by bits per byte better"
    assert verdict(compared(0.1, ["checkpoints", "seeds"], 0.2, [])) == (
        "undecided (checkpoints, seeds); by bits per byte worse"
    )


def test_a_difference_that_lies_within_the_noise_of_checkpoints_is_undecided(slm, made, tmp_path):
    """The second model is the first but for what makes it better, and its kept weights lie far apart."""
    folder = tmp_path / "with-kept"
    shutil.copytree(made.second_model.directory, folder)
    network = export.load(folder)
    rng = np.random.default_rng(1)
    for step in (10, 20, 30, 40):
        weights = {
            name: p.detach() + 0.5 * torch.from_numpy(rng.standard_normal(p.shape)).float()
            for name, p in network.named_parameters()
        }
        kept_weights.write(weights, folder, step)
    first = made.inputs["model"].directory
    assert slm(first, folder, "--task", "own", "--out", tmp_path / "with").exit_code == 0
    assert slm(first, folder, "--task", "own", "--no-checkpoints", "--out", tmp_path / "without").exit_code == 0
    found, plain = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("with", "without"))
    noise = found["noise"]["own"]["0_shot"]["bits_per_byte"]
    assert noise["noise"] == noise["checkpoints"] > 0 and noise["ratio"] > 0 and "seeds" not in noise
    assert "noise" not in plain["noise"]["own"]["0_shot"]["bits_per_byte"]
    bits = found["differences"][str(folder)]["own"]["0_shot"]["bits_per_byte"]
    assert abs(bits["value"]) < 2.7 * noise["noise"] and bits["within"][-1] == "checkpoints" and not bits["decided"]
    page = (tmp_path / "with" / "results.md").read_text()
    assert "## Signal and noise" in page and "undecided" in page
    assert "## Signal and noise" not in (tmp_path / "without" / "results.md").read_text()


def test_a_model_at_chance_is_said_to_be():
    found = {"at_chance": True, "chance": 0.25}
    assert side_by_side_tables.share_in_words(found) == "at chance (25%)"
