"""Pairs of a better and a worse answer: true against false, polite against rude, to the point against rambling.

Like conversations, they speak only of people who are asked about, in the wordings of conversations.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from pipeline.village import LICENSE, facts, lexicon
from pipeline.village.conversations import asked
from pipeline.village.facts import LANGUAGES
from pipeline.village.tasks import Task
from pipeline.village.world import RELATIONS, Fact, World, world_of

KINDS = {"true": 0.45, "polite": 0.2, "to_the_point": 0.2, "honest": 0.15}
RUDE = {
    "ko": ("그것도 몰라? ANSWER", "귀찮게 왜 자꾸 물어? ANSWER", "ANSWER 이제 그만 좀 물어봐.", "한심하네. ANSWER"),
    "en": ("Don't you even know that? ANSWER", "Why do you bother me? ANSWER", "ANSWER Now leave me alone.",
           "What a silly question. ANSWER"),
}  # fmt: skip
RAMBLING = {
    "ko": ("글쎄요, 이야기하자면 길어요.", "잠깐만요, 다른 이야기부터 할게요.", "그러고 보니 생각나는 것이 있어요."),
    "en": (
        "Well, that is a long story.",
        "Wait, let me tell you something else first.",
        "That reminds me of something.",
    ),
}


def preferences(count: int, seed: int = 0, languages: tuple[str, ...] = LANGUAGES) -> Iterator[dict[str, Any]]:
    """Rows `prompt`, `chosen`, `rejected`, `lang`, `license`, `kind`; at most `count`, no two of them alike."""
    world = world_of(seed)
    dice = random.Random(f"preferences {seed}")
    seen: set[tuple[str, str]] = set()
    misses = 0
    while len(seen) < count and misses < 200:
        lang = languages[len(seen) % len(languages)]
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        task, rejected = pair(dice, kind, lang, world)
        if (task.question, rejected) in seen:
            misses += 1
            continue
        misses = 0
        seen.add((task.question, rejected))
        yield {
            "prompt": task.question, "chosen": task.answer, "rejected": rejected, "lang": lang, "license": LICENSE,
            "kind": kind,
        }  # fmt: skip


def pair(dice: random.Random, kind: str, lang: str, world: World) -> tuple[Task, str]:
    """A question with its better answer, and the worse one."""
    fact = Fact(dice.choice(world.asked), dice.choice(list(RELATIONS)))
    if kind == "honest":
        return _honest(dice, lang, world)
    task = asked(lang, fact, dice.choice(facts.questions(lang).ASKED[fact.relation]), world)
    if kind == "true":
        return task, _false(dice, lang, fact, world)
    if kind == "polite":
        pattern = facts.of(lang).TOLD[fact.relation][0]
        blunt = pattern.render({"who": fact.person}, world, "intimate")
        return task, dice.choice(RUDE[lang]).replace("ANSWER", blunt)
    others = [Fact(dice.choice(world.asked), dice.choice(list(RELATIONS))) for _ in range(dice.choice((1, 2)))]
    aside = " ".join(facts.answer(lang, other, world) for other in others)
    return task, f"{dice.choice(RAMBLING[lang])} {aside} {task.answer}"


def _false(dice: random.Random, lang: str, fact: Fact, world: World) -> str:
    """The answer with a value that is not true, of somebody of whom conversations speak."""
    value = facts.wrong_value(dice, fact, world)
    while fact.relation == "kin" and value not in world.asked:
        value = facts.wrong_value(dice, fact, world)
    pattern = facts.of(lang).TOLD[fact.relation][0]
    text: str = pattern.render({"who": fact.person, fact.relation: value}, world, facts.ANSWER_LEVEL)
    return text


def _honest(dice: random.Random, lang: str, world: World) -> tuple[Task, str]:
    """To say that one does not know somebody, against making something up."""
    name, relation = dice.choice(list(lexicon.STRANGERS)), dice.choice(facts.WITHOUT_A_NAME)
    question = facts.asked_of_stranger(dice, lang, facts.questions(lang).ASKED[relation], name)
    chosen = facts.nobody(lang)
    pattern = facts.of(lang).TOLD[relation][0]
    made_up = type(pattern)(lang, pattern.text.replace("{who", "{stranger"))
    value = dice.choice(RELATIONS[relation])
    return Task(question, chosen), made_up.render({"stranger": name, relation: value}, world, facts.ANSWER_LEVEL)
