"""What is measured, and on how much of it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from pipeline.evaluation.measure import Measure
from pipeline.evaluation.measures import MEASURES
from pipeline.evaluation.own_measures import OwnMeasure, check_names
from pipeline.settings import Settings

PROMPTS = (
    "Fellow citizens of the Senate and House of Representatives:",
    "The people of this country",
    "파일을",
    "안녕하세요.",
    "def read(self, size=-1):\n",
)


class EvaluationSettings(Settings):
    """The recipe's block `evaluation`, the same for the pretrained, the fine-tuned and the preference-trained model."""

    validation_tokens: int = Field(
        200_000, ge=1_000, description="about this many validation tokens are scored, shared between sources"
    )
    answers: int = Field(
        64, ge=0, description="held-back questions that are answered, shared evenly between sources; 0: none"
    )
    answer_tokens: int = Field(64, ge=1, description="most tokens of an answer or continuation")
    preferences: int = Field(200, ge=0, description="held-back preference pairs that are scored; 0: none")
    prompts: tuple[str, ...] = Field(PROMPTS, description="fixed beginnings, continued greedily and by chance")
    temperature: float = Field(0.8, gt=0, description="of the continuations by chance; scores are always greedy")
    batch_tokens: int = Field(4_096, ge=256, description="tokens scored at once; less where memory is short")
    further: tuple[OwnMeasure, ...] = Field((), description="measures of your own, run after the built-in ones")

    @field_validator("further")
    @classmethod
    def _names_differ(cls, further: tuple[OwnMeasure, ...]) -> tuple[OwnMeasure, ...]:
        check_names(further, MEASURES)
        return further

    def of_built_in_measures(self) -> dict[str, Any]:
        """The settings as JSON, without `further`."""
        return self.model_dump(mode="json", exclude={"further"})

    def measures(self) -> list[Measure[Any]]:
        """All measures, built-in and own."""
        return [*MEASURES, *(own.load().measure for own in self.further)]
