"""The world is consistent, and the same for a seed."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.village import lexicon
from pipeline.village.world import FAMILIES, RELATIONS, world_of


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_families_hold_together(seed) -> None:
    people = world_of(seed).people
    assert len(people) == 40 and len(world_of(seed).facts()) == 280
    assert Counter(person.family for person in people.values()) == dict.fromkeys(range(FAMILIES), 4)
    for person in people.values():
        relative = people[person.kin]
        assert relative.name != person.name
        assert (relative.family, relative.home) == (person.family, person.home)
        assert relative.kin == person.name, "wife and husband, brother and sister name each other"
        assert relative.female == (person.kinword in ("wife", "younger sister", "older sister", "elder sister"))
        assert person.female == (person.name in lexicon.WOMEN)
        if person.kinword in ("older brother", "older sister"):
            assert not person.female, "형 and 누나 are said by men"
        if person.kinword in ("elder brother", "elder sister"):
            assert person.female, "오빠 and 언니 are said by women"


def test_values_are_of_their_relation_and_no_value_is_everybodys() -> None:
    people = world_of(3).people.values()
    for relation, values in RELATIONS.items():
        held = Counter(getattr(person, relation) for person in people)
        assert held.keys() <= set(values)
        assert max(held.values()) <= 6


def test_conversations_speak_of_whole_families_and_of_no_others() -> None:
    world = world_of(0)
    assert set(world.asked) | set(world.never_asked) == set(world.people) and len(world.never_asked) == 12
    assert {world.people[name].kin for name in world.asked} <= set(world.asked)


def test_another_seed_is_another_village() -> None:
    assert world_of(1).people != world_of(2).people
    assert world_of(1).people == world_of.__wrapped__(1).people


def test_names_are_told_apart_at_their_first_letters() -> None:
    """No name is the beginning of another one, nor of a pet's: a reader knows after the name whose it is."""
    for lang in ("ko", "en"):
        tables = (lexicon.PEOPLE, lexicon.STRANGERS, lexicon.STRANGERS_HELD_BACK, lexicon.PETS)
        names = [getattr(word, lang) for table in tables for word in table.values()]
        assert len(set(names)) == len(names)
        assert not [(a, b) for a in names for b in names if a != b and b.startswith(a)]
