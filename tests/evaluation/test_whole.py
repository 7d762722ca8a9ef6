"""All that `evaluation` can ask, in one recipe: from text files to the leaderboard, by the graph."""

from __future__ import annotations

import json

import pytest
import yaml

from pipeline.evaluation import report
from pipeline.graph import Project, enabled_assets
from pipeline.recipe import load
from pipeline.run import make_with_inputs
from pipeline.store.store import Store
from tests import tiny


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    recipe = yaml.safe_load(tiny.write(folder).read_text())
    rows = [
        {"question": " ".join(tiny.text(i).split()[:12]), "choices": ["sand", "door"], "answer": i % 2}
        for i in range(6)
    ]
    rows += [{"question": f"nobody wrote these eleven words down before, number {i}, did they?",
              "choices": ["yes", "no"], "answer": 0} for i in range(6)]  # fmt: skip
    pairs = [{"stereotyped": f"the {i} boats", "other": f"the {i} doors"} for i in range(4)]
    sums = [{"question": f"{i} and {i}?", "answer": f"#### {2 * i}"} for i in range(3)]
    for name, content in (("questions", rows), ("pairs", pairs), ("sums", sums)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    recipe["pretraining"]["kept_weights"] = 4
    recipe |= {"sft": {"enabled": False}}
    recipe["evaluation"] = {
        "validation_tokens": 1_000, "prompts": ["The"], "answer_tokens": 4,
        "tasks": [{"name": "own", "path": "questions.jsonl"}], "bias": [{"name": "pairs", "path": "pairs.jsonl"}],
        "free_answers": [{"name": "sums", "form": "gsm8k", "path": "sums.jsonl", "tokens": 4}],
        "toxicity": {"continuations": 2},
    }  # fmt: skip
    place = folder / "whole.yaml"
    place.write_text(yaml.safe_dump(recipe))
    loaded = load(place)
    return Project(loaded, Store(folder / "data", loaded.name), lambda line: None)


@pytest.mark.usefixtures("no_tracking")
def test_one_recipe_asks_all_and_the_leaderboard_is_its_end(project):
    assert enabled_assets(project.recipe)[-2:] == ["leaderboard", "report"]
    make_with_inputs(project, "leaderboard")
    found = report.read(project["pretrained_evaluation"])
    assert found.keys() >= {"tasks", "tasks_over_steps", "free_answers", "bias", "toxicity", "samples"}
    clean = found["tasks"]["own"]["0_shot"]["without_covered"]
    assert clean["covered"] == 6 and clean["items"] == 6, "the first six questions are of the training text"
    assert found["tasks_over_steps"]["own"]["points"] == 5
    page = project["leaderboard"].file("leaderboard.md").read_text()
    assert "own, right answers" in page and f"pretrained_model/{project['pretrained_model'].version[:8]}" in page


@pytest.mark.usefixtures("no_tracking")
def test_what_was_made_is_not_made_again(project):
    make_with_inputs(project, "leaderboard")  # tests of a file may be run by several processes
    names = ("evaluation_tasks", "covered_questions", "toxicity_classifier", "pretrained_evaluation", "leaderboard")
    assert [name for name in names if project.make(name).made] == []
