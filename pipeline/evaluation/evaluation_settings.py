"""The recipe's block `evaluation`: what to measure, and on how much data."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from pipeline.evaluation.measure import Measure
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.measures import MEASURES
from pipeline.evaluation.own_measures import OwnMeasure, check_names

# Settings that stay out of the fingerprint while they are empty: they came later, and nothing is measured then.
LATER = ("village", "tasks", "programs", "free_answers", "bias", "toxicity")


class EvaluationSettings(MeasureSettings):
    """The recipe's block `evaluation`, shared by the evaluations of all trained models."""

    further: tuple[OwnMeasure, ...] = Field((), description="measures of your own, which run after the built-in ones")

    @field_validator("further")
    @classmethod
    def _names_differ(cls, further: tuple[OwnMeasure, ...]) -> tuple[OwnMeasure, ...]:
        check_names(further, MEASURES)
        return further

    def of_built_in_measures(self) -> dict[str, Any]:
        """The settings as JSON, without `further`, and without measures that came later and are not asked for."""
        dumped = self.model_dump(mode="json", include=set(MeasureSettings.model_fields))
        # Where tasks lie is no matter; what they ask is an input of the report.
        dumped["tasks"] = {task.name: list(task.shots) for task in self.tasks}
        dumped["programs"] = {chosen.name: chosen.as_asked() for chosen in self.programs}
        dumped["free_answers"] = {chosen.name: chosen.as_asked() for chosen in self.free_answers}
        dumped["bias"] = {chosen.name: chosen.form for chosen in self.bias}
        dumped["toxicity"] = self.toxicity.as_asked() if self.toxicity else None
        return {name: value for name, value in dumped.items() if name not in LATER or value}

    def measures(self) -> list[Measure[Any]]:
        """All measures: the built-in ones, then those of `further`."""
        return [*MEASURES, *(own.load().measure for own in self.further)]
