"""The world: who lives in the village, and what is true of everybody.

Forty people in ten families. Of each person seven facts are told, in both languages: the home, the work, the name of
the pet, the favourite food, the hobby, one member of the family, and the day on which something happened. A `Person`
also has what a question about them has to name (`animal`, `kinword`, `event`), which is true but not asked for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from pipeline.village import lexicon

# What is told of a person -> the values it can have.
RELATIONS: dict[str, tuple[str, ...]] = {
    "home": tuple(lexicon.HOMES),
    "work": tuple(lexicon.WORK),
    "pet": tuple(lexicon.PETS),
    "food": tuple(lexicon.FOOD),
    "hobby": tuple(lexicon.HOBBIES),
    "kin": tuple(lexicon.PEOPLE),
    "day": tuple(lexicon.DAYS),
}
# What a sentence about a relation names besides the person: 'the cat of Minsu', 'the wife of', 'the day on which'.
NAMED_WITH = {"pet": "animal", "kin": "kinword", "day": "event"}
FAMILIES = 10
NEVER_ASKED = 3  # families whose members never occur in conversations


@dataclass(frozen=True, slots=True)
class Person:
    """One of the village; all values are keys of the lexicon."""

    name: str
    female: bool
    family: int
    home: str
    work: str
    animal: str
    pet: str
    food: str
    hobby: str
    kinword: str
    kin: str
    event: str
    day: str


@dataclass(frozen=True)
class Fact:
    """That a relation of a person has the value which the world gives it."""

    person: str
    relation: str


@dataclass(frozen=True, eq=False)
class World:
    """All people by name, and of whom conversations ask."""

    seed: int
    people: dict[str, Person]
    asked: tuple[str, ...]  # those of whom conversations speak
    never_asked: tuple[str, ...]  # and whole families of whom they never do

    def value(self, fact: Fact) -> str:
        """The key of what is true."""
        value: str = getattr(self.people[fact.person], fact.relation)
        return value

    def facts(self) -> list[Fact]:
        """Everything that is told, in a fixed order: people times relations."""
        return [Fact(name, relation) for name in self.people for relation in RELATIONS]


@cache
def world_of(seed: int) -> World:
    """The village of this seed. Twice the same for the same seed, on every machine."""
    dice = random.Random(f"village {seed}")
    families = _families(dice)
    homes = dice.sample(list(lexicon.HOMES), FAMILIES)
    names = [name for family in families for name, *_ in family]
    drawn = {
        "work": _spread(dice, lexicon.WORK, len(names)),
        "animal": _spread(dice, lexicon.ANIMALS, len(names)),
        "pet": _spread(dice, lexicon.PETS, len(names)),
        "food": _spread(dice, lexicon.FOOD, len(names)),
        "hobby": _spread(dice, lexicon.HOBBIES, len(names)),
        "event": _spread(dice, lexicon.EVENTS, len(names)),
        "day": _spread(dice, lexicon.DAYS, len(names)),
    }
    people, number = {}, 0
    for family, members in enumerate(families):
        for name, kinword, kin in members:
            own = {what: values[number] for what, values in drawn.items()}
            people[name] = Person(
                name, name in lexicon.WOMEN, family, home=homes[family], kinword=kinword, kin=kin, **own
            )
            number += 1
    order = sorted(people)
    people = {name: people[name] for name in order}
    apart = dice.sample(range(FAMILIES), NEVER_ASKED)
    asked = tuple(name for name in order if people[name].family not in apart)
    never_asked = tuple(name for name in order if people[name].family in apart)
    return World(seed, people, asked, never_asked)


def _spread(dice: random.Random, values: dict[str, lexicon.Word] | dict[str, lexicon.Act], count: int) -> list[str]:
    """`count` values in random order, each about equally often."""
    keys = dice.sample(list(values), len(values))
    return dice.sample((keys * (count // len(keys) + 1))[:count], count)


def _families(dice: random.Random) -> list[list[tuple[str, str, str]]]:
    """(name, word for a relative, that relative) of the members of each family: a couple and two grown children."""
    men = dice.sample(list(lexicon.MEN), len(lexicon.MEN))
    women = dice.sample(list(lexicon.WOMEN), len(lexicon.WOMEN))
    couples = [(men.pop(), women.pop()) for _ in range(FAMILIES)]
    rest = dice.sample(men + women, len(men) + len(women))
    families = []
    for husband, wife in couples:
        elder, younger = rest.pop(), rest.pop()
        families.append([
            (husband, "wife", wife),
            (wife, "husband", husband),
            (elder, "younger sister" if younger in lexicon.WOMEN else "younger brother", younger),
            (younger, _elder_word(elder, younger), elder),
        ])  # fmt: skip
    return families


def _elder_word(elder: str, younger: str) -> str:
    """The word for an elder sibling: Korean has four, by who speaks; English writes older and elder for them."""
    by_woman = younger in lexicon.WOMEN
    if elder in lexicon.WOMEN:
        return "elder sister" if by_woman else "older sister"
    return "elder brother" if by_woman else "older brother"
