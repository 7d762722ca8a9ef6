"""Rewards that can be verified: what an answer is worth, computed from its text.

Each kind is a block of the recipe (`reinforcement.rewards`) and one function of (answer, reference) that returns a
number from 0 to 1. A reward model's score is the only one that is not (`objectives/reward.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, field_validator, model_validator

from pipeline.conversations.shapes import fold
from pipeline.settings import Settings

MAX_LENGTH = 10**6  # of an answer, in characters or words
MODEL = "model"  # the kind that a reward model judges


class RewardBlock(Settings):
    """The keys that every reward has."""

    name: str | None = Field(None, description="how the reward is called in logs; left out, its kind")
    weight: float = Field(1.0, ge=-1000, le=1000, description="factor of the reward in the sum of all")

    @property
    def label(self) -> str:
        return self.name or str(getattr(self, "kind", ""))


class Exact(RewardBlock):
    """1 for the answer that the conversation has."""

    kind: Literal["exact"] = Field("exact", description="1 for the conversation's own answer, else 0")
    extract: str | None = Field(
        None,
        description=(
            "regular expression; its last match, or the first group of it, is compared instead of the whole, in the"
            " answer and in the conversation's, such as `####\\\\s*(\\\\S+)`. Upper case and white space do not count"
        ),
    )

    @field_validator("extract")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        return None if pattern is None else compiled(pattern)

    def worth(self, answer: str, reference: str) -> float:
        found, expected = self._part(answer), self._part(reference)
        return float(found is not None and found == expected)

    def _part(self, text: str) -> str | None:
        if not self.extract:
            return fold(text)
        matches = list(re.finditer(self.extract, text))
        if not matches:
            return None
        last = matches[-1]
        return fold(last[1] if last.re.groups and last[1] is not None else last[0])


class Json(RewardBlock):
    """1 for an answer that is JSON and fits a schema."""

    model_config = ConfigDict(populate_by_name=True)

    kind: Literal["json"] = Field("json", description="1 for an answer that is JSON and fits the schema, else 0")
    fits: dict[str, Any] = Field(
        default_factory=dict, alias="schema", description="a JSON Schema; left out, any JSON is good"
    )

    @field_validator("fits")
    @classmethod
    def _valid(cls, schema: dict[str, Any]) -> dict[str, Any]:
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for

        try:
            validator_for(schema).check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"this is no JSON Schema: {error.message}") from None
        return schema

    @cached_property
    def _validator(self) -> Any:
        from jsonschema.validators import validator_for

        return validator_for(self.fits)(self.fits)

    def worth(self, answer: str, reference: str) -> float:
        try:
            content = json.loads(answer)
        except (ValueError, RecursionError):
            return 0.0
        return float(self._validator.is_valid(content))


class Format(RewardBlock):
    """1 for an answer of a form."""

    kind: Literal["format"] = Field("format", description="1 for an answer that matches the pattern as a whole, else 0")
    pattern: str = Field(min_length=1, description="regular expression, in which `.` also stands for a line break")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        return compiled(pattern)

    def worth(self, answer: str, reference: str) -> float:
        return float(re.fullmatch(self.pattern, answer, re.DOTALL) is not None)


class Length(RewardBlock):
    """1 for an answer of a length."""

    kind: Literal["length"] = Field("length", description="1 for an answer of such a length, else 0")
    least: int = Field(0, ge=0, le=MAX_LENGTH, description="fewest units")
    most: int = Field(MAX_LENGTH, ge=0, le=MAX_LENGTH, description="most units")
    unit: Literal["words", "characters"] = Field(
        "words", description="what is counted; words stand between white space"
    )

    @model_validator(mode="after")
    def _range(self) -> Length:
        if self.least > self.most:
            raise ValueError(f"`least` ({self.least}) is more than `most` ({self.most})")
        return self

    def worth(self, answer: str, reference: str) -> float:
        return float(self.least <= len(answer.split() if self.unit == "words" else answer) <= self.most)


class Judged(RewardBlock):
    """The score of the recipe's reward model."""

    kind: Literal["model"] = Field("model", description="the score of the recipe's `reward_model`, of any size")


Verifiable = Exact | Json | Format | Length
Reward = Annotated[Verifiable | Judged, Field(discriminator="kind", description="how answers are judged")]


def compiled(pattern: str) -> str:
    """The pattern, if it is a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"this is no regular expression: {error}") from None
    return pattern


def worth(rewards: Sequence[Verifiable], answers: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """What each answer is worth by each reward, without their weights: float64 [answers, rewards]."""
    return np.array(
        [[reward.worth(answer, reference) for reward in rewards] for answer, reference in zip(answers, references)],
        dtype=np.float64,
    ).reshape(len(answers), len(rewards))
