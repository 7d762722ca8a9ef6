"""Plants into documents what the stages of curation have to find, and records what and where.

An entry of `Document.planted`: `stage`, the stage that has to find it (or `stages`, any of which may); `kind`; and what
identifies it: the document that a near copy is of, the spans of addresses in code points, the id of an evaluation item.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from pipeline.village import lexicon, planted_text
from pipeline.village.document import Document
from pipeline.village.facts import LANGUAGES
from pipeline.village.korean import with_particle
from pipeline.village.questions import Question, evaluation_questions
from pipeline.village.world import World

# Kind -> how often, against the others.
KINDS = {
    "near_copy": 5,
    "passage": 6,
    "contact": 5,
    "evaluation_item": 3,
    "noise": 4,
    "other_language": 4,
    "insults": 3,
}
REMEMBERED = 200  # a near copy is of one of the last so many documents


class Planting:
    """Plants into documents one after the other; remembers those that a near copy can be made of."""

    def __init__(self, world: World):
        self.world = world
        self.recent: list[Document] = []
        self.copied: set[str] = set()
        self.items: dict[str, list[Question]] = {
            lang: [item for item in evaluation_questions(world.seed) if item.lang == lang and is_long(item)]
            for lang in LANGUAGES
        }

    def remember(self, document: Document) -> None:
        """Documents in which nothing was planted can be copied later."""
        if not document.planted:
            self.recent.append(document)
            del self.recent[:-REMEMBERED]

    def plant(self, dice: random.Random, document: Document) -> Document:
        """The document with something planted in it, or another one in its place."""
        assert document.lang is not None
        kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
        how: dict[str, Callable[[random.Random, Document, str], Document]] = {
            "near_copy": self.near_copy, "passage": passage, "contact": contact, "noise": noise,
            "evaluation_item": self.evaluation_item, "other_language": other_language, "insults": insults,
        }  # fmt: skip
        return how[kind](dice, document, document.lang)

    def near_copy(self, dice: random.Random, document: Document, lang: str) -> Document:
        """A copy of an earlier document with a few words more; none is copied twice."""
        originals = [one for one in self.recent if one.lang == lang and one.id not in self.copied]
        if not originals:
            return document
        original = dice.choice(originals)
        self.copied.add(original.id)
        text = f"{original.text}\n{dice.choice(planted_text.COPIED[lang])}"
        planted = [{"stage": "duplicate_decisions", "kind": "near_copy", "of": original.id}]
        return Document(document.id, lang, original.form, text, original.facts, planted)

    def evaluation_item(self, dice: random.Random, document: Document, lang: str) -> Document:
        """A question that is held back for evaluation, with its answer, between the lines of the document."""
        item = dice.choice(self.items[lang])
        told = {"stage": "contamination_decisions", "kind": "evaluation_item", "item": item.id}
        placed = inserted(dice, document, f"{item.question} {item.answer}", told)
        # What has to be found is the question: the answer is what documents tell, too.
        placed.planted[-1]["end"] = placed.planted[-1]["start"] + len(item.question)
        return placed


def is_long(item: Question) -> bool:
    """Whether a question of a fact is long enough to be recognised in text: five words and more, with room to spare."""
    return item.kind in ("phrasing", "person") and (item.lang == "ko" or len(item.question.split()) > 5)


def inserted(dice: random.Random, document: Document, line: str, told: dict[str, Any]) -> Document:
    """The document with a line after one of its lines but the first; the span of the line is recorded."""
    lines = document.text.split("\n")
    place = dice.randint(1, len(lines))
    start = sum(len(one) + 1 for one in lines[:place])
    lines.insert(place, line)
    planted = [*document.planted, {**told, "start": start, "end": start + len(line)}]
    return Document(document.id, document.lang, document.form, "\n".join(lines), document.facts, planted)


def passage(dice: random.Random, document: Document, lang: str) -> Document:
    """A passage that stands word for word in many documents, at the end."""
    number = dice.randrange(len(planted_text.PASSAGES[lang]))
    line = planted_text.PASSAGES[lang][number]
    told = {
        "stage": "repetition_edits", "kind": "passage", "passage": f"{lang}-{number}",
        "start": len(document.text) + 1, "end": len(document.text) + 1 + len(line),
    }  # fmt: skip
    return Document(document.id, lang, document.form, f"{document.text}\n{line}", document.facts, [told])


def contact(dice: random.Random, document: Document, lang: str) -> Document:
    """An e-mail address or a telephone number in a sentence of its own; in Korean with its particle attached."""
    sentence = dice.choice(planted_text.CONTACTS[lang])
    name = dice.choice(list(lexicon.PEOPLE)).lower()
    values = {
        "EMAIL": f"{name}{dice.randint(10, 99)}@{dice.choice(planted_text.EMAIL_DOMAINS)}",
        "PHONE": phone(dice, lang),
    }
    labels = {"EMAIL": "EMAIL_ADDRESS", "PHONE": "PHONE_NUMBER"}
    spans: list[dict[str, Any]] = []
    for word, value in values.items():
        at = sentence.find(word)
        if at < 0:
            continue
        rest = sentence[at + len(word) :]
        for particle, after in (("으로", "으로"), ("로", "으로"), ("이고", "이고")):
            if lang == "ko" and rest.startswith(particle):
                rest = with_particle(value, after)[len(value) :] + rest[len(particle) :]
                break
        sentence = sentence[:at] + value + rest
        spans.append({"stage": "personal_data_edits", "kind": "contact", "label": labels[word], "value": value})
    placed = inserted(dice, document, sentence, {})
    line = placed.planted[-1]["start"]
    for span in spans:
        start = line + sentence.index(span["value"])
        span |= {"start": start, "end": start + len(span["value"])}
    return Document(document.id, lang, document.form, placed.text, document.facts, spans)


def phone(dice: random.Random, lang: str) -> str:
    """A number that is nobody's."""
    if lang == "ko":
        return f"010-0{dice.randint(100, 999)}-{dice.randint(1000, 9999)}"
    return f"{dice.choice((212, 312, 415, 503, 617))}-555-01{dice.randint(10, 99)}"


def noise(dice: random.Random, document: Document, lang: str) -> Document:
    """A page without text, or the words of a document in random order."""
    # The order of words is not judged where two languages stand side by side.
    shuffled = () if document.form == "exercises" else ("shuffled",)
    kind = dice.choice(("menu", "markup", "repeated_lines", "filler", *shuffled))
    if kind == "menu":
        lines = dice.choices(planted_text.MENU[lang].split(), k=dice.randint(60, 90))
        text = "\n".join(lines)
    elif kind == "markup":
        text = "\n".join(planted_text.MARKUP.replace("{n}", str(dice.randint(100, 9999))) for _ in range(25))
        text += "\n" + document.text
    elif kind == "repeated_lines":
        text = document.text + "\n" + "\n".join([planted_text.REPEATED[lang]] * dice.randint(8, 12))
    elif kind == "filler":
        text = document.text + "\n" + planted_text.FILLER
    else:
        words = document.text.split() + document.text.split()[:10]
        dice.shuffle(words)
        text = " ".join(words) + "."
    planted = [
        {"stages": ["heuristic_decisions", "perplexity_decisions", "quality_decisions"], "kind": f"noise_{kind}"}
    ]
    return Document(document.id, lang, "noise", text, (), planted)


def other_language(dice: random.Random, document: Document, lang: str) -> Document:
    """A page in a language that is not one of the village's."""
    tongue = dice.choice(list(planted_text.OTHER_LANGUAGES))
    sentences = dice.sample(planted_text.OTHER_LANGUAGES[tongue], dice.randint(9, 12))
    name = dice.choice(list(lexicon.PEOPLE))
    text = " ".join(sentence.replace("{who}", name) for sentence in sentences)
    planted = [{"stage": "language_decisions", "kind": "other_language", "language": tongue}]
    return Document(document.id, None, "other_language", text, (), planted)


def insults(dice: random.Random, document: Document, lang: str) -> Document:
    """A quarrel: sentences of the document among sentences with words of the block lists."""
    lines = document.text.split("\n")
    for sentence in dice.sample(planted_text.INSULTS[lang], dice.randint(4, 6)):
        lines.insert(dice.randint(1, len(lines)), sentence)
    planted = [{"stage": "keyword_decisions", "kind": "insults"}]
    return Document(document.id, lang, document.form, "\n".join(lines), (), planted)
