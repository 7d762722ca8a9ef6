"""Free answers: numbers are found and compared as numbers, instructions by their constraints, and figures add up."""

from __future__ import annotations

import json

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.evaluation import report
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.free.answer_sets import NotAFreeQuestion, gsm8k, ifeval, last_number, stated_number
from pipeline.evaluation.measures import free_answers
from pipeline.evaluation.tasks import covered_questions, task_items
from tests.making import context

SUM = {"question": "Three and four?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"}
TOLD = {
    "prompt": "Write two words without commas.",
    "instruction_id_list": ["en:punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"relation": "less than", "num_words": 3}],
}


@pytest.mark.parametrize(
    ("text", "stated", "last"),
    [
        ("So it is 12.\n#### 1,200", "1200", "1200"),
        ("#### $18.50", "18.5", "18.5"),
        ("It costs $1,000.00 in all.", None, "1000"),
        ("-5 or 3.", None, "3"),
        ("정답은 1,234원입니다.", None, "1234"),
        ("none", None, None),
    ],
)
def test_numbers_are_found_in_one_form(text, stated, last):
    assert stated_number(text) == stated and last_number(text) == last


def test_rows_become_questions():
    assert gsm8k(SUM).reference == "7" and gsm8k({"question": "?", "answer": 3}).reference == "3"
    told = ifeval(TOLD)
    assert [name for name, _ in told.constraints] == TOLD["instruction_id_list"] and told.reference == ""


@pytest.mark.parametrize(
    ("form", "row", "wrong"),
    [
        (gsm8k, {"question": "secret", "answer": "many"}, "neither ends in"),
        (gsm8k, {"answer": "#### 1"}, "`question` is missing"),
        (ifeval, {**TOLD, "kwargs": [{}]}, "as long as"),
        (ifeval, {**TOLD, "instruction_id_list": ["secret:one", "b"]}, "cannot be checked"),
        (ifeval, {**TOLD, "kwargs": [{}, {"relation": "secret", "num_words": 3}]}, "a wrong one"),
        (ifeval, {**TOLD, "kwargs": [{}, {"relation": "at least"}]}, "lacks an argument"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_not_quoted(form, row, wrong):
    with pytest.raises(NotAFreeQuestion, match=wrong) as caught:
        form(row)
    assert "secret" not in str(caught.value)


def test_an_answer_is_checked_as_asked_and_loosely():
    found = free_answers.checked(gsm8k(SUM), "They make 7.")
    assert found == {"constraint": ["number"], "strict": [False], "loose": [True]}
    assert free_answers.checked(gsm8k(SUM), "#### 7.0")["strict"] == [True]
    told = free_answers.checked(ifeval(TOLD), "Sure, here:\ntwo words")
    assert told["strict"] == [False, False] and told["loose"] == [True, True]


def test_a_question_counts_if_all_of_its_constraints_are_followed():
    rows = pl.DataFrame(
        [
            {"ended": True, "constraint": ["en:a:x", "b:y"], "strict": [True, True], "loose": [True, True]},
            {"ended": True, "constraint": ["a:x"], "strict": [False], "loose": [True]},
            {"ended": False, "constraint": ["a:x", "b:y"], "strict": [True, False], "loose": [True, False]},
        ]
    ).with_columns(covered=pl.lit(None, pl.Boolean))
    found = free_answers.figures(rows, "ifeval", 1, searched=False)
    assert found["strict"]["value"] == 0.3333 and found["loose"]["value"] == 0.6667 and found["ended"] == 0.6667
    assert found["constraints"] == {"count": 5, "strict": 0.6, "loose": 0.8}
    assert found["by_constraint"]["a:x"] == {"count": 3, "strict": 0.6667, "loose": 1.0}
    assert "without_covered" not in found and "by_constraint" not in free_answers.figures(rows, "gsm8k", 1, False)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(SUM | {"answer": str(i)}) + "\n" for i in range(3)))
    (tmp_path / "told.jsonl").write_text((json.dumps(TOLD) + "\n") * 2)
    return EvaluationSettings.model_validate({
        "validation_tokens": 1_000, "answers": 0, "preferences": 0, "prompts": (),
        "free_answers": [
            {"name": "sums", "form": "gsm8k", "path": str(tmp_path / "sums.jsonl"), "tokens": 8, "limit": 2},
            {"name": "told", "form": "ifeval", "path": str(tmp_path / "told.jsonl"), "tokens": 8},
        ],
    })  # fmt: skip


def test_a_report_has_both_forms_and_every_answer(made, settings, monkeypatch):
    asked = task_items.Asked((), (), settings.free_answers)
    items = task_items.make(context(made.store), {}, asked)
    searched = covered_questions.make(
        context(made.store), {"evaluation_tasks": items, "curated_documents": made.inputs["curated_documents"]}, None
    )
    monkeypatch.setitem(covered_questions.LEARNED_FROM, made.inputs["model"].asset, ("curated_documents",))
    artifact = made.report("free_report", settings=settings, evaluation_tasks=items, covered_questions=searched)
    found = report.read(artifact)["free_answers"]
    assert found["sums"]["items"] == 2 and found["told"]["constraints"]["count"] == 4
    assert found["told"]["without_covered"]["items"] == 2 and 0 <= found["told"]["strict"]["value"] <= 1
    rows = pl.read_parquet(artifact.table("free_answers"))
    assert rows.columns == list(free_answers.ANSWER) and rows["set"].to_list() == ["sums"] * 2 + ["told"] * 2
    assert artifact.facts["strict.told"] == found["told"]["strict"]["value"]


def test_a_set_that_does_not_fit_is_one_sentence(made, settings, tmp_path):
    wrong = settings.model_copy(
        update={"free_answers": tuple(one.model_copy(update={"form": "ifeval"}) for one in settings.free_answers)}
    )
    with pytest.raises(UserError, match="`sums` is not of the form `ifeval`: row 1: `instruction_id_list`"):
        task_items.make(context(made.store), {}, task_items.Asked((), (), wrong.free_answers))


def test_without_sets_the_fingerprint_of_a_report_is_what_it_was(settings):
    assert "free_answers" not in EvaluationSettings().of_built_in_measures()
    assert settings.of_built_in_measures()["free_answers"]["told"]["conversation"] is True
    with pytest.raises(ValidationError, match="form"):
        EvaluationSettings.model_validate({"free_answers": [{"name": "a", "form": "other", "path": "x"}]})
