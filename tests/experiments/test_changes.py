"""The cells of an experiment: what each changes in the recipe, and what it is called."""

import pytest

from pipeline.errors import UserError
from pipeline.experiments import finding
from pipeline.experiments.changes import changed, changes_of
from pipeline.experiments.experiment_settings import Experiment
from pipeline.recipe import parse

CONTENT = {
    "name": "notes",
    "sources": [{"name": "letters", "weight": 1}, {"name": "diary"}],
    "model": {"layers": 4, "width": 64},
}
EVERY = {"curation": ("language", "quality")}


def names(**given: object) -> list[tuple[str, int | None]]:
    return [(change.setting, change.seed) for change in changes_of(Experiment.model_validate(given))]


def test_a_grid_is_the_product_of_its_values_and_the_seed_is_no_part_of_a_name():
    assert names(grid={"model.activation": ["swiglu", "relu2"], "pretraining.seed": [0, 1]}) == [
        ("activation swiglu", 0), ("activation swiglu", 1), ("activation relu2", 0), ("activation relu2", 1),
    ]  # fmt: skip


def test_cells_are_crossed_with_the_grid_and_may_have_names_of_their_own():
    cells = [{}, {"name": "averaged", "pretraining.ema": 0.99}, {"pretraining.ema": 0.9, "model.qk_norm": True}]
    found = names(cells=cells, grid={"model.layers": [2, 4], "seed": [7]})
    assert found == [
        ("layers 2", 7), ("layers 4", 7), ("averaged, layers 2", 7), ("averaged, layers 4", 7),
        ("ema 0.9, qk_norm on, layers 2", 7), ("ema 0.9, qk_norm on, layers 4", 7),
    ]  # fmt: skip
    assert names(cells=[{}, {"sources.letters": None}]) == [("as it is", None), ("without letters", None)]
    assert names(grid={"curation.*.enabled": [True, False]}) == [("with curation", None), ("without curation", None)]
    assert names(grid={"model": [{"layers": 2, "width": 8}]}) == [("layers 2, width 8", None)]


def test_keys_of_two_blocks_that_end_alike_are_told_apart():
    assert names(grid={"sources.letters.weight": [2], "sources.diary.weight": [3]}) == [
        ("letters weight 2, diary weight 3", None)
    ]


def test_a_change_reaches_nested_blocks_named_sources_and_every_stage():
    keys = {
        "model.layers": 2, "pretraining": {"tokens": 8}, "sources.letters.weight": 3, "sources.diary": None,
        "curation.*.enabled": False, "pretraining.feed.packing": "best_fit",
    }  # fmt: skip
    assert changed(CONTENT, keys, EVERY) == {
        "name": "notes",
        "sources": [{"name": "letters", "weight": 3}],
        "model": {"layers": 2, "width": 64},
        "pretraining": {"tokens": 8, "feed": {"packing": "best_fit"}},
        "curation": {"language": {"enabled": False}, "quality": {"enabled": False}},
    }
    assert CONTENT["sources"] == [{"name": "letters", "weight": 1}, {"name": "diary"}], "the recipe itself is as it was"


def test_a_block_is_merged_and_null_takes_a_key_out():
    assert changed(CONTENT, {"model": {"layers": 8}}, EVERY)["model"] == {"layers": 8, "width": 64}
    assert changed(CONTENT, {"model.width": None}, EVERY)["model"] == {"layers": 4}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sources.letter": None}, "there is no `letter`; known here: letters, diary"),
        ({"model.layers.deep": 1}, "`layers` is no block"),
        ({"model.*.x": 1}, "`*` stands for nothing below `model`"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(keys, said):
    with pytest.raises(UserError, match=said.replace("*", r"\*")):
        changed(CONTENT, keys, EVERY)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "compares nothing"),
        ({"grid": {"seed": list(range(40)), "model.layers": list(range(1, 40))}}, "1,560 cells, more than 1,000"),
        ({"grid": {"model.layers": [2]}, "cells": [{"model.layers": 3}]}, "stands in `grid` and in `cells`"),
        ({"grid": {"model.layers": [2]}, "cells": [{"model": {"layers": 3}}]}, "`model.layers` stands in `grid` and"),
        ({"cells": [{"name": "a"}, {"name": "a", "model.layers": 2}]}, "Two cells are called `a`"),
        ({"grid": {"pretraining.tokens": [1, 2]}}, "say `equal: nothing`"),
        ({"grid": {"name": ["a", "b"]}}, "`name` cannot differ between cells"),
        ({"grid": {"model.layers": []}}, "has no values"),
        ({"grids": {}}, "grids"),
    ],
)
def test_mistakes_in_an_experiment_end_in_a_sentence(given, said):
    with pytest.raises(UserError, match=said):
        changes_of(finding.checked(given, "mine"))


def test_a_file_is_an_experiment_and_the_recipe_adds_to_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "FOLDER", tmp_path)
    (tmp_path / "depth.yaml").write_text("question: how deep?\ngrid: {model.layers: [2, 4]}\nat: {model.width: 64}\n")
    assert finding.named("depth", {})[1].grid == {"model.layers": [2, 4]}
    added = finding.named("depth", {"depth": Experiment(at={"pretraining.tokens": 1000})})[1]
    assert added.at == {"model.width": 64, "pretraining.tokens": 1000} and added.question == "how deep?"
    assert finding.named(str(tmp_path / "depth.yaml"), {})[0] == "depth"
    with pytest.raises(UserError, match="did you mean `depth`"):
        finding.named("dept", {})
    with pytest.raises(UserError, match="cannot be read"):
        finding.named(str(tmp_path / "missing.yaml"), {})


def test_a_file_may_have_a_korean_name_and_lines_of_windows(tmp_path):
    file = tmp_path / "활성화 실험.yaml"
    file.write_bytes("\ufeffquestion: 어느 것?\r\ngrid:\r\n  seed: [1, 2]\r\n".encode())
    name, found = finding.named(str(file), {})
    assert name == "hwalseonghwa_silheom"
    assert (found.question, found.grid) == ("어느 것?", {"seed": [1, 2]})
    (tmp_path / "worth.yaml").write_text("grid: {seed: [1]}\n")
    with pytest.raises(UserError, match="cannot be called `worth`, a name that is taken"):
        finding.named(str(tmp_path / "worth.yaml"), {})
    with pytest.raises(UserError, match="letters or digits"):
        finding.named(str(tmp_path / "---.yaml"), {})


def test_a_value_that_is_no_list_is_named_with_the_remedy(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("grid: {model.activation: swiglu}\n")
    with pytest.raises(UserError, match=r"`grid.model.activation` takes a list: write \[swiglu\]"):
        finding.named(str(file), {})
    file.write_text("grid: {model.activation: }\n")
    with pytest.raises(UserError, match=r"takes a list: write \[...\]"):
        finding.named(str(file), {})
    file.write_text("grids: {model.activation: [swiglu]}\n")
    with pytest.raises(UserError, match=r"mistakes: `grids` is not a key; did you mean `grid`\?$"):
        finding.named(str(file), {})


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("mine: {}", "`mine`: The experiment compares nothing: give it a `grid` or `cells`"),
        ("Mine: {grid: {seed: [1]}}", "use small Latin letters"),
        ("mine: {grid: {seed: []}}", "`grid.seed` has no values"),
        ("mine: {grids: {seed: [1]}}", "did you mean `grid`"),
        ("scores: {grid: {seed: [1]}}", "cannot be called `scores`, a name that is taken"),
        ("{a-b: {grid: {seed: [1]}}, a_b: {grid: {seed: [1]}}}", "`a-b` and `a_b` would be kept in one place"),
    ],
)
def test_mistakes_in_a_recipes_experiments_are_named_with_their_line(block, said):
    text = f"name: r\nsources: [{{name: s, kind: bundled, dataset: sotu}}]\nexperiments:\n  {block}\n"
    with pytest.raises(UserError) as caught:
        parse(text)
    assert said in str(caught.value)
    assert any(f"recipe:{line}:" in str(caught.value) for line in (3, 4))


def test_a_shipped_experiment_needs_no_grid_of_its_own_in_a_recipe():
    text = "name: r\nsources: [{name: s, kind: bundled, dataset: sotu}]\nexperiments: {activations: {}}\n"
    assert parse(text).experiments.keys() == {"activations"}
