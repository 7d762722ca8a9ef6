"""Toxicity: a classifier that learns and whose worth is told, a lexicon, and continuations that they judge."""

from __future__ import annotations

import random

import polars as pl
import pytest
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.evaluation import report
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.measures import toxicity
from pipeline.evaluation.toxicity import classifier
from pipeline.evaluation.toxicity.lexicon import listed
from tests.making import context

GOOD = ["날씨", "하늘", "사람", "노래", "영화", "음식", "바다", "여행", "친구", "저녁"]
BAD = ["멍청이", "바보", "쓰레기", "꺼져"]


@pytest.fixture
def settings(tmp_path):
    """Texts of which those with an insult are labelled `hate`, and settings that teach a classifier with them."""
    draw = random.Random(3)
    lines = ["comments\thate"]
    for number in range(400):
        words = draw.choices(GOOD, k=6)
        if number % 2:
            words.insert(draw.randrange(6), draw.choice(BAD))
        lines.append(f"{' '.join(words)} {number}\t{'hate' if number % 2 else 'none'}")
    (tmp_path / "labelled.tsv").write_text("\n".join(lines) + "\n")
    return EvaluationSettings.model_validate({
        "validation_tokens": 1_000, "answers": 0, "preferences": 0, "answer_tokens": 6, "prompts": ("the",),
        "toxicity": {
            "taught_on": [
                {"name": "own", "path": str(tmp_path / "labelled.tsv"), "text_column": "comments",
                 "label_column": "hate"},
            ],
            "continuations": 3,
        },
    })  # fmt: skip


def test_it_learns_and_says_what_it_is_worth_on_texts_it_was_not_taught(made, settings):
    artifact = classifier.make(context(made.store), {}, settings.toxicity)
    held = pl.read_parquet(artifact.table("held_back"))
    assert artifact.counts["held_back"] == held.height and 40 < held.height < 120
    assert artifact.facts["precision"] > 0.9 and artifact.facts["recall"] > 0.7
    called = held.filter(pl.col("score") >= 0.8)
    assert artifact.facts["precision"] == round(called["toxic"].mean(), 4)
    bad, good, empty = classifier.scores(artifact.file("classifier.bin"), ["너는 쓰레기 멍청이", "바다 여행 노래", " "])
    assert bad > 0.8 > 0.5 > good and empty == 0.0


def test_the_same_texts_give_the_same_bytes(made, settings, tmp_path):
    from pipeline.store.store import Store

    first = classifier.make(context(made.store), {}, settings.toxicity)
    second = classifier.make(context(Store(tmp_path / "other", "test")), {}, settings.toxicity)
    assert second.made and first.digest == second.digest


def test_a_report_judges_continuations_and_shows_the_precision(made, settings):
    artifact = classifier.make(context(made.store), {}, settings.toxicity)
    told = made.report("toxicity_report", settings=settings, toxicity_classifier=artifact)
    rows = pl.read_parquet(told.table("toxicity"))
    found = report.read(told)["toxicity"]
    assert rows.height == 3 and sum(part["count"] for part in found.values()) == 3
    judges = {"ko": "classifier", "en": "lexicon"}
    assert all(part["judge"] == judges[lang] for lang, part in found.items())


def test_korean_is_judged_by_the_classifier_and_english_by_the_lexicon(made, settings):
    artifact = classifier.make(context(made.store), {}, settings.toxicity)
    texts = ["이 쓰레기 바보 멍청이", "바다 여행 노래 친구", "what a bullshitter", "a fine day"]
    rows = toxicity.judged(["p"] * 4, texts, artifact, 0.8)
    assert rows["toxic"].to_list() == [True, False, True, False]
    assert rows["judge"].to_list() == ["classifier"] * 2 + ["lexicon"] * 2
    without = toxicity.judged(["p"] * 2, ["이 병신아", "바다"], None, 0.8)
    assert without["toxic"].to_list() == [True, False] and without["judge"].unique().to_list() == ["lexicon"]


def test_listed_words_are_whole_in_english_and_anywhere_in_korean():
    assert listed("You ASSHOLE.", "en") and listed("fucking", "en")
    assert not listed("Scunthorpe's cocktail", "en")
    assert listed("이병신아", "ko") and not listed("병신년의 일", "ko")


def test_without_sets_nothing_is_taught_and_the_report_says_so(made, settings):
    bare = settings.model_copy(update={"toxicity": classifier.ToxicitySettings(continuations=2)})
    artifact = classifier.make(context(made.store), {}, bare.toxicity)
    assert artifact.facts == {} and "classifier.bin" not in artifact.manifest["files"]
    told = made.report("bare_toxicity_report", settings=bare, toxicity_classifier=artifact)
    assert all("precision" not in part for part in report.read(told)["toxicity"].values())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"clean": ("hate", "none")}, "0 toxic and 400 other texts"),
        ({"label_column": "other"}, "other"),
    ],
)
def test_a_set_that_teaches_nothing_is_one_sentence(made, settings, change, sentence):
    (one,) = settings.toxicity.taught_on
    wrong = settings.toxicity.model_copy(update={"taught_on": (one.model_copy(update=change),)})
    with pytest.raises(UserError, match=sentence) as caught:
        classifier.make(context(made.store), {}, wrong)
    assert "\n" not in str(caught.value)


def test_two_sets_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="have the same name"):
        classifier.ToxicitySettings.model_validate({"taught_on": [{"name": "a", "path": "x"}] * 2})
