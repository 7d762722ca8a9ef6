"""The checker reads all stories of the grammar, and refuses those that were tampered with."""

from __future__ import annotations

import random

import pytest

from pipeline.village import facts
from pipeline.village.checker import check_story
from pipeline.village.facts import LANGUAGES
from pipeline.village.lexicon import PEOPLE
from pipeline.village.patterns import TABLES
from pipeline.village.stories import grammar, said, story
from pipeline.village.world import world_of

WORLD = world_of(0)


def stories(lang: str, count: int):
    dice = random.Random(f"checker {lang}")
    return [story(dice, lang, WORLD) for _ in range(count)]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_story_is_grammatical_true_and_about_its_hero(lang) -> None:
    plots = set()
    for told in stories(lang, 600):
        title = said(grammar(lang).TITLE, told.scene, WORLD).text
        for text in (told.text, f"{title}\n{told.text}"):
            reading = check_story(text, lang, WORLD)
            assert reading.grammatical and not reading.contradictions, (text, reading)
            assert (reading.hero, reading.plot) == (told.hero, told.plot)
        tells = {(fact.person, fact.relation) for sentence in told.sentences for fact in sentence.facts}
        assert {(person, relation) for person, relation, _ in reading.relations} == tells
        plots.add(told.plot)
    assert plots == grammar(lang).PLOTS.keys()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_friend_is_introduced_as_one_before_anything_else_is_said_of_them(lang) -> None:
    for told in stories(lang, 300):
        friend = getattr(PEOPLE[told.scene["two"]], lang)
        before = told.text[: told.text.index(friend)]
        assert told.plot == "traveller" or before.endswith(("친구 ", "friend ")), told.text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_story_that_is_cut_is_not_grammatical(lang) -> None:
    for told in stories(lang, 100):
        assert not check_story(told.text[:-3], lang, WORLD).grammatical
        without_last = " ".join(sentence.text for sentence in told.sentences[:-1])
        assert not check_story(without_last, lang, WORLD).grammatical
        without_first = " ".join(sentence.text for sentence in told.sentences[1:])
        assert not check_story(without_first, lang, WORLD).grammatical


@pytest.mark.parametrize("lang", LANGUAGES)
def test_steps_in_another_order_are_not_grammatical(lang) -> None:
    for told in stories(lang, 100):
        texts = [sentence.text for sentence in told.sentences]
        texts[-2], texts[-3] = texts[-3], texts[-2]
        assert not check_story(" ".join(texts), lang, WORLD).grammatical


def test_a_wrong_particle_is_not_grammatical() -> None:
    wrong = {"은 ": "는 ", "는 ": "은 ", "을 ": "를 ", "를 ": "을 "}
    tampered = 0
    for told in stories("ko", 200):
        name = WORLD.people[told.hero]
        for right, other in wrong.items():
            before = PEOPLE[name.name].ko + right
            if before in told.text:
                text = told.text.replace(before, before[:-2] + other, 1)
                assert not check_story(text, "ko", WORLD).grammatical, text
                tampered += 1
    assert tampered > 150


def test_a_missing_or_doubled_word_is_not_grammatical() -> None:
    for lang in LANGUAGES:
        for told in stories(lang, 100):
            words = told.text.split()
            middle = len(words) // 2
            assert not check_story(" ".join(words[:middle] + words[middle + 1 :]), lang, WORLD).grammatical
            assert not check_story(" ".join([*words[:middle], words[middle], *words[middle:]]), lang, WORLD).grammatical


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("relation", ["home", "pet", "food", "kin", "work", "hobby", "day", "animal"])
def test_a_value_that_is_not_true_is_a_contradiction(lang, relation) -> None:
    found = 0
    dice = random.Random(relation)
    for told in stories(lang, 200):
        true = getattr(WORLD.people[told.hero], relation)
        for number, sentence in enumerate(told.sentences):
            reading = _pattern_of(lang, sentence.text, relation, told.hero)
            if reading is None:
                continue
            pattern, scene = reading
            false = dice.choice([key for key in TABLES[relation] if key not in (true, told.hero)])
            texts = [one.text for one in told.sentences]
            texts[number] = pattern.render({**told.scene, **scene, relation: false}, WORLD)
            checked = check_story(" ".join(texts), lang, WORLD)
            assert checked.contradictions and relation in checked.contradictions[0], texts[number]
            found += 1
            break
    assert found > 2


def _pattern_of(lang, text, relation, hero):
    """The pattern of a sentence that tells a relation of the hero, and what stands in it."""
    tables = facts.of(lang)
    candidates = [p for table in (tables.TOLD, tables.SHORT) for patterns in table.values() for p in patterns]
    for plot in grammar(lang).PLOTS.values():
        candidates += [pattern for step in plot for pattern in step]
    for pattern in candidates:
        if any(slot.name == relation for slot in pattern.slots):
            found = pattern.match(text)
            if found and found[1] == len(text) and found[0].get("who", hero) == hero:
                return pattern, {"who": hero, **found[0]}
    return None


def test_a_story_that_changes_its_hero_or_its_friend_contradicts_itself() -> None:
    told = next(one for one in stories("en", 400) if one.plot == "lost" and one.text.count(one.scene["two"]) > 1)
    last = told.sentences[-1].text
    assert check_story(told.text, "en", WORLD).contradictions == []
    other = next(name for name in WORLD.asked if name not in (told.hero, told.scene["two"]) and name not in told.text)
    for text in (
        told.text.replace(told.scene["two"], other, 1),
        told.text.removesuffix(last) + f"{other} never forgot that day.",
    ):
        reading = check_story(text, "en", WORLD)
        assert reading.contradictions, text


def test_a_wrong_pronoun_and_snow_in_summer_are_contradictions() -> None:
    short = next(one for one in stories("en", 400) if " He " in one.text and " She " not in one.text)
    assert check_story(short.text.replace(" He ", " She ", 1), "en", WORLD).contradictions
    summer = next(one for one in stories("ko", 400) if "맑은 여름날" in one.text)
    assert check_story(summer.text.replace("맑은 여름날", "눈 오는 여름날"), "ko", WORLD).contradictions


def test_text_of_something_else_is_no_story() -> None:
    for text in ("", "Fellow citizens of the Senate", "민수의 이야기", "민수", "A story about Minsu\n"):
        assert not check_story(text, "ko", WORLD).grammatical
        assert not check_story(text, "en", WORLD).grammatical
