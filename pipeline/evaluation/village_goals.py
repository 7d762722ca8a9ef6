"""What the demonstration has to show, as limits on figures of its reports: checks in Dagster, a table in `slm summary`.

They hold for the village of `recipes/demo.yaml`, and are checked where `evaluation.village` is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.flattening import flattened
from pipeline.village.facts import LANGUAGES

LANGUAGE_NAMES = {"ko": "Korean", "en": "English"}


@dataclass(frozen=True)
class Goal:
    """A limit on one figure of a report."""

    name: str  # of the check
    figure: str  # dotted name in the report
    limit: float
    words: str
    at_most: bool = False  # else at least

    def reached(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit

    @property
    def bound(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.limit:.0%}"


@dataclass(frozen=True)
class Outcome:
    """A goal, and the figure that a report has for it (null: the report has none)."""

    goal: Goal
    value: float | None

    @property
    def reached(self) -> bool:
        return self.value is not None and self.goal.reached(self.value)


def _by_language(name: str, figure: str, limits: tuple[float, float], words: str, at_most: bool = False) -> list[Goal]:
    """A goal for Korean and one for English; `*` in the figure is the language."""
    return [
        Goal(f"{name}_{lang}", figure.replace("*", lang), limit, f"{words}, {LANGUAGE_NAMES[lang]}", at_most)
        for lang, limit in zip(LANGUAGES, limits, strict=True)
    ]


_PRETRAINED = (
    *_by_language("facts", "village.facts.*.right", (0.97, 0.95), "facts known, asked in cloze form"),
    *_by_language("stories_grammatical", "village.stories.*.grammatical", (0.95, 0.95), "stories grammatical"),
    *_by_language("stories_consistent", "village.stories.*.consistent", (0.90, 0.85), "stories without contradiction"),
    *_by_language("stories_verbatim", "village.stories.*.verbatim", (0.10, 0.10), "stories copied word for word", True),
)
_ANSWERING = (
    *_by_language("phrasings", "village_answers.phrasing.*.right", (0.97, 0.97), "right answers to new phrasings"),
    *_by_language("people", "village_answers.person.*.right", (0.93, 0.93), "right about people never asked about"),
    *_by_language(
        "strangers", "village_answers.unknown_person.*.right", (0.80, 0.80), "does not know who is not there"
    ),
    *_by_language("untold", "village_answers.untold_fact.*.right", (0.80, 0.80), "does not know what was never told"),
    *_by_language("stories_asked", "village_answers.story.*.right", (0.90, 0.90), "stories about the one asked for"),
    *_by_language("retelling", "village_answers.retelling.*.right", (0.70, 0.70), "retold rightly"),
    *_by_language("politeness", "village_answers.politeness.*.right", (0.60, 0.60), "politeness changed rightly"),
    *_by_language("translation", "village_answers.translation.*.right", (0.70, 0.70), "translated rightly"),
    *_by_language("sums", "village_answers.sum.*.right", (0.25, 0.25), "sums right"),
    Goal("ended", "village_answers.ended", 0.98, "answers that the model ends"),
)
_PREFERRING = (Goal("preferred", "preferences.whole", 0.90, "held-back pairs whose better answer is likelier"),)

# Model, without `_model` -> its goals.
GOALS: Mapping[str, tuple[Goal, ...]] = {
    "pretrained": _PRETRAINED,
    "sft": _ANSWERING,
    "preference": (*_ANSWERING, *_PREFERRING),
}


def outcomes(model: str, report: Mapping[str, Any]) -> list[Outcome]:
    """The goals of a model (`pretrained`, `sft`, ...) with what its report says."""
    known = dict(flattened(report))
    return [Outcome(goal, known.get(goal.figure)) for goal in GOALS.get(model, ())]
