"""Reads a story by the grammar that writes stories: is it grammatical, and does it contradict the world or itself?

A story is grammatical if all of it, from the first character to the last, is what the grammar of `stories.py` could
have written for some scene: so a wrong particle, a cut, a step that is missing or stands in the wrong place are not.
Of a grammatical story, and of the part that could be read of any other, everything told is compared with the world and
with what the story said before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.village import facts
from pipeline.village.patterns import PRONOUNS, TOLD, Pattern, Pronoun
from pipeline.village.stories import STEPS_BEFORE_THE_FRIEND, WEATHER, grammar
from pipeline.village.world import RELATIONS, World


@dataclass
class Reading:
    """What was found in a story."""

    grammatical: bool
    hero: str | None = None
    plot: str | None = None
    read: int = 0  # characters, without those of the title
    contradictions: list[str] = field(default_factory=list)
    relations: list[tuple[str, str, str]] = field(default_factory=list)  # person, relation, value as told


@dataclass(frozen=True)
class Read:
    """A sentence that was read: its pattern, what stands in its slots, and where it ends."""

    pattern: Pattern
    scene: dict[str, str]
    text: str
    end: int
    of_fact: bool


def check_story(text: str, lang: str, world: World) -> Reading:
    """Read a story, with or without its title. White space between sentences does not count."""
    text = text.strip()
    title = grammar(lang).TITLE.match(text)
    hero = None
    if title and text[title[1] : title[1] + 1] in ("\n", ""):
        hero = title[0]["who"]
        text = text[title[1] :].lstrip()
    best: tuple[int, list[Read], str | None] = (-1, [], None)
    for plot in grammar(lang).PLOTS:
        read = _longest(text, _stages(lang, plot))
        reached = read[-1].end if read else 0
        if reached > best[0]:
            best = reached, read, plot
        if _complete(text, read, plot, lang):
            break
    reached, read, plot = best
    reading = Reading(_complete(text, read, plot, lang), hero, plot if len(read) > 1 else None, max(reached, 0))
    _compare(reading, read, world)
    return reading


# -- grammar -----------------------------------------------------------------------------------------------------------

Stage = tuple[Sequence[Pattern], bool, bool]  # what may stand here, whether it may be missing, whether it tells facts


def _stages(lang: str, plot: str) -> list[Stage]:
    tables, told = grammar(lang), facts.of(lang)
    of_hero = [pattern for table in (told.TOLD, told.SHORT) for relation in RELATIONS for pattern in table[relation]]
    of_friend = [pattern for relation in RELATIONS for pattern in told.TOLD[relation]]
    steps: list[Stage] = [(step, False, False) for step in tables.PLOTS[plot]]
    steps.insert(STEPS_BEFORE_THE_FRIEND, (of_friend, True, True))
    return [(tables.OPENINGS, False, False), (of_hero, False, True), (of_hero, True, True), *steps,
            (tables.CLOSINGS, False, False)]  # fmt: skip


def _longest(text: str, stages: list[Stage]) -> list[Read]:
    """The longest reading from the start: all stages in order, as far as they can be read."""
    read: list[Read] = []
    at = 0
    for patterns, optional, of_fact in stages:
        found = next(_sentences(text, at, patterns, of_fact), None)
        if found is None:
            if optional:
                continue
            break
        read.append(found)
        at = _skip_space(text, found.end)
    return read


def _sentences(text: str, at: int, patterns: Sequence[Pattern], of_fact: bool) -> Iterator[Read]:
    """What of `patterns` stands at `at` and ends where a sentence may end."""
    for pattern in patterns:
        found = pattern.match(text, at)
        if found is not None and (found[1] == len(text) or text[found[1]].isspace()):
            yield Read(pattern, found[0], text[at : found[1]], found[1], of_fact)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _complete(text: str, read: list[Read], plot: str | None, lang: str) -> bool:
    """Whether a reading is of the whole text and of all stages that may not be missing."""
    if plot is None or not read or read[-1].end != len(text):
        return False
    return read[-1].pattern in grammar(lang).CLOSINGS


# -- truth -------------------------------------------------------------------------------------------------------------


def _compare(reading: Reading, read: list[Read], world: World) -> None:
    """Add to the reading what contradicts the world, the hero, or what the story said before."""
    scene: dict[str, str] = {} if reading.hero is None else {"who": reading.hero}
    for sentence in read:
        if not sentence.of_fact:
            for slot, key in sentence.scene.items():
                if slot.rstrip("2") not in TOLD and scene.setdefault(slot, key) != key:
                    reading.contradictions.append(f"{slot}: {key}, but before: {scene[slot]}: {sentence.text}")
    reading.hero = scene.get("who")
    if "season" in scene and scene.get("weather") not in WEATHER[scene["season"]]:
        reading.contradictions.append(f"no {scene['weather']} days in {scene['season']}")
    if scene.get("who") is not None and scene.get("who") == scene.get("two"):
        reading.contradictions.append("the friend is the hero")
    for sentence in read:
        about = _about(sentence, scene)
        if sentence.of_fact and about.get("who") not in (scene.get("who"), scene.get("two")):
            reading.contradictions.append(f"about somebody else: {sentence.text}")
        _compare_sentence(reading, sentence, about, world)


def _about(sentence: Read, scene: dict[str, str]) -> dict[str, str]:
    """Who is `who` and `two` in a sentence: a fact names its person itself or is about the hero."""
    if sentence.of_fact:
        return {"who": sentence.scene.get("who", scene.get("who", ""))}
    return {slot: scene[slot] for slot in ("who", "two") if slot in scene}


def _compare_sentence(reading: Reading, sentence: Read, about: dict[str, str], world: World) -> None:
    for slot in sentence.pattern.slots:
        if slot.base not in TOLD or slot.owner not in about or about[slot.owner] not in world.people:
            continue
        person, said = about[slot.owner], sentence.scene[slot.name]
        if slot.base in RELATIONS:
            reading.relations.append((person, slot.base, said))
        if getattr(world.people[person], slot.base) != said:
            reading.contradictions.append(f"{slot.base} of {person} is not {said}: {sentence.text}")
    pronouns = [part for part in sentence.pattern.parts if isinstance(part, Pronoun)]
    if pronouns and all(part.owner in about and about[part.owner] in world.people for part in pronouns):
        told = {**about, **sentence.scene}
        if sentence.pattern.render(told, world) != sentence.text:
            reading.contradictions.append(f"a wrong pronoun ({', '.join(PRONOUNS)}): {sentence.text}")
