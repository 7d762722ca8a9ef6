"""One document of the village: its text, what it tells, and what was planted in it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from pipeline.village.forms import FORMS, Lines
from pipeline.village.world import Fact, World

_NAMES = list(FORMS)
_WEIGHTS = list(accumulate(share for _, share in FORMS.values()))


@dataclass
class Document:
    """One document: its text, what it tells, and what was planted in it."""

    id: str
    lang: str | None  # None: in another language than the village's
    form: str
    text: str
    facts: tuple[Fact, ...] = ()
    planted: list[dict[str, Any]] = field(default_factory=list)

    @property
    def meta(self) -> dict[str, Any]:
        """What a record's `meta` says: that this is made up, the form, the facts told, and what was planted."""
        said: dict[str, Any] = {"made_up": True, "form": self.form}
        if self.facts:
            said["facts"] = sorted({f"{fact.person}.{fact.relation}" for fact in self.facts})
        if self.planted:
            said["planted"] = self.planted
        return said


def written(dice: random.Random, lang: str, world: World, id_: str) -> Document:
    """A document in one of the forms."""
    form = dice.choices(_NAMES, cum_weights=_WEIGHTS)[0]
    lines = FORMS[form][0](dice, lang, world)
    return Document(id_, lang, form, text_of(lines), facts_of(lines))


def text_of(lines: Lines) -> str:
    """The sentences of each line joined by spaces, the lines by line breaks."""
    return "\n".join(" ".join(sentence.text for sentence in line) for line in lines)


def facts_of(lines: Lines) -> tuple[Fact, ...]:
    """What is told, each fact once, in order."""
    return tuple(dict.fromkeys(fact for line in lines for sentence in line for fact in sentence.facts))
