"""The recipe's block of distillation. A recipe has the teachers, what they say and the student if it has the block."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from model.config import ModelConfig
from pipeline.settings import Settings

MOST_TEACHERS = 64
MOST_KEPT = 4096  # tokens of a teacher's distribution


class DistillationSettings(Settings):
    """A student that learns from what teachers say of the recipe's text (Hinton et al. 2015)."""

    block: ClassVar[str] = "distillation"

    teachers: int = Field(
        1,
        ge=1,
        le=MOST_TEACHERS,
        description=(
            "models to learn from, trained as `pretraining` says from the recipe's seed plus 1, 2, ...; of several, the"
            " mean of their probabilities"
        ),
    )
    teacher: ModelConfig | None = Field(
        None, description="shape of the teachers; left out, that of `model`, which is the student's"
    )
    top_k: int = Field(
        32, ge=1, le=MOST_KEPT, description="tokens that are kept of the teachers' distribution, the likeliest ones"
    )
    rest: Literal["bucket", "renormalise"] = Field(
        "bucket",
        description=(
            "what becomes of the probability of all other tokens: one more outcome, or left out, with the kept ones"
            " scaled to sum to 1"
        ),
    )
    temperature: float = Field(
        1.0, gt=0, le=100, description="of both distributions (Hinton et al. 2015, section 2); 1 with `rest: bucket`"
    )
    weight: float = Field(
        0.9, gt=0, le=1, description="of the teachers' term in the loss; the rest is that of the text itself"
    )

    @model_validator(mode="after")
    def _consistent(self) -> DistillationSettings:
        if self.rest == "bucket" and self.temperature != 1:
            raise ValueError(
                "`temperature` other than 1 needs `rest: renormalise`: what all other tokens have at another"
                " temperature does not follow from what is kept"
            )
        if self.teacher is not None and not self.teacher.causal:
            raise ValueError(
                "`teacher` is bidirectional (causal: false) and predicts no next token: leave `causal` out"
            )
        return self

    @property
    def kept(self) -> dict[str, Any]:
        """What the teachers' distributions as they are kept depend on."""
        return {"top_k": self.top_k}

    @property
    def learned(self) -> dict[str, Any]:
        """What the student depends on besides."""
        return {"rest": self.rest, "temperature": self.temperature, "weight": self.weight}
