"""pass@k is the share of all draws of k programs that hold one that passes."""

from itertools import combinations

import pytest

from pipeline.evaluation.code.pass_at_k import pass_at_k


@pytest.mark.parametrize("drawn", [1, 2, 5, 8])
def test_it_is_the_share_of_all_draws(drawn: int):
    for passed in range(drawn + 1):
        programs = [i < passed for i in range(drawn)]
        for k in range(1, drawn + 1):
            draws = list(combinations(programs, k))
            assert pass_at_k(drawn, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_it_does_not_overflow_and_refuses_what_makes_no_sense():
    assert pass_at_k(10_000, 1, 100) == pytest.approx(0.01)
    for drawn, passed, k in ((5, 6, 1), (5, -1, 1), (5, 1, 6), (5, 1, 0)):
        with pytest.raises(ValueError, match="within the drawn"):
            pass_at_k(drawn, passed, k)
