"""Patterns of sentences: written with slots, filled from a scene, and read back out of text.

    {who:은} {home}에 [살다].        a slot with a particle or an ending; a predicate, inflected for tense and level
    {who}의 {animal} 이름은 {pet}[이다].   the copula takes the form that the word before it asks for
    [{hobby}<]                       the predicate is the slot's own verb; `<` is past, `>` future
    <나는>                           a word for oneself: humble where the level asks for it
    {who} lives {home}. {He} ...     English: pronouns of `who`; `{he2}` those of `two`

A scene gives each slot its key of the lexicon: `who` and `two` are people, and what is true of a person (`home`, `pet`,
...; with a 2, of `two`) need not be in the scene, since the world knows it. So a pattern tells the truth unless the
scene says otherwise. `match` is the inverse: the keys that a text gives to the slots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

from pipeline.village import lexicon
from pipeline.village.korean import LEVELS, attached, copula, oneself, predicate, with_particle
from pipeline.village.lexicon import Act, Word
from pipeline.village.world import NAMED_WITH, RELATIONS, Fact, World

Scene = Mapping[str, str]  # slot -> key of the lexicon

TABLES: dict[str, dict[str, Word] | dict[str, Act]] = {
    "who": lexicon.PEOPLE, "two": lexicon.PEOPLE, "home": lexicon.HOMES, "work": lexicon.WORK, "pet": lexicon.PETS,
    "food": lexicon.FOOD, "hobby": lexicon.HOBBIES, "kin": lexicon.PEOPLE, "day": lexicon.DAYS,
    "animal": lexicon.ANIMALS, "kinword": lexicon.KIN, "event": lexicon.EVENTS, "thing": lexicon.THINGS,
    "place": lexicon.PLACES, "fruit": lexicon.FRUIT, "weather": lexicon.WEATHER, "season": lexicon.SEASONS,
    "time": lexicon.TIMES, "today": lexicon.DAYS, "dish": lexicon.FOOD, "craft": lexicon.WORK,
    "stranger": {**lexicon.STRANGERS, **lexicon.STRANGERS_HELD_BACK},
    "number": {str(n): Word(str(n), str(n)) for n in range(1, 100)},
}  # fmt: skip
# Slots whose value the world knows from the person.
TOLD = frozenset((*RELATIONS, *NAMED_WITH.values()))
PRONOUNS = {"he": ("he", "she"), "him": ("him", "her"), "his": ("his", "her"), "himself": ("himself", "herself")}
OWNERS = {"": "who", "2": "two"}

_TOKEN = re.compile(r"\{(\w+?)(\d?)(?::([^}]*))?\}|\[(?:\{(\w+?)(\d?)\}|([^\]<>]+))([<>]?)\]|<([가-힣]+)>")


class Slot(NamedTuple):
    """A place in a pattern: the name of the slot (with its 2), its table, and the form in which its word stands."""

    name: str
    base: str
    owner: str
    form: str
    verb: bool = False  # the end of a sentence: form is the tense


class Ending(NamedTuple):
    """A fixed predicate; `verb` is 이다 for the copula."""

    verb: str
    tense: str


class Self(NamedTuple):
    """A word for oneself."""

    word: str


class Pronoun(NamedTuple):
    """An English pronoun of `owner`."""

    word: str
    owner: str


Part = str | Slot | Ending | Self | Pronoun


@dataclass(frozen=True)
class Pattern:
    """A sentence with slots, in one language."""

    lang: str
    text: str

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        return tuple(_parsed(self.text))

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(part for part in self.parts if isinstance(part, Slot))

    def render(self, scene: Scene, world: World, level: str = "plain", before: str | None = None) -> str:
        """The sentence with the words of the scene; `before`: only what stands before the first slot of this base."""
        out: list[str] = []
        for part in self.parts:
            if before is not None and isinstance(part, Slot) and part.base == before:
                break
            if isinstance(part, str):
                out.append(part)
            elif isinstance(part, Slot):
                form = f"{level}{part.form}" if part.verb else part.form
                out.append(surface(self.lang, part.base, value_of(part, scene, world), form, part.verb))
            elif isinstance(part, Ending):
                out.append(_ending(part, "".join(out), level))
            elif isinstance(part, Self):
                out.append(oneself(part.word, level))
            else:
                out.append(_pronoun(part, world.people[scene[part.owner]].female))
        return "".join(out)

    def facts(self, scene: Scene) -> tuple[Fact, ...]:
        """What the sentence tells of people of the scene."""
        return tuple(Fact(scene[slot.owner], slot.base) for slot in self.slots if slot.base in RELATIONS)

    @cache  # noqa: B019 - patterns are constants
    def expression(self, level: str) -> tuple[re.Pattern[str], dict[str, dict[str, str]]]:
        """What matches the sentence at a level, and for each of its groups, surface -> key."""
        return _expression(self, level)

    def match(self, text: str, at: int = 0, level: str = "plain") -> tuple[dict[str, str], int] | None:
        """(slot -> key, end) where the sentence stands at `at` in the text; None where it does not.

        Pronouns are not checked: whose they are is known only from the scene.
        """
        expression, keys = self.expression(level)
        found = expression.match(text, at)
        if found is None:
            return None
        scene: dict[str, str] = {}
        for group, by_surface in keys.items():
            name = group.rpartition("_")[0]
            key = by_surface[found[group]]
            if scene.setdefault(name, key) != key:
                return None
        return scene, found.end()


def value_of(slot: Slot, scene: Scene, world: World) -> str:
    """The key that a slot has in a scene: said by the scene, or true of its owner."""
    said = scene.get(slot.name)
    if said is not None:
        return said
    value: str = getattr(world.people[scene[slot.owner]], slot.base)
    return value


def patterns(lang: str, table: str) -> tuple[Pattern, ...]:
    """The patterns of a text, one a line; blank lines are left out."""
    return tuple(Pattern(lang, line.strip()) for line in table.strip().splitlines() if line.strip())


@cache
def surface(lang: str, table: str, key: str, form: str, verb: bool = False) -> str:
    """How the word `key` of a table is written in a form; for a predicate, the form is its level and tense."""
    word = TABLES[table][key]
    if lang == "en":
        return _english(table, key, word, form)
    if verb:
        tense = form[-1] if form[-1] in "<>" else ""
        return predicate(word.ko, tense, form.removesuffix(tense) if tense else form)
    if isinstance(word, Act) or table == "mood":
        return attached(word.ko, form) if form else word.ko
    return with_particle(word.ko, form) if form else word.ko


def _english(table: str, key: str, word: Word | Act, form: str) -> str:
    if isinstance(word, Act):
        return {"": word.en, "s": word.s, "ed": word.ed, "ing": word.ing}[form]
    if form == "s":
        return f"{word.en}'s"
    if form in ("a", "aUp"):
        article = "an" if word.en[0] in "aeiou" else "a"
        return f"{article if form == 'a' else article.capitalize()} {word.en}"
    if form in ("at", "atUp"):
        place = f"{lexicon.AT[key]} {word.en}"
        return place if form == "at" else place[0].upper() + place[1:]
    return word.en


def _ending(ending: Ending, before: str, level: str) -> str:
    if ending.verb == "이다":
        return copula(before, ending.tense, level)
    return predicate(ending.verb, ending.tense, level)


def _pronoun(part: Pronoun, female: bool) -> str:
    said = PRONOUNS[part.word.lower()][female]
    return said.capitalize() if part.word[0].isupper() else said


def _parsed(text: str) -> list[Part]:
    found: list[Part] = []
    at = 0
    for token in _TOKEN.finditer(text):
        if token.start() > at:
            found.append(text[at : token.start()])
        at = token.end()
        base, two, form, verb_base, verb_two, verb, tense, own = token.groups()
        if own is not None:
            found.append(Self(own))
        elif verb is not None:
            found.append(Ending(verb, tense))
        elif verb_base is not None:
            found.append(Slot(verb_base + verb_two, verb_base, OWNERS[verb_two], tense, True))
        elif base.lower() in PRONOUNS:
            found.append(Pronoun(base, OWNERS[two]))
        else:
            assert base in TABLES, f"no slot is called {base}: {text}"
            owner = OWNERS.get(two, "") if base in TOLD else base + two
            found.append(Slot(base + two, base, owner, form or ""))
    if at < len(text):
        found.append(text[at:])
    return found


def _expression(pattern: Pattern, level: str) -> tuple[re.Pattern[str], dict[str, dict[str, str]]]:
    pieces: list[str] = []
    keys: dict[str, dict[str, str]] = {}
    for number, part in enumerate(pattern.parts):
        if isinstance(part, str):
            pieces.append(re.escape(part))
        elif isinstance(part, Self):
            pieces.append(oneself(part.word, level))
        elif isinstance(part, Pronoun):
            pieces.append(f"(?:{'|'.join(_pronoun(part, female) for female in (False, True))})")
        elif isinstance(part, Ending):
            before = pattern.parts[number - 1]
            if part.verb == "이다" and isinstance(before, Slot):
                continue  # written with the slot before it
            pieces.append(re.escape(_ending(part, before if isinstance(before, str) else "", level)))
        else:
            after = pattern.parts[number + 1] if number + 1 < len(pattern.parts) else ""
            form = f"{level}{part.form}" if part.verb else part.form
            tail = after if isinstance(after, Ending) and after.verb == "이다" else None
            by_surface = {}
            for key in TABLES[part.base]:
                said = surface(pattern.lang, part.base, key, form, part.verb)
                by_surface[said + (_ending(tail, said, level) if tail else "")] = key
            group = f"{part.name}_{number}"
            keys[group] = by_surface
            longest = sorted(by_surface, key=len, reverse=True)
            pieces.append(f"(?P<{group}>{'|'.join(map(re.escape, longest))})")
    return re.compile("".join(pieces)), keys


__all__ = ["LEVELS", "TABLES", "Pattern", "Scene", "Slot", "patterns", "surface", "value_of"]
