"""Conversations to fine-tune on: facts, retelling, politeness, translation, sums, stories, not knowing, greetings.

They speak of the people of `World.asked` alone, never in the wordings that are held back (`questions.py`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from pipeline.village import LICENSE, facts, lexicon, tasks
from pipeline.village.facts import LANGUAGES
from pipeline.village.patterns import Pattern
from pipeline.village.small_talk import small_talk
from pipeline.village.stories import story
from pipeline.village.tasks import Task
from pipeline.village.world import RELATIONS, Fact, World, world_of

# Kind -> share of the conversations.
KINDS = {
    "fact": 0.36,
    "several": 0.16,
    "unknown_person": 0.06,
    "untold_fact": 0.08,
    "retelling": 0.05,
    "politeness": 0.07,
    "translation": 0.08,
    "sum": 0.05,
    "story": 0.06,
    "small_talk": 0.03,
}
# Of what a conversation of several questions is made.
SHORT_KINDS = ("unknown_person", "untold_fact", "retelling", "politeness", "translation", "sum")
CHANGES_LANGUAGE = 0.25  # of the questions after the first
ENDS_IN_A_STORY = 0.2
SMALL_TALK_BETWEEN = 0.2  # of these conversations begin with a greeting or the like, and as many have it later


def conversations(count: int, seed: int = 0, languages: tuple[str, ...] = LANGUAGES) -> Iterator[dict[str, Any]]:
    """Rows `messages`, `lang`, `license`, `kind`, `people`; no two of them alike.

    At most `count`: the set ends where every question about every fact has been asked once (some 10,000 rows).
    """
    world = world_of(seed)
    dice = random.Random(f"conversations {seed}")
    kinds, shares = list(KINDS), list(KINDS.values())
    left = {lang: _every_question(dice, lang, world) for lang in languages}
    seen: set[tuple[str, ...]] = set()
    while len(seen) < count:
        lang = languages[len(seen) % len(languages)]
        kind = dice.choices(kinds, shares)[0]
        if kind == "fact":
            if not left[lang]:
                return
            fact, wording = left[lang].pop()
            turns, people = [asked(lang, fact, wording, world)], [fact.person]
        else:
            turns, people = drawn(dice, kind, lang, world, languages)
        said = tuple(text for turn in turns for text in turn)
        if said in seen:
            continue
        seen.add(said)
        roles = ("user", "assistant")
        messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
        yield {"messages": messages, "lang": lang, "license": LICENSE, "kind": kind, "people": people}


def _every_question(dice: random.Random, lang: str, world: World) -> list[tuple[Fact, Pattern]]:
    """All facts of those who are asked about, in all usual wordings, in random order."""
    table = facts.questions(lang).ASKED
    every = [
        (Fact(person, relation), wording)
        for person in world.asked
        for relation in RELATIONS
        for wording in table[relation]
    ]
    dice.shuffle(every)
    return every


def drawn(
    dice: random.Random, kind: str, lang: str, world: World, languages: tuple[str, ...] = ()
) -> tuple[list[Task], list[str]]:
    """The questions and answers of a conversation of a kind, and of whom they are.

    languages: to which one of several questions may change.
    """
    wordings = facts.questions(lang)
    fact = Fact(dice.choice(world.asked), dice.choice(list(RELATIONS)))
    if kind == "several":
        return _several(dice, lang, world, languages)
    if kind == "fact":
        return [asked(lang, fact, dice.choice(wordings.ASKED[fact.relation]), world)], [fact.person]
    if kind == "unknown_person":
        name = dice.choice(list(lexicon.STRANGERS))
        table = wordings.ASKED[dice.choice(facts.WITHOUT_A_NAME)]
        return [Task(facts.asked_of_stranger(dice, lang, table, name), facts.nobody(lang))], []
    if kind == "untold_fact":
        question = dice.choice(wordings.UNTOLD).render({"who": fact.person}, world)
        return [Task(question, facts.unknown_fact(lang, fact.person, world))], [fact.person]
    if kind == "small_talk":
        return [small_talk(dice, lang)], []
    if kind == "sum":
        return [tasks.sum_of(dice, lang, held_back=False)], []
    if kind == "story":
        question = dice.choice(tasks.ASK_FOR_A_STORY[lang]).render({"who": fact.person}, world)
        return [Task(question, story_among(dice, lang, world, fact.person))], [fact.person]
    return [tasks.ABOUT_A_FACT[kind](dice, lang, fact, world)], [] if (kind, lang) == ("politeness", "en") else [
        fact.person
    ]


def _several(dice: random.Random, lang: str, world: World, languages: tuple[str, ...]) -> tuple[list[Task], list[str]]:
    """From two to four questions, most of them about facts: what was asked before has no part in an answer.

    Each is answered in its own language. Some of these conversations end in a story, or in thanks for one.
    """
    kinds = [dice.choice(SHORT_KINDS) if dice.random() < 0.3 else "fact" for _ in range(dice.choice((2, 3, 4)))]
    if dice.random() < ENDS_IN_A_STORY:
        kinds = [*kinds[:2], "story"] if dice.random() < 0.5 else [*kinds[:1], "story", "small_talk"]
    for at in (0, dice.randrange(1, len(kinds))):
        if dice.random() < SMALL_TALK_BETWEEN:
            kinds[at] = "small_talk"
    turns: list[Task] = []
    people: list[str] = []
    for kind in kinds:
        if turns and dice.random() < CHANGES_LANGUAGE:
            lang = dice.choice(languages)
        more, whose = drawn(dice, kind, lang, world)
        turns += more
        people += whose
    return turns, people


def asked(lang: str, fact: Fact, wording: Pattern, world: World) -> Task:
    """A question about a fact, with its answer."""
    return Task(wording.render({"who": fact.person}, world), facts.answer(lang, fact, world))


def story_among(dice: random.Random, lang: str, world: World, who: str) -> str:
    """A story in which nobody occurs of whom conversations do not speak."""
    while True:
        told = story(dice, lang, world, who)
        if told.scene["two"] in world.asked:
            return told.text
