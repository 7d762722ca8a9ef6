"""Patterns are written and read back."""

from __future__ import annotations

import random

import pytest

from pipeline.village import (
    facts,
    forms_english,
    forms_korean,
    how_tos_english,
    how_tos_korean,
    stories_english,
    stories_korean,
)
from pipeline.village.korean import LEVELS
from pipeline.village.patterns import Pattern, surface
from pipeline.village.stories import scenery, two_people
from pipeline.village.world import RELATIONS, world_of

WORLD = world_of(0)


def all_patterns(lang: str) -> list[Pattern]:
    """Every pattern of a language's tables, however they are nested, in order."""
    modules = (
        (facts.of(lang), forms_korean, how_tos_korean, stories_korean)
        if lang == "ko"
        else (facts.of(lang), forms_english, how_tos_english, stories_english)
    )
    found: dict[Pattern, None] = {}

    def gather(value: object) -> None:
        if isinstance(value, Pattern):
            found[value] = None
        elif isinstance(value, dict):
            gather(tuple(value))
            gather(tuple(value.values()))
        elif isinstance(value, tuple | list):
            for one in value:
                gather(one)

    for module in modules:
        for name in dir(module):
            if name.isupper():
                gather(getattr(module, name))
    return list(found)


@pytest.mark.parametrize("lang", facts.LANGUAGES)
def test_there_are_hundreds_of_patterns(lang) -> None:
    assert len(all_patterns(lang)) > 450


@pytest.mark.parametrize("lang", facts.LANGUAGES)
def test_what_a_pattern_writes_it_also_reads(lang) -> None:
    dice = random.Random(0)
    for pattern in all_patterns(lang):
        scene = scenery(dice) | {"dish": "dumplings", "stranger": "Anna"}
        scene["who"], scene["two"] = two_people(dice, WORLD)
        for level in LEVELS if lang == "ko" else ("plain",):
            text = pattern.render(scene, WORLD, level)
            found = pattern.match(text, 0, level)
            assert found is not None and found[1] == len(text), text
            for slot in pattern.slots:
                said = scene.get(slot.name) or getattr(WORLD.people[scene[slot.owner]], slot.base)
                assert surface(
                    lang, slot.base, found[0][slot.name], "" if not slot.verb else "plain", slot.verb
                ) == surface(lang, slot.base, said, "" if not slot.verb else "plain", slot.verb)


@pytest.mark.parametrize("lang", facts.LANGUAGES)
def test_every_fact_is_told_with_the_person_and_the_relation_before_the_value(lang) -> None:
    for relation in RELATIONS:
        for pattern in facts.of(lang).TOLD[relation]:
            bases = [slot.base for slot in pattern.slots]
            assert bases[-1] == relation and "who" in bases[:-1], pattern.text


@pytest.mark.parametrize("lang", facts.LANGUAGES)
@pytest.mark.parametrize("table", ["TOLD", "SHORT", "OWN"])
def test_what_stands_before_a_value_says_which_relation_it_is_of(lang, table) -> None:
    """`Minsu is` or `민수는` alone leaves open what comes: such a sentence teaches nothing that can be asked for."""
    told = getattr(facts.of(lang), table)
    for scene in ({"who": "Minsu"}, {"who": "Yuna"}, {"who": "Jihun"}):
        for relation, patterns in told.items():
            others = [one.render(scene, WORLD) for name in told if name != relation for one in told[name]]
            for pattern in patterns:
                begin = pattern.render(scene, WORLD, before=relation)
                assert len(begin) > 2, pattern.text
                assert not [other for other in others if other.startswith(begin)], pattern.text


def test_a_sentence_says_what_it_tells() -> None:
    pattern = Pattern("en", "{who} ran to {two:s} house {home2}.")
    scene = {"who": "Minsu", "two": "Sora"}
    assert [(fact.person, fact.relation) for fact in pattern.facts(scene)] == [("Sora", "home")]
    assert pattern.render(scene, WORLD) == f"Minsu ran to Sora's house {WORLD.people['Sora'].home}."
    assert pattern.match("Minsu ran to Nobody's house by the lake.") is None


def test_a_scene_can_say_what_is_not_true() -> None:
    pattern = facts.of("ko").TOLD["pet"][0]
    other = "Nabi" if WORLD.people["Minsu"].pet != "Nabi" else "Coco"
    told = pattern.render({"who": "Minsu", "pet": other}, WORLD)
    assert pattern.match(told)[0]["pet"] == other != WORLD.people["Minsu"].pet


def test_wordings_of_a_relation_differ_and_the_three_sets_of_questions_share_none() -> None:
    for lang in facts.LANGUAGES:
        asking = facts.questions(lang)
        for relation in RELATIONS:
            assert len(facts.of(lang).TOLD[relation]) >= 5
            assert len(asking.ASKED[relation]) >= 10 and len(asking.HELD_BACK[relation]) >= 3
            tables = (asking.READING[relation], asking.ASKED[relation], asking.HELD_BACK[relation])
            texts = [pattern.text for table in tables for pattern in table]
            assert len(set(texts)) == len(texts)
