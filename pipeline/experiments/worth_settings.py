"""What to ask when it is asked what each part of the data is worth."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings import MAX_TOKENS, Settings

SHARE = 10  # of the recipe's tokens, one in so many is enough to tell parts apart
Part = Literal["sources", "doubled", "stages"]


class Worth(Settings):
    """The block `worth`: which parts are tried, and how much is spent on each model."""

    parts: tuple[Part, ...] = Field(
        ("sources",),
        min_length=1,
        description="sources: a model without each source; doubled: one with each source drawn twice as often; stages:"
        " one without each stage of curation, for which the text is made again",
    )
    tokens: int = Field(
        0, ge=0, le=MAX_TOKENS, description="tokens that each model is trained on; 0: a tenth of `pretraining.tokens`"
    )
    seeds: int = Field(3, ge=2, le=100, description="models of each kind, with other weights and another order of text")
