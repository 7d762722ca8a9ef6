"""A plan in words: this machine and the passes over the text first, and a warning where either is too much."""

import pytest

from pipeline.errors import UserError
from pipeline.training.planning import plan_words

# 6.5 M parameters on somebody's laptop, as `plan.plan` returns it.
FOUND = {
    "machine": "a laptop, 8 thread(s)", "seconds_a_step": 2.5, "hours_here": 0.8, "free": 1.0, "devices": 1,
    "precision": "fp32", "parameters": 6_500_000, "parameters_of_embeddings": 1_000_000, "tokens": 4_000_000,
    "steps": 1000, "batch_tokens": 4096, "sequences": 8, "accumulation": 1, "learning_rate": 0.001, "flops": 1.5e14,
    "memory_mib": {"weights": 25, "total": 300}, "tokens_a_parameter": 0.6, "compute_optimal_tokens": 130_000_000,
    "tokens_available": 2_000_000, "epochs": 2.0, "expected_loss": None, "hours": {"3090": 0.1, "4090": 0.05},
}  # fmt: skip


def changed(**figures):
    return {**FOUND, **figures}


def test_the_machine_and_the_passes_come_first():
    first, second, third, *_, last = plan_words.lines(FOUND)
    assert first == "a laptop, 8 thread(s): 48 min 0 s, measured at 2.5 s a step"
    assert second == "passes over the text: 2 (2 M tokens of text)"
    assert third.startswith("6.5 M parameters")
    assert last.startswith("for comparison, expected on one card: 3090")
    assert not any("WARNING" in line for line in plan_words.lines(FOUND))


def test_a_guess_is_called_a_guess_and_what_is_not_known_is_not_guessed():
    assert "about 2 (about 2 M tokens of text, estimated from the size" in plan_words.lines(FOUND, estimated=True)[1]
    unknown = plan_words.lines(changed(epochs=None, tokens_available=None))[1]
    assert "not known before its tokens are counted (`dagster job execute -j tokenize_job`)" in unknown


@pytest.mark.parametrize(("passes", "warned"), [(4.0, False), (4.3, False), (5.0, True), (250.0, True)])
def test_more_than_four_passes_are_warned_of_with_the_number_that_is_four(passes, warned):
    found = [line for line in plan_words.lines(changed(epochs=passes)) if line.startswith("WARNING")]
    assert bool(found) == warned
    if warned:
        assert f"{passes:,.0f} passes over the text" in found[0] and "`pretraining.tokens` to 8,000,000" in found[0]


def test_more_than_a_day_is_warned_of_with_what_takes_a_day():
    (line,) = plan_words.warnings(changed(hours_here=72.0, tokens=200_000_000))
    assert (
        line.startswith("WARNING: that is longer than a day") and "`pretraining.tokens: 66_000_000` would take" in line
    )


def test_a_run_of_days_is_refused_with_the_keys_that_change_it():
    plan_words.refuse_too_long(changed(hours_here=23.9), 24.0)
    plan_words.refuse_too_long(changed(hours_here=1e4), 0.0)
    plan_words.refuse_too_long({**FOUND, "hours_here": 0.0}, 24.0)
    with pytest.raises(UserError) as error:
        plan_words.refuse_too_long(changed(hours_here=72.0), 24.0)
    said = str(error.value)
    assert said.startswith("Pretraining would take 3 days 0 h on this machine")
    for remedy in ("`execution.max_hours`", "`pretraining.tokens: 1_300_000`", "`slm make --yes pretrained_model`"):
        assert remedy in said
