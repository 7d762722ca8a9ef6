"""Tasks: from files of questions to figures of a model, by the graph's own makers."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.evaluation import report
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.tasks import task_items
from pipeline.evaluation.tasks.scored import ITEM
from tests.evaluation.conftest import WORDS
from tests.making import context


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two sets: any multiple-choice file, and one as KoBEST publishes it."""
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {
            "question": f"{WORDS[i % 9]} {WORDS[i % 7]} {i}",
            "choices": [WORDS[(i + j) % len(WORDS)] for j in range(2 + i % 3)],
            "answer": i % 2,
        }
        for i in range(24)
    ]
    (folder / "own.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    lines = ["ID\tLabel\tText", *(f"{i}\t{i % 2}\t{WORDS[i % 13]} {i}" for i in range(20))]
    (folder / "dev.tsv").write_text("\n".join(lines) + "\n")
    return folder


def settings(files, **changes) -> EvaluationSettings:
    given = {
        "validation_tokens": 1_000, "answers": 0, "preferences": 0, "prompts": (),
        "tasks": [
            {"name": "own", "path": str(files / "own.jsonl"), "shots": [0, 2]},
            {"name": "feeling", "form": "kobest-sentineg", "path": str(files / "dev.tsv")},
        ],
    }  # fmt: skip
    return EvaluationSettings.model_validate(given | changes)


@pytest.fixture(scope="module")
def measured(made, files):
    chosen = settings(files)
    items = task_items.make(context(made.store), {}, task_items.Asked(chosen.tasks))
    return made.report("tasks_report", settings=chosen, evaluation_tasks=items), items


def test_a_report_has_every_task_with_every_number_of_examples(measured):
    found = report.read(measured[0])["tasks"]
    assert set(found) == {"own", "feeling"} and set(found["own"]) == {"0_shot", "2_shot"}
    assert found["feeling"]["0_shot"]["items"] == 20 and found["feeling"]["0_shot"]["chance"] == 0.5
    # Two questions are the examples, and asked in neither.
    assert found["own"]["0_shot"]["items"] == found["own"]["2_shot"]["items"] == 22
    assert {"value", "low", "high", "decided"} == set(found["own"]["2_shot"]["gain"])
    assert -1 <= found["own"]["2_shot"]["gain_of_drawn_labels"]["value"] <= 1
    assert measured[0].facts["right.feeling"] == found["feeling"]["0_shot"]["plain"]["value"]
    assert measured[0].facts["answer_bits.own"] == found["own"]["0_shot"]["bits_per_byte"]["value"]


def test_every_question_and_what_was_found_is_in_the_table(measured):
    rows = pl.read_parquet(measured[0].table("tasks"))
    assert rows.columns == list(ITEM)
    counts = {
        key: height for *key, height in rows.group_by("task", "shots", "labels").len().rows() for key in [tuple(key)]
    }
    assert counts == {
        ("own", 0, "given"): 22, ("own", 2, "given"): 22, ("own", 2, "drawn"): 22, ("feeling", 0, "given"): 20,
    }  # fmt: skip
    right = [one[answer] == max(one) for one, answer in rows.select("log_likelihoods", "answer").rows()]
    assert rows["right"].to_list() == right


def test_likelihoods_are_those_of_transformers_on_the_same_files(made, measured):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    directory = made.inputs["model"].local_directory()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    rows = pl.read_parquet(measured[0].table("tasks")).filter(pl.col("shots") == 0)
    questions = pl.read_parquet(measured[1].table("questions"))
    compared = 0
    for task, prompt, choices, found in rows.select("task", "prompt", "choices", "log_likelihoods").rows():
        assert questions.filter(task=task, prompt=prompt).height >= 1
        start = tokenizer(prompt.rstrip(), add_special_tokens=False)["input_ids"]
        for choice, likelihood in zip(choices, found, strict=True):
            whole = tokenizer(f"{prompt} {choice}", add_special_tokens=False)["input_ids"]
            with torch.inference_mode():
                log_p = theirs(torch.tensor([whole])).logits[0].log_softmax(-1)
            expected = sum(float(log_p[at - 1, whole[at]]) for at in range(len(start), len(whole)))
            assert likelihood == pytest.approx(expected, abs=1e-4)
            compared += 1
    assert compared > 80


def test_the_same_tasks_give_the_same_bytes_and_moving_the_files_changes_nothing(made, files, measured, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in files.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    chosen = settings(moved)
    items = task_items.make(context(made.store), {}, task_items.Asked(chosen.tasks))
    assert items.version == measured[1].version
    assert made.report("tasks_report", settings=chosen, evaluation_tasks=items).version == measured[0].version


def test_without_tasks_the_fingerprint_of_a_report_is_what_it_was(files):
    assert "tasks" not in settings(files, tasks=[]).of_built_in_measures()
    assert settings(files).of_built_in_measures()["tasks"] == {"own": [0, 2], "feeling": [0]}


def test_a_limit_takes_questions_by_their_text_and_not_by_their_place(made, files):
    chosen = settings(files, tasks=[{"name": "own", "path": str(files / "own.jsonl"), "limit": 5}]).tasks
    few = task_items.read(task_items.make(context(made.store), {}, task_items.Asked(chosen)), "own")
    assert len(few) == 5
    numbers = [int(question.prompt.split()[-1]) for question in few]
    assert numbers == sorted(numbers) and numbers != [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"name": "own", "form": "kobest-copa"}, "`own` is not of the form `kobest-copa`: row 1: `premise` is"),
        ({"name": "own", "path": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_a_set_that_does_not_fit_is_one_sentence(made, files, task, message):
    chosen = settings(files, tasks=[{"path": str(files / "own.jsonl"), **task}]).tasks
    with pytest.raises(UserError, match=message) as caught:
        task_items.make(context(made.store), {}, task_items.Asked(chosen))
    assert "\n" not in str(caught.value)


def test_two_tasks_of_one_name_are_refused(files):
    twice = [{"name": "own", "path": str(files / "own.jsonl")}] * 2
    with pytest.raises(ValidationError, match="two tasks are called `own`: rename one"):
        settings(files, tasks=twice)


def test_a_model_that_guesses_is_said_to(measured):
    found = report.read(measured[0])["tasks"]["feeling"]["0_shot"]
    assert found["at_chance"] == (found["plain"]["low"] <= 0.5 <= found["plain"]["high"])
    assert np.isfinite(found["bits_per_byte"]["value"]) and not math.isnan(found["margin"]["value"])
