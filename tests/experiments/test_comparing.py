"""Means, intervals and verdicts of an experiment, against textbook figures and scipy's own tests."""

import numpy as np
import pytest
from scipy import stats

from pipeline.experiments.comparing import AGAINST, BETTER, SAME, UNDECIDED, WORSE, best, compared, holm

BASE = {0: 2.0, 1: 2.2, 2: 2.1}


def by_setting(rows: list[dict]) -> dict[str, dict]:
    return {row["setting"]: row for row in rows}


def test_two_settings_with_the_same_seeds_are_a_paired_t_test():
    other = {0: 1.9, 1: 2.14, 2: 2.01}
    row = by_setting(compared({"base": BASE, "other": other}, "base"))["other"]
    known = stats.ttest_rel(list(other.values()), list(BASE.values()))
    assert row["p"] == pytest.approx(known.pvalue)
    low, high = known.confidence_interval()
    assert (row["difference_low"] * 2.1, row["difference_high"] * 2.1) == pytest.approx((low, high))
    assert row["difference"] == pytest.approx((2.0166666 - 2.1) / 2.1, rel=1e-4)


def test_two_settings_with_other_seeds_are_students_t_test():
    other = {7: 1.9, 8: 2.14}
    row = by_setting(compared({"base": BASE, "other": other}, "base"))["other"]
    assert row["p"] == pytest.approx(stats.ttest_ind(list(other.values()), list(BASE.values())).pvalue)


def test_several_settings_share_the_spread_of_a_block_design():
    figures = {"a": BASE, "b": {0: 1.95, 1: 2.1, 2: 2.08}, "c": {0: 2.5, 1: 2.61, 2: 2.57}}
    matrix = np.array([list(group.values()) for group in figures.values()])
    rest = matrix - matrix.mean(1, keepdims=True) - matrix.mean(0, keepdims=True) + matrix.mean()
    error = np.sqrt((rest**2).sum() / 4 * 2 / 3)
    row = by_setting(compared(figures, "a"))["c"]
    assert row["p"] == pytest.approx(2 * stats.t.sf((matrix[2].mean() - matrix[0].mean()) / error, 4))
    assert row["verdict"] == WORSE


def test_values_of_p_are_corrected_by_holm():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_what_a_single_comparison_would_decide_many_may_not():
    other = {0: 1.9, 1: 2.12, 2: 1.98}
    alone = by_setting(compared({"base": BASE, "other": other}, "base"))["other"]
    assert alone["p"] < 0.05 and alone["verdict"] == BETTER
    idle = {f"idle {k}": {seed: value + 0.01 * (-1) ** (seed + k) for seed, value in BASE.items()} for k in range(30)}
    noisy = {"noisy": {0: 2.5, 1: 1.8, 2: 2.1}}
    among = by_setting(compared({"base": BASE, "other": other, **idle, **noisy}, "base"))["other"]
    assert among["p_holm"] > among["p"] and among["verdict"] == UNDECIDED


def test_one_seed_decides_nothing_and_has_no_interval():
    rows = by_setting(compared({"base": {0: 2.0}, "other": {0: 1.0}}, "base"))
    assert rows["other"]["verdict"] == UNDECIDED and rows["other"]["low"] is None and rows["other"]["p"] is None
    assert rows["base"]["verdict"] == AGAINST
    assert best(list(rows.values())) == "other"


def test_settings_without_any_spread_differ_if_their_figures_do():
    rows = by_setting(compared({"a": {0: 2.0, 1: 3.0}, "b": {0: 1.0, 1: 2.0}, "c": {0: 2.0, 1: 3.0}}, "a"))
    assert rows["b"]["p"] < 1e-12 and rows["c"]["verdict"] == SAME


def test_a_setting_that_is_another_under_a_second_name_changes_nothing():
    """Copies have no chance of their own: counted as settings, they would make any difference look sure."""
    figures = {"base": BASE, "other": {0: 1.93, 1: 2.2, 2: 2.03}}
    alone = by_setting(compared(figures, "base"))
    assert alone["other"]["verdict"] == UNDECIDED
    copies = {f"copy {number}": BASE for number in range(4)} | {"as other": figures["other"]}
    among = by_setting(compared({**copies, **figures}, "base"))
    assert list(among) == [*copies, *figures]
    assert {name: among[name] for name in figures} == alone
    assert (among["copy 0"]["verdict"], among["copy 0"]["difference"]) == (SAME, 0.0)
    assert among["as other"] == {**alone["other"], "setting": "as other"}
    one_seed = by_setting(compared({"base": {0: 2.0}, "other": {0: 2.0}}, "base"))
    assert one_seed["other"]["verdict"] == UNDECIDED, "one figure may be the same by chance"
