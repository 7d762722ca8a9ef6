"""`kind: generated` in the recipe's other blocks: instructions, preferences and evaluation sets."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.conversations import instruction_data, preference_data
from pipeline.curation import contamination
from pipeline.curation.evaluation_items import index_of, items_of
from pipeline.ingest.records import Reading
from pipeline.store.store import Store
from pipeline.village.questions import evaluation_questions
from tests.making import context

TALKS = {"name": "talks", "kind": "generated", "dataset": "village-conversations", "rows": 200}
PAIRS = {"name": "pairs", "kind": "generated", "dataset": "village-preferences", "rows": 200}
ITEMS = {"name": "questions", "kind": "generated", "dataset": "village-questions"}


def test_generated_conversations_and_preferences_become_tuning_data(tmp_path) -> None:
    run = context(Store(tmp_path / "data", "t"))
    talks = instruction_data.make(run, {}, instruction_data.Settings(sources=[TALKS]))
    pairs = preference_data.make(run, {}, preference_data.Settings(sources=[PAIRS]))
    for made, name in ((talks, "talks"), (pairs, "pairs")):
        assert made.counts["kept"] == 200 and made.counts["removed"] == {}
        assert made.facts["sources"][name]["licenses"] == {"made up": 200}
        assert set(pl.read_parquet(made.file("train.parquet"))["lang"]) == {"ko", "en"}


def test_another_village_is_other_tuning_data(tmp_path) -> None:
    run = context(Store(tmp_path / "data", "t"))
    made = [
        instruction_data.make(run, {}, instruction_data.Settings(sources=[{**TALKS, **changed}]))
        for changed in ({}, {"seed": 1}, {"rows": 201}, {})
    ]
    assert len({one.digest for one in made}) == 3 and made[0].digest == made[3].digest


@pytest.mark.parametrize(
    ("settings", "given", "said"),
    [
        (instruction_data.Settings, PAIRS, "cannot be of the data set `village-preferences` here"),
        (preference_data.Settings, TALKS, "cannot be of the data set `village-conversations` here"),
        (instruction_data.Settings, {**TALKS, "dataset": "town"}, "no generated set is called `town`"),
    ],
)
def test_a_set_of_the_wrong_kind_is_refused(settings, given, said) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(sources=[given])


def test_the_questions_of_the_village_are_an_evaluation_set(tmp_path) -> None:
    settings = contamination.Settings(sets=[ITEMS])
    chosen = settings.sets[0]
    items = list(items_of(chosen, chosen.contents(tmp_path), Reading(tmp_path)))
    questions = evaluation_questions(0)
    assert [(item.id, item.texts) for item in items] == [(one.id, [one.question]) for one in questions]
    searched = dict(index_of(items).items.select("id", "grams").iter_rows())
    long = [one.id for one in questions if one.kind in ("phrasing", "person") and len(one.question.split()) > 5]
    assert all(searched[id_] for id_ in long)
    with pytest.raises(ValidationError, match="no column `answers` in village-questions"):
        contamination.Settings(sets=[{**ITEMS, "columns": ["answers"]}])
