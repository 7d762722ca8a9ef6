"""What a model knows of the village: asked as documents and conversations say it, and judged by the village itself."""

from __future__ import annotations

import random
from dataclasses import replace

import polars as pl
import pytest

from pipeline.evaluation import report
from pipeline.evaluation.measure import Subject
from pipeline.evaluation.measure_settings import VillageSettings
from pipeline.evaluation.measures import village, village_answers
from pipeline.evaluation.village_goals import GOALS, outcomes
from pipeline.village import asking
from pipeline.village.questions import cloze_questions, evaluation_questions
from pipeline.village.stories import story
from pipeline.village.world import world_of
from tests.evaluation.conftest import SETTINGS

WORLD = world_of(0)
ASKED = SETTINGS.model_copy(update={"village": VillageSettings(stories=4)})


@pytest.fixture
def scripted(monkeypatch, tokenizer):
    """A model that says what a function makes of its prompt, as text."""

    def script(say):
        def together(model, prompts, most, sampling=None, stop_ids=(), progress=None):
            return [tokenizer.encode([say(tokenizer.decode(ids))])[0].tolist()[:most] for ids in prompts]

        monkeypatch.setattr("model.generate_together.generate_together", together)

    return script


def test_a_fact_is_known_if_its_value_follows(network, tokenizer, scripted, monkeypatch):
    monkeypatch.setattr(asking, "VALUE_TOKENS", 80)  # a token of this tokenizer is a byte
    questions = list(cloze_questions(0))
    values = {one.prompt: one.value for one in questions}
    scripted(lambda prompt: f" {values[prompt]}, and so on")
    longer = _with_context(network, 4096)
    known = asking.facts_known(longer, tokenizer, questions)
    assert known.height == len(questions) and known["right"].all()
    assert village.by_language(known, ("right",))["ko"] == {"count": 560, "right": 1.0}
    english = [one for one in questions if one.lang == "en"]
    scripted(lambda prompt: f" {english[0].value}")
    wrong = asking.facts_known(longer, tokenizer, english)
    assert 0 < wrong["right"].mean() < 0.2


def test_a_story_is_judged_by_the_grammar_that_writes_stories():
    dice = random.Random(1)
    for lang in ("ko", "en"):
        told = story(dice, lang, WORLD)
        text = village.title(lang, told.hero, WORLD) + told.text
        assert village.judged(text, lang, WORLD) == {"grammatical": True, "consistent": True, "both": True}
        assert not village.judged(text[:-5], lang, WORLD)["grammatical"]
        other = next(name for name in WORLD.people if name != told.hero)
        assert not village.judged(village.title(lang, other, WORLD) + told.text, lang, WORLD)["consistent"]


def test_a_story_is_verbatim_if_it_is_a_document_of_the_training_text(made):
    from pipeline.tokens.tokenizer import load

    shards = made.inputs["token_shards"]
    tokenizer = load(made.inputs["model"].local_directory())
    rows = pl.concat([pl.read_parquet(shards.table(fragment)) for fragment in shards.fragments])
    text = tokenizer.decode(rows.filter(split="train")["tokens"][0].to_list())
    wanted = [text, text + " more", text[:-3]]
    assert village.stand_in_training(tokenizer, shards, wanted) == [True, False, False]


def test_answers_are_judged_by_kind(network, tokenizer, scripted):
    questions = evaluation_questions(0)
    answers = {one.question: one.answer for one in questions}
    dice = random.Random(2)
    heroes = {one.question: (one.lang, one.person) for one in questions if one.kind == "story"}

    def right(prompt: str) -> str:
        question = prompt.removeprefix("user\n").removesuffix("\nassistant\n")
        return (
            story(dice, heroes[question][0], WORLD, heroes[question][1]).text
            if question in heroes
            else answers[question]
        )

    subject = Subject(network, network, tokenizer, "cpu", {}, 0, lambda line: None, lambda done, of: None)
    subject = replace(subject, generating=_with_context(network, 4096))
    scripted(right)
    found = village_answers.answered(subject, questions, WORLD)
    assert found["right"].all() and found["ended"].all()
    assert (
        found.filter(kind="story")["consistent"].all()
        and found.filter(pl.col("kind") != "story")["consistent"].is_null().all()
    )
    reached = outcomes("sft", {"village_answers": village_answers.figures_of(found)})
    assert len(reached) == len(GOALS["sft"]) and all(one.reached for one in reached)

    scripted(lambda prompt: "민수의 고양이 이름은 나비예요.")
    wrong = village_answers.figures_of(village_answers.answered(subject, questions, WORLD))
    assert all(figures["right"] < 0.1 for kind, of in wrong.items() if kind != "ended" for figures in of.values())


def _with_context(network, context):
    class Longer:
        config = network.config.model_copy(update={"context": context})

    return Longer()


@pytest.mark.parametrize(
    ("lang", "answer", "unknown"),
    [
        ("en", "I do not know anybody called Elena.", True),
        ("en", "I do not know that about Minsu.", True),
        ("en", "I do not know anybody called Elena. Elena lives by the lake.", False),
        ("ko", "엘레나라는 사람은 몰라요.", True),
        ("ko", "엘레나의 집은 호숫가에 있어요.", False),
    ],
)
def test_not_knowing_is_an_answer(lang, answer, unknown):
    assert village_answers.says_unknown(answer, lang) is unknown


def test_the_village_is_asked_about_only_where_the_recipe_asks_for_it(made):
    asked = made.report("v1", "instruction_data", settings=ASKED)
    found = report.read(asked)
    assert {"village", "village_answers"} <= set(found)
    assert found["village"]["stories"]["ko"]["count"] == 4
    assert set(asked.fragments) >= {"village_facts", "village_answers"}
    assert "village" not in report.read(made.report("v2", settings=ASKED)).get("village_answers", {})
    assert "village_answers" not in report.read(made.report("v3", settings=ASKED)), (
        "a model that was not taught to answer"
    )
    plain = made.report("v4")
    assert "village" not in plain.manifest["made_of"]["settings"], "a key that came later is no part of what is made"


def test_a_tuned_model_is_asked_for_stories_in_conversations_only(made):
    tuned = made.report("v6", "instruction_data", settings=ASKED, base=made.second_model)
    found = report.read(tuned)
    assert set(found["village"]) == {"facts"} and "story" in found["village_answers"]
    assert "story" not in set(pl.read_parquet(tuned.table("samples"))["kind"])


def test_every_goal_is_a_figure_of_a_report(made):
    asked = report.read(made.report("v5", settings=ASKED))
    answering = report.read(
        made.report("v7", "instruction_data", "preference_data", settings=ASKED, base=made.second_model)
    )
    for model in GOALS:
        found = asked if model == "pretrained" else answering
        assert [one.goal.name for one in outcomes(model, found) if one.value is None] == []
        assert len({goal.name for goal in GOALS[model]}) == len(GOALS[model])
