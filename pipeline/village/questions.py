"""Questions for evaluation: none of their wordings, or none of their people, occurs in any conversation.

| kind             | what is held back                                                       |
|------------------|-------------------------------------------------------------------------|
| `phrasing`       | the wording: people who were asked about, asked in words never used     |
| `person`         | the person: usual wordings, about people of whom no conversation speaks |
| `unknown_person` | the name, of nobody in the village; right is to say so                  |
| `untold_fact`    | the question, about what was never told; right is to say so             |
| `retelling`, `politeness`, `translation`, `story` | the person                             |
| `sum`            | the pair of numbers, which documents add and no conversation does       |

Beside them, `cloze_questions`: sentences of the documents, cut before the value, for a model that cannot answer yet.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pipeline.village import facts, forms, lexicon, tasks
from pipeline.village.facts import LANGUAGES
from pipeline.village.patterns import surface
from pipeline.village.world import RELATIONS, Fact, World, world_of

TASKS_OF_EACH = 24  # questions of each kind of task and language


@dataclass(frozen=True)
class Question:
    """A question with its one right answer; `value`: what of the answer is asked for, where that is a fact."""

    id: str
    lang: str
    kind: str
    question: str
    answer: str  # empty for a story: `checker.check_story` judges it
    person: str | None = None
    relation: str | None = None
    value: str | None = None

    def row(self) -> dict[str, Any]:
        """As a row of an evaluation set."""
        return asdict(self)


@dataclass(frozen=True)
class Cloze:
    """A sentence cut before the value of a fact: `prompt`, and the value as it would follow after a space.

    The prompt begins as an entry about the person does, so that a statement is what follows and not a question.
    """

    id: str
    lang: str
    prompt: str
    value: str
    person: str
    relation: str
    choices: tuple[str, ...]


@cache
def evaluation_questions(seed: int = 0) -> tuple[Question, ...]:
    """All questions about the village of this seed, in a fixed order."""
    world = world_of(seed)
    found: list[Question] = []
    for lang in LANGUAGES:
        dice = random.Random(f"questions {seed} {lang}")
        for number, drawn in enumerate(_questions(dice, lang, world)):
            found.append(Question(f"{lang}-{number:04d}", lang, **drawn))
    return tuple(found)


def _questions(dice: random.Random, lang: str, world: World) -> Iterator[dict[str, Any]]:
    wordings = facts.questions(lang)
    asked = (("phrasing", world.asked, wordings.HELD_BACK), ("person", world.never_asked, wordings.ASKED))
    for kind, people, table in asked:
        for person in people:
            for relation in RELATIONS:
                fact = Fact(person, relation)
                question = dice.choice(table[relation]).render({"who": person}, world)
                yield _of_fact(kind, lang, question, fact, world)
    for name in lexicon.STRANGERS_HELD_BACK:
        relation = dice.choice(facts.WITHOUT_A_NAME)
        question = facts.asked_of_stranger(dice, lang, wordings.ASKED[relation], name)
        answer = facts.unknown_person(lang, name)
        yield {"kind": "unknown_person", "question": question, "answer": answer, "person": name, "relation": relation}
    for person in world.never_asked:
        question = dice.choice(wordings.UNTOLD_HELD_BACK).render({"who": person}, world)
        answer = facts.unknown_fact(lang, person, world)
        yield {"kind": "untold_fact", "question": question, "answer": answer, "person": person}
    yield from _tasks(dice, lang, world)


def _tasks(dice: random.Random, lang: str, world: World) -> Iterator[dict[str, Any]]:
    for kind, task in tasks.ABOUT_A_FACT.items():
        for _ in range(TASKS_OF_EACH):
            fact = Fact(dice.choice(world.never_asked), dice.choice(list(RELATIONS)))
            drawn = task(dice, lang, fact, world)
            about = {} if kind == "politeness" and lang == "en" else {"person": fact.person, "relation": fact.relation}
            yield {"kind": kind, "question": drawn.question, "answer": drawn.answer, **about}
    for _ in range(TASKS_OF_EACH):
        drawn = tasks.sum_of(dice, lang, held_back=True)
        yield {"kind": "sum", "question": drawn.question, "answer": drawn.answer}
    for person in world.never_asked:
        question = dice.choice(tasks.TELL_A_STORY[lang]).render({"who": person}, world)
        yield {"kind": "story", "question": question, "answer": "", "person": person}


def _of_fact(kind: str, lang: str, question: str, fact: Fact, world: World) -> dict[str, Any]:
    return {
        "kind": kind, "question": question, "answer": facts.answer(lang, fact, world), "person": fact.person,
        "relation": fact.relation, "value": facts.value_text(lang, fact.relation, world.value(fact)),
    }  # fmt: skip


def cloze_questions(seed: int = 0, wordings: tuple[int, ...] = (0, 1)) -> Iterator[Cloze]:
    """All facts in both languages, in some of the wordings that documents use (numbers of `facts.TOLD`)."""
    world = world_of(seed)
    for lang in LANGUAGES:
        begin = forms.tables(lang).ENTRY_OPENINGS[0]
        for fact in world.facts():
            scene = {"who": fact.person}
            title = forms.entry_title(lang, fact.person, world).text
            for number in wordings:
                pattern = facts.of(lang).TOLD[fact.relation][number]
                prompt, value = facts.cloze(pattern, fact.relation, fact.person, world)
                slot = next(slot for slot in pattern.slots if slot.base == fact.relation)
                form = f"plain{slot.form}" if slot.verb else slot.form
                choices = tuple(surface(lang, fact.relation, key, form, slot.verb) for key in RELATIONS[fact.relation])
                id_ = f"{lang}-{fact.person}-{fact.relation}-{number}"
                prompt = f"{title}\n{begin.render(scene, world)} {prompt}"
                yield Cloze(id_, lang, prompt, value, fact.person, fact.relation, choices)
