"""Personal data in phrasings that nobody looked at while the recognisers were written, and text that holds none."""

from __future__ import annotations

import polars as pl
import pytest

from benchmarks.personal_phrasings import VALUES, found_in, measured, planted
from benchmarks.phrasings import NEGATIVES, PHRASINGS
from pipeline.curation.personal_data.personal_data import Settings
from pipeline.curation.personal_data.unscreened import counts_by_kind


@pytest.fixture(scope="module")
def unseen():
    return measured(planted("unseen", each=6))[0]


@pytest.mark.parametrize("kind", VALUES)
def test_values_in_unseen_phrasings_are_found_and_nothing_beside_them(unseen, kind):
    values, found, wrong = unseen[kind]
    assert found / values >= 0.98 and wrong <= 0.02 * values, (values, found, wrong)


@pytest.mark.parametrize("kind", PHRASINGS)
def test_the_two_halves_share_no_phrasing(kind):
    assert not set(PHRASINGS[kind]["tuned"]) & set(PHRASINGS[kind]["unseen"])


# A word that means a telephone or a part of a table: `cell` counts, so this number is replaced.
KNOWN_MISTAKES = {"the cell 12-34-567 of the table"}


def test_text_without_personal_data_is_left_as_it_is():
    changed = {text for text, spans in zip(NEGATIVES, found_in(NEGATIVES), strict=True) if spans}
    assert changed == KNOWN_MISTAKES


def test_unscreened_recognisers_count_what_the_stage_left_by_kind():
    texts = pl.Series(["메일 minsu@naver.com로, 010-2345-6789", "nothing here", "<EMAIL_ADDRESS>", None])
    assert counts_by_kind(texts, Settings()) == {"EMAIL_ADDRESS": 1, "PHONE_NUMBER": 1}
    assert counts_by_kind(texts, Settings(labels=("PHONE_NUMBER",))) == {"PHONE_NUMBER": 1}
    assert counts_by_kind(pl.Series(["call (212) 555-0147"]), Settings(keep_examples=True)) == {}


def test_unscreened_recognisers_find_nothing_new_in_text_that_the_stage_has_read():
    """If they did, the search for candidates would let a value through."""
    rows = planted("unseen", each=2)
    left = []
    for row, spans in zip(rows, found_in([row.text for row in rows]), strict=True):
        text = row.text
        for start, end, label in sorted(spans, reverse=True):
            text = f"{text[:start]}<{label}>{text[end:]}"
        left.append(text)
    assert counts_by_kind(pl.Series([*left, *sorted(set(NEGATIVES) - KNOWN_MISTAKES)]), Settings()) == {}
