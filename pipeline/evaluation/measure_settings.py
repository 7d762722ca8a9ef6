"""The settings of the built-in measures: on how much each of them is measured."""

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
    """What the built-in measures are given of the recipe's block `evaluation`."""

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
