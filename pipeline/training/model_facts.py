"""What a trained model's manifest says of its training: the same figures, by the same names, for every kind of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.store.artifact import Artifact


@dataclass(frozen=True)
class ModelFacts:
    """The figures that everything that shows a model reads; `details` has what one kind of training adds to them."""

    parameters: int
    steps: int
    tokens: int  # that went through the network in this training, over all epochs, padding included
    batch_tokens: int  # of one step, over all devices
    learning_rate: float
    epochs: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def for_manifest(self) -> dict[str, Any]:
        """The facts as they stand in the manifest."""
        return {
            "parameters": self.parameters,
            "tokens": self.tokens,
            "steps": self.steps,
            "batch_tokens": self.batch_tokens,
            "learning_rate": float(f"{self.learning_rate:.6g}"),
            "epochs": self.epochs,
            **self.details,
        }

    @staticmethod
    def of(model: Artifact) -> ModelFacts:
        """The facts of a trained model. A KeyError where the artifact is no trained model."""
        facts = dict(model.facts)
        named = {
            name: facts.pop(name)
            for name in ("parameters", "steps", "tokens", "batch_tokens", "learning_rate", "epochs")
        }
        return ModelFacts(**named, details=facts)
