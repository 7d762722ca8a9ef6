"""The facts about training in a model's manifest: the same figures under the same names for every kind of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from pipeline.store.artifact import Artifact

ROW_TOKENS = "row_tokens"  # fact of a downloaded model: the longest sequence to tune it on, unless the recipe says one


@dataclass(frozen=True)
class ModelFacts:
    """The figures that all cards, summaries and reports of a model use; `details` is what one kind of training adds."""

    parameters: int
    steps: int
    tokens: int  # trained on over all epochs, padding included
    batch_tokens: int  # per step, over all devices
    learning_rate: float
    epochs: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def for_manifest(self) -> dict[str, Any]:
        """The facts under their names in the manifest."""
        return {
            "parameters": self.parameters,
            "tokens": self.tokens,
            "steps": self.steps,
            "batch_tokens": self.batch_tokens,
            "learning_rate": float(f"{self.learning_rate:.6g}"),
            "epochs": self.epochs,
            **self.details,
        }

    def after(self, steps: int) -> ModelFacts:
        """The facts of a run that ended after `steps` steps, which may be fewer than were planned (`patience`)."""
        if not 0 < steps < self.steps:
            return self
        return replace(
            self,
            steps=steps,
            tokens=steps * self.batch_tokens,
            epochs=round(self.epochs * steps / self.steps, 4),
            details={**self.details, "steps_planned": self.steps},
        )

    @staticmethod
    def of(model: Artifact) -> ModelFacts:
        """The facts of a trained model. Raises KeyError if the artifact is not one."""
        facts = dict(model.facts)
        if "tokens" not in facts:  # preference models before version 6 have the count in their log only
            facts["tokens"] = int(pl.read_parquet(model.file("log.parquet"), columns=["tokens"])["tokens"][-1])
            facts["batch_tokens"] = facts["tokens"] // facts["steps"]
        named = {
            name: facts.pop(name)
            for name in ("parameters", "steps", "tokens", "batch_tokens", "learning_rate", "epochs")
        }
        return ModelFacts(**named, details=facts)
