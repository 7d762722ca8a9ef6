"""Questions that the training text holds are found in it, and every figure is also given without them."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from pipeline.evaluation import report
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.tasks import covered_questions, task_items
from pipeline.evaluation.tasks.covered_questions import Coverage, figures_without
from pipeline.evaluation.tasks.forms import questions
from pipeline.evaluation.tasks.scored import excess
from tests.evaluation.conftest import WORDS
from tests.making import context

LONG = "a question of many words that nobody else would ever write down in exactly this order, number"


@pytest.fixture(scope="module")
def asked(made, tmp_path_factory):
    """20 questions: the first 6 repeat a training document, the next 10 are new, the others too short to be found."""
    folder = tmp_path_factory.mktemp("covered")
    texts = [
        text
        for fragment in made.inputs["curated_documents"].fragments
        for text in pl.read_parquet(made.inputs["curated_documents"].table(fragment))["text"]
        if len(set(text.split())) > 10
    ]
    prompts = [*texts[:6], *(f"{LONG} {i} {WORDS[i]} {WORDS[i + 2]}" for i in range(10)), "no?", "so?", "oh?", "ah?"]
    rows = [{"question": prompt, "choices": ["yes", "not"], "answer": i % 2} for i, prompt in enumerate(prompts)]
    (folder / "own.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    settings = EvaluationSettings.model_validate(
        {"validation_tokens": 1_000, "answers": 0, "preferences": 0, "prompts": (), "tasks": [
            {"name": "own", "path": str(folder / "own.jsonl"), "shots": [0, 2]},
        ]}
    )  # fmt: skip
    items = task_items.make(context(made.store), {}, task_items.Asked(settings.tasks))
    return settings, items


def covered_by(made, asked, *texts):
    inputs = {"evaluation_tasks": asked[1], **{name: made.inputs[name] for name in texts}}
    return covered_questions.make(context(made.store), inputs, None)


def test_questions_in_the_text_are_found_and_short_ones_are_not_searched_for(made, asked):
    found = pl.read_parquet(covered_by(made, asked, "curated_documents").table("questions"))
    assert found["curated_documents"].to_list() == [True] * 6 + [False] * 14
    assert found["checked"].to_list() == [True] * 16 + [False] * 4
    known = Coverage(covered_by(made, asked, "curated_documents"), ("curated_documents",))
    assert list(known.of_items("own").values()) == [True] * 6 + [False] * 10 + [None] * 4


def test_conversations_count_for_the_model_that_learned_from_them(made, asked, tmp_path):
    (folder, items), rows = (tmp_path, asked[1]), [f"{LONG} 3 {WORDS[3]} {WORDS[5]}"]
    talk = pl.DataFrame({"messages": [[{"role": "user", "content": text}] for text in rows]})
    talk.write_parquet(folder / "train.parquet")

    def build(draft):
        (draft.path("train.parquet")).write_bytes((folder / "train.parquet").read_bytes())

    told = made.store.make("talk", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    given = {"evaluation_tasks": items, "curated_documents": made.inputs["curated_documents"], "instruction_data": told}
    artifact = covered_questions.make(context(made.store), given, None)
    pretrained = Coverage(artifact, covered_questions.LEARNED_FROM["pretrained_model"]).of_items("own")
    tuned = Coverage(artifact, covered_questions.LEARNED_FROM["sft_model"]).of_items("own")
    assert pretrained[9] is False and tuned[9] is True and tuned[0] is True


def test_a_report_has_every_figure_without_the_covered_questions(made, asked, monkeypatch):
    settings, items = asked
    covered = covered_by(made, asked, "curated_documents")
    monkeypatch.setitem(covered_questions.LEARNED_FROM, made.inputs["model"].asset, ("curated_documents",))
    artifact = made.report("covered_report", settings=settings, evaluation_tasks=items, covered_questions=covered)
    found = report.read(artifact)["tasks"]["own"]["0_shot"]
    rows = pl.read_parquet(artifact.table("tasks")).filter(pl.col("shots") == 0)
    clean = found["without_covered"]
    left = rows.filter(~pl.col("covered").fill_null(False))
    assert clean["items"] == left.height and clean["covered"] + clean["items"] == found["items"] == 18
    assert 4 <= clean["covered"] <= 6 and 2 <= clean["not_checked"] <= 4
    assert clean["plain"]["value"] == pytest.approx(left["right"].mean(), abs=1e-4)
    gap = found["bits_per_byte"]["value"] - clean["bits_per_byte"]["value"]
    assert clean["difference"]["bits_per_byte"]["value"] == pytest.approx(gap, abs=2e-4)


def test_an_imported_models_text_is_not_known(made, asked):
    settings, items = asked
    covered = covered_by(made, asked, "curated_documents")
    artifact = made.report("unknown_report", settings=settings, evaluation_tasks=items, covered_questions=covered)
    assert "without_covered" not in report.read(artifact)["tasks"]["own"]["0_shot"]


def test_what_covered_items_add_is_the_difference_with_its_interval():
    covered = pl.Series([True] * 50 + [False] * 150)
    rows = pl.DataFrame({"covered": covered, "right": [1.0] * 50 + [0.0, 1.0] * 75})
    found = figures_without(rows, {"plain": "right"}, 1)
    assert found["items"] == 150 and found["covered"] == 50 and found["not_checked"] == 0
    assert found["plain"]["value"] == 0.5 and found["difference"]["plain"]["value"] == 0.125
    assert found["difference"]["plain"]["decided"]
    assert not excess(np.tile([0.0, 1.0], 100), np.arange(200) < 100, 1)["decided"]


def test_without_an_item_left_there_are_no_figures():
    rows = pl.DataFrame({"covered": [True, True], "right": [1.0, 0.0]})
    assert figures_without(rows, {"plain": "right"}, 1) == {"items": 0, "covered": 2, "not_checked": 0}


def test_the_words_of_a_form_are_not_searched_for_and_other_columns_neither():
    row = {"Text": "물은 0도에서 언다.", "Question": "물은 언 적이 있는가?", "Answer": "True", "source": "a newspaper"}
    (question,) = questions("kobest-boolq", [row])
    assert "물은 0도에서 언다." in question.texts and "a newspaper" not in question.texts
