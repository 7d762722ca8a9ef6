"""Shares and how surely they are known: Wilson's interval against its formula, and how many cases it takes."""

import pytest

from pipeline.intervals import cases_for, wilson


def test_known_intervals():
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)  # Brown, Cai & DasGupta 2001, equation 4
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("half_width", "cases"), [(0.03, 1064), (0.1, 93), (0.3, 7)])
def test_as_many_cases_as_the_half_width_needs_and_no_more(half_width, cases):
    assert cases_for(half_width) == cases
    for share in (0.0, 0.1, 0.5, 0.93):
        low, high = wilson(share, cases)
        assert (high - low) / 2 <= half_width
    low, high = wilson(0.5, cases - 1)
    assert (high - low) / 2 > half_width
