"""Verdicts: records that outlive a run, a precision with its interval, and limits that would agree better."""

import pytest

from pipeline.curation.filters import heuristics
from pipeline.errors import UserError
from pipeline.inspect.verdicts import FILE, Verdict, better_limits, precision, save, verdicts_of
from pipeline.store.store import Store

STAGE = heuristics.STAGE.name
SETTINGS = {STAGE: heuristics.Settings()}


def verdict(number: int, said: str, figure: float = 40, **changes) -> Verdict:
    given = {
        "doc_id": f"{number:032x}", "stage": STAGE, "reason": "gopher_short", "verdict": said, "drawn": "near",
        "state": "removed" if figure < 50 else "kept", "setting": "gopher.min_words", "removes": "<",
        "figure": figure, "alone": True,
    }  # fmt: skip
    return Verdict(**{**given, **changes})


def test_a_verdict_is_saved_once_for_a_document_and_a_reason(tmp_path):
    store = Store(tmp_path, "r")
    save(store, verdict(1, "keep"))
    save(store, verdict(2, "drop"))
    save(store, verdict(1, "drop"))
    assert {key[0][-1]: one.verdict for key, one in verdicts_of(store).items()} == {"1": "drop", "2": "drop"}


def test_a_damaged_file_of_verdicts_is_named_with_its_line(tmp_path):
    store = Store(tmp_path, "r")
    save(store, verdict(1, "keep"))
    store.change_record(FILE, lambda before: (before or "") + '{"doc_id": 3}\n')
    with pytest.raises(UserError, match=r"Line 2 of verdicts.jsonl is damaged"):
        verdicts_of(store)


def test_precision_counts_what_was_drawn_at_random_and_the_limit_apart():
    ones = [verdict(n, "drop" if n < 9 else "keep", drawn="random") for n in range(10)]
    ones += [verdict(20, "keep"), verdict(21, "drop", 60)]
    (row,) = precision(ones, SETTINGS)
    assert (row["precision"], row["precision, of"], row["near the limit"]) == (0.9, 10, 0)
    assert row["precision, 95 %"] == "0.60 to 0.98"  # Wilson 1927
    assert row["kept but judged poor"] == "1 of 1"


def test_a_verdict_counts_by_the_limit_in_force_and_not_by_that_of_its_day():
    ones = [verdict(1, "keep", 40, drawn="random"), verdict(2, "drop", 10, drawn="random")]
    lower = {STAGE: heuristics.Settings(gopher=heuristics.Gopher(min_words=30))}
    (row,) = precision(ones, lower)
    assert (row["precision"], row["precision, of"]) == (1.0, 1)


def test_a_limit_is_proposed_that_agrees_with_most_verdicts():
    poor = [verdict(n, "drop", 10 + n) for n in range(12)]  # 10 to 21 words
    good = [verdict(50 + n, "keep", 30 + n) for n in range(12)]  # 30 to 41 words
    (better,) = better_limits(poor + good, SETTINGS)
    assert 21 < better["value"] <= 30 and better["value"] == int(better["value"])
    assert (better["agree_now"], better["agree_then"], better["verdicts"]) == (12, 24, 24)


@pytest.mark.parametrize(
    "ones",
    [
        [verdict(n, "drop" if n < 9 else "keep", 10 + n) for n in range(19)],  # too few
        [verdict(n, "drop" if n < 36 else "keep", 10 + n) for n in range(40)],  # four to keep
        [verdict(n, "drop" if 10 + n < 50 else "keep", 10 + n) for n in range(80)],  # the limit is right
        [verdict(n, "drop" if 10 + n < 49 else "keep", 10 + n) for n in range(80)],  # one more would agree
        [verdict(n, "drop" if n < 20 else "keep", 10 + n, alone=False) for n in range(40)],  # other limits decide too
    ],
)
def test_nothing_is_proposed_on_few_verdicts_or_for_little(ones):
    assert better_limits(ones, SETTINGS) == []


def test_limits_of_shares_and_from_below_are_proposed_too():
    about = {"reason": "gopher_bullets", "setting": "gopher.max_bullet_lines", "removes": ">"}
    ones = [verdict(n, "drop" if n >= 12 else "keep", 0.91 + n * 0.003, state="removed", **about) for n in range(30)]
    (better,) = better_limits(ones, SETTINGS)
    assert 0.943 < better["value"] < 0.947 and better["agree_then"] == 30


def test_verdicts_of_a_rule_that_no_longer_exists_still_count():
    ones = [verdict(n, "drop", setting="gopher.gone", drawn="random") for n in range(3)]
    (row,) = precision(ones, SETTINGS)
    assert row["precision, of"] == 3 and better_limits(ones, SETTINGS) == []
