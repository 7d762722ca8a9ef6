"""From scores to figures: rules of choosing, intervals, few-shot examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.evaluation.choice_scoring import ChoiceScore
from pipeline.evaluation.tasks import shots
from pipeline.evaluation.tasks.forms import Question
from pipeline.evaluation.tasks.scored import difference, figures, scored, with_interval

QUESTIONS = [Question(f"{i}?", ("short", "a much longer answer"), i % 2) for i in range(40)]


def test_each_rule_divides_by_its_own_unit():
    question = Question("?", ("예", "아니오"), 1)
    # plain: the first; by character -3 / 1 and -6 / 3: the second; by token -3 / 1 and -6 / 1: the first;
    # by byte -3 / 3 and -6 / 9: the second.
    (row,) = scored([question], [[ChoiceScore(-3.0, 1, True), ChoiceScore(-6.0, 1, False)]]).iter_rows(named=True)
    assert (row["right"], row["right_by_character"], row["right_by_token"], row["right_by_byte"]) == (
        False, True, False, True,
    )  # fmt: skip
    assert row["bits_per_byte"] == pytest.approx(6.0 / math.log(2) / 9)
    assert row["margin"] == -3.0 and row["chosen"] == 0 and row["greedy"] is False


def test_guessing_is_called_that_and_knowing_is_not():
    rng = np.random.default_rng(0)
    guessed = [[ChoiceScore(float(rng.normal()), 1, False) for _ in range(2)] for _ in QUESTIONS]
    known = [[ChoiceScore(-float(i != question.answer), 1, False) for i in range(2)] for question in QUESTIONS]
    assert figures(scored(QUESTIONS, guessed), 1)["at_chance"]
    found = figures(scored(QUESTIONS, known), 1)
    assert not found["at_chance"] and found["plain"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["chance"] == 0.5 and found["items"] == 40


@pytest.mark.parametrize("habit", [1.0, 0.9])
def test_one_answer_to_everything_is_guessing_however_often_it_is_right(habit):
    """Answers are "yes" in 70 % of the questions; a model says it always, or in 90 % of the cases, drawn."""
    questions = [Question(f"{i}?", ("no", "yes"), int(i % 10 < 7)) for i in range(1000)]
    said = np.random.default_rng(1).random(1000) < habit
    guessed = [[ChoiceScore(-float(yes), 1, False), ChoiceScore(-float(not yes), 1, False)] for yes in said]
    found = figures(scored(questions, guessed), 1)
    assert found["plain"]["low"] > 0.55 and found["at_chance"]
    assert found["chance"] == pytest.approx(0.7 * habit + 0.3 * (1 - habit), abs=0.02)


def test_an_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(200):
        found = with_interval(rng.binomial(1, 0.3, 120).astype(float), 1)
        inside += found["low"] <= 0.3 <= found["high"]
    assert 180 <= inside <= 199


def test_two_models_are_told_apart_only_outside_the_noise():
    rng = np.random.default_rng(2)
    one = rng.binomial(1, 0.5, 100).astype(float)
    assert not difference(one, rng.binomial(1, 0.5, 100).astype(float), 1)["decided"]
    assert difference(np.ones(100), one, 1)["decided"]


def test_examples_are_not_asked_and_have_all_answers():
    examples, asked = shots.split(QUESTIONS, 4)
    assert sorted(question.answer for question in examples) == [0, 0, 1, 1]
    assert len(asked) == 36 and not set(examples) & set(asked)
    assert shots.split(list(reversed(QUESTIONS)), 4)[0] == examples
    assert shots.split(QUESTIONS, 0) == ([], QUESTIONS)


def test_a_prompt_has_the_examples_with_their_answers_before_it():
    examples = [Question("a?", ("x", "y"), 1), Question("b?", ("x", "y"), 0)]
    assert shots.with_examples([Question("c?", ("x", "y"), 0)], examples) == ["a? y\n\nb? x\n\nc?"]
    assert shots.with_examples([Question("c?", ("x", "y"), 0)], []) == ["c?"]


def test_the_control_has_the_same_examples_with_other_answers():
    examples = shots.split(QUESTIONS, 16)[0]
    control = shots.with_other_labels(examples, 1)
    assert [question.prompt for question in control] == [question.prompt for question in examples]
    changed = sum(one.answer != other.answer for one, other in zip(examples, control, strict=True))
    assert 3 <= changed <= 13
    assert shots.with_other_labels(examples, 1) == control
