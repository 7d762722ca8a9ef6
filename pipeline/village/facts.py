"""Facts in either language: how they are told, asked for and answered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import ModuleType

from pipeline.village import facts_english, facts_korean, questions_english, questions_korean
from pipeline.village.patterns import Pattern, Pronoun, surface, value_of
from pipeline.village.world import RELATIONS, Fact, World, world_of

LANGUAGES = ("ko", "en")
# The form in which an answer is given: in Korean at the polite level, in English the first pattern.
ANSWER_LEVEL = "polite"


def of(lang: str) -> ModuleType:
    """How facts are told in a language."""
    return facts_korean if lang == "ko" else facts_english


def questions(lang: str) -> ModuleType:
    """How facts are asked for in a language."""
    return questions_korean if lang == "ko" else questions_english


def told(dice: random.Random, lang: str, relation: str) -> Pattern:
    """One of the ways to tell a relation in a whole sentence."""
    return dice.choice(of(lang).TOLD[relation])


def answer(lang: str, fact: Fact, world: World) -> str:
    """The one right answer to a question about a fact, as conversations give it."""
    pattern: Pattern = of(lang).TOLD[fact.relation][0]
    return pattern.render({"who": fact.person}, world, ANSWER_LEVEL)


def wrong_value(dice: random.Random, fact: Fact, world: World) -> str:
    """The key of a value that the relation could have and that is not true of the person."""
    true = world.value(fact)
    others = [value for value in RELATIONS[fact.relation] if value not in (true, fact.person)]
    return dice.choice(others)


def value_text(lang: str, relation: str, key: str) -> str:
    """A value as it is said alone."""
    form = {"en": "ing", "ko": "기"}[lang] if relation == "hobby" else ""
    return surface(lang, relation, key, form)


# Relations that a question can name without knowing anything else of the person.
WITHOUT_A_NAME = ("home", "work", "food", "hobby")


def asked_of_stranger(dice: random.Random, lang: str, wordings: Sequence[Pattern], name: str) -> str:
    """A question in one of the wordings that need no pronoun, about somebody who does not exist."""
    free = [wording for wording in wordings if not any(isinstance(part, Pronoun) for part in wording.parts)]
    text = dice.choice(free).text.replace("{who", "{stranger")
    return Pattern(lang, text).render({"stranger": name}, world_of(0))


def unknown_person(lang: str, name: str) -> str:
    """The answer to a question about somebody who does not exist."""
    pattern: Pattern = questions(lang).UNKNOWN_PERSON
    return pattern.render({"stranger": name}, world_of(0))


def nobody(lang: str) -> str:
    """The same without the name, which a small network seldom repeats rightly."""
    pattern: Pattern = questions(lang).NOBODY
    return pattern.text


def unknown_fact(lang: str, person: str, world: World) -> str:
    """The answer to a question about what was never told."""
    pattern: Pattern = questions(lang).UNKNOWN_FACT
    return pattern.render({"who": person}, world)


def cloze(pattern: Pattern, relation: str, person: str, world: World) -> tuple[str, str]:
    """(text up to the value, the value as it stands there) of one way to tell a relation."""
    scene = {"who": person}
    slot = next(slot for slot in pattern.slots if slot.base == relation)
    form = f"plain{slot.form}" if slot.verb else slot.form
    value = surface(pattern.lang, relation, value_of(slot, scene, world), form, slot.verb)
    return pattern.render(scene, world, before=relation).rstrip(), value
