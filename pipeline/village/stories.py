"""Stories: an opening, some facts about the hero, one plot step by step, a closing.

Where a sentence begins with the friend, it says so ("친구 유나는", "His friend Yuna"): whose turn it is can then be
read from the sentence itself, which a small network learns long before it can look back at who the hero was.

The order is the grammar that `checker.py` reads back:

    opening, 1 or 2 facts of the hero, two steps, at most one fact of the friend, three steps, closing
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType

from pipeline.village import facts, lexicon, stories_english, stories_korean
from pipeline.village.patterns import Pattern, Scene
from pipeline.village.world import RELATIONS, Fact, World

# What the weather can be in a season.
WEATHER = {
    "spring": ("sunny", "windy", "cloudy", "rainy", "foggy", "warm"),
    "summer": ("sunny", "windy", "cloudy", "rainy", "foggy", "warm"),
    "autumn": ("sunny", "windy", "cloudy", "rainy", "foggy", "cold"),
    "winter": ("sunny", "windy", "cloudy", "snowy", "foggy", "cold"),
}
WITHOUT_SNOW = ("spring", "summer", "autumn")
STEPS_BEFORE_THE_FRIEND = 2  # after so many steps, a fact about the friend may be told


@dataclass(frozen=True)
class Sentence:
    """A sentence and what it tells: facts of people, or nothing that can be asked for."""

    text: str
    facts: tuple[Fact, ...] = ()


Lines = list[list[Sentence]]  # a document: its lines, each of sentences


@dataclass
class Story:
    """A story without its title: its sentences, the hero, and what the grammar chose."""

    sentences: list[Sentence]
    hero: str
    plot: str
    scene: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return " ".join(sentence.text for sentence in self.sentences)


def grammar(lang: str) -> ModuleType:
    """The tables of stories of a language."""
    return stories_korean if lang == "ko" else stories_english


def said(pattern: Pattern, scene: Scene, world: World, level: str = "plain") -> Sentence:
    """A pattern told of a scene."""
    return Sentence(pattern.render(scene, world, level), pattern.facts(scene))


def two_people(dice: random.Random, world: World, who: str | None = None) -> tuple[str, str]:
    """A person, `who` if that is given, and one of another family."""
    names = _names(world)
    first = who or dice.choice(names)
    second = dice.choice(names)
    while world.people[second].family == world.people[first].family:
        second = dice.choice(names)
    return first, second


@cache
def _names(world: World) -> list[str]:
    return list(world.people)


def story(dice: random.Random, lang: str, world: World, who: str | None = None) -> Story:
    """A story about `who`, or about anybody."""
    tables = grammar(lang)
    plot = dice.choice(list(tables.PLOTS))
    scene = scenery(dice, WITHOUT_SNOW if plot == "storm" else tuple(WEATHER))
    if plot == "storm":  # which comes as a surprise
        scene["weather"] = dice.choice(("sunny", "windy"))
    scene["who"], scene["two"] = two_people(dice, world, who)
    friend = {"who": scene["two"]}
    sentences = [said(dice.choice(tables.OPENINGS), scene, world)]
    met = False  # whether the friend has come up
    short, told = facts.of(lang).SHORT, facts.of(lang).TOLD
    for number, relation in enumerate(dice.sample(_RELATIONS, dice.choice((1, 2, 2)))):
        table = short if number else told
        sentences.append(said(dice.choice(table[relation]), scene, world))
    for number, step in enumerate(tables.PLOTS[plot]):
        if number == STEPS_BEFORE_THE_FRIEND and met and dice.random() < 0.15:
            sentences.append(said(facts.told(dice, lang, dice.choice(_RELATIONS)), friend, world))
        pattern = dice.choice(step)
        met = met or any(slot.name == "two" for slot in pattern.slots)
        sentences.append(said(pattern, scene, world))
    sentences.append(said(dice.choice(tables.CLOSINGS), scene, world))
    return Story(sentences, scene["who"], plot, scene)


def scenery(dice: random.Random, seasons: tuple[str, ...] = tuple(WEATHER)) -> dict[str, str]:
    """Season, weather, and the things of a scene that no fact depends on."""
    season = dice.choice(seasons)
    return {
        "season": season,
        "weather": dice.choice(WEATHER[season]),
        "time": dice.choice(_TIMES),
        "place": dice.choice(_PLACES),
        "thing": dice.choice(_THINGS),
        "fruit": dice.choice(_FRUIT),
        "today": dice.choice(_DAYS),
    }


_TIMES, _PLACES, _THINGS = tuple(lexicon.TIMES), tuple(lexicon.PLACES), tuple(lexicon.THINGS)
_RELATIONS = list(RELATIONS)
_FRUIT, _DAYS = tuple(lexicon.FRUIT), tuple(lexicon.DAYS)
