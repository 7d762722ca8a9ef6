"""The settings of the built-in measures: how much data each of them uses."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings import Settings

PROMPTS = (
    "Fellow citizens of the Senate and House of Representatives:",
    "The people of this country",
    "파일을",
    "안녕하세요.",
    "def read(self, size=-1):\n",
)


class MeasureSettings(Settings):
    """The part of the recipe's block `evaluation` that the built-in measures use."""

    validation_tokens: int = Field(
        200_000,
        ge=1_000,
        description="approximate number of validation tokens to score, shared evenly between sources",
    )
    answers: int = Field(
        64, ge=0, description="number of held-back questions to answer, shared evenly between sources; 0: none"
    )
    answer_tokens: int = Field(64, ge=1, description="longest answer or continuation, in tokens")
    preferences: int = Field(200, ge=0, description="number of held-back preference pairs to score; 0: none")
    prompts: tuple[str, ...] = Field(
        PROMPTS, description="fixed prompts, continued once greedily and once by random sampling"
    )
    temperature: float = Field(0.8, gt=0, description="temperature of the sampled continuations; answers are greedy")
    batch_tokens: int = Field(4_096, ge=256, description="tokens to score at once; lower it if memory is short")
