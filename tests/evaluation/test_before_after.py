"""What a tuning changed: the same questions before and after, and a plain word where it made things worse."""

import polars as pl
import pytest

from pipeline.evaluation.measures import MEASURES, answers, before_after
from pipeline.inspect import tuning
from pipeline.trained_models import BY_NAME


def test_both_models_answer_the_same_questions(made, monkeypatch):
    def weighed(network, tokenizer, questions, most_new, progress):
        """In place of answers (an untrained network repeats its last token): what tells one network from another."""
        says = f"{float(network.output_weight.sum()):.4f}"
        return answers.answer(network, tokenizer, questions, most_new, progress).with_columns(output=pl.lit(says))

    monkeypatch.setattr(before_after, "answer", weighed)
    report = made.report("sft_evaluation", "instruction_data", base=made.second_model)
    table = pl.read_parquet(report.table(before_after.TABLE))
    assert table.height == before_after.QUESTIONS and set(table["lang"]) == {"en", "ko"}
    assert (table["before"] != table["after"]).all(), "two models with other weights"
    again = made.report("other", "instruction_data", base=made.inputs["model"])
    same = pl.read_parquet(again.table(before_after.TABLE))
    assert (same["before"] == same["after"]).all() and set(same["change"]) == {before_after.SAME}


def test_without_a_base_nothing_is_compared(made):
    assert f"{before_after.TABLE}.parquet" not in made.report("e9", "instruction_data").manifest["files"]


def answered(*outputs):
    rows = [("en", f"question {number}", "the red fox", output) for number, output in enumerate(outputs)]
    return pl.DataFrame(rows, schema=["lang", "prompt", "reference", "output"], orient="row")


def test_an_answer_is_better_if_it_is_closer_to_the_reference():
    before, after = (
        answered("a cat", "the red fox", "the red fox", ""),
        answered("the red fox", "a cat", "the red fox", ""),
    )
    assert before_after.judged(before, after)["change"].to_list() == ["better", "worse", "same", "same"]


def change(better):
    return tuning.Change("rougeL", 0.5, 0.6, better)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([True, False], ""),
        ([True, None], ""),
        ([False, False], "worse than the fine-tuned one by every figure: keep `slm chat sft_model`"),
        ([False, False, True], "by 2 of 3 figures"),
        ([False, None], "by 1 of 2 figures"),
    ],
)
def test_a_tuning_that_made_things_worse_says_so(found, said):
    words = tuning.verdict(BY_NAME["preference_model"], [change(better) for better in found])
    assert (said in words) if said else words == ""


def test_the_summary_shows_figures_and_answers_before_and_after(made):
    before = made.report("pretrained_evaluation")
    made.report("sft_evaluation", "instruction_data", model=made.second_model, before=before, base=made.inputs["model"])
    shown = tuning.tunings(made.store, MEASURES)
    assert "fine-tuned, against its base" in shown and "bits per byte, Korean" in shown
    assert "questions that it was not trained on, answered before and after:" in shown
    assert shown.count("    before: ") == shown.count("    after:  ") == before_after.QUESTIONS
    assert all(
        line.endswith(("(better)", "(worse)", "(same)")) for line in shown.splitlines() if "    after:  " in line
    )
