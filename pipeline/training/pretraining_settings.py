"""The recipe's settings of pretraining, beside those of the loop (`loop_settings.py`)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pipeline.settings import MAX_BATCH_TOKENS, MAX_TOKENS
from pipeline.training.data.feed import FeedSettings
from pipeline.training.loop_settings import LADDER, LoopSettings, OptimiserName


class PretrainingSettings(LoopSettings):
    """Pretraining on token shards."""

    feed: FeedSettings = Field(FeedSettings(), description="how documents become batches: weights, packing, masking")
    optimiser: OptimiserName = Field(
        "muon",
        description=(
            "muon for the matrices of the blocks and adamw for the rest (Jordan 2024; Liu et al. 2025: the same loss"
            " for half the compute; docs/results/training-quality.md has our measurements); normuon (Li et al. 2025) or"
            " soap (Vyas et al. 2024) in its place; or adamw for all"
        ),
    )
    tokens: int = Field(
        0,
        ge=0,
        le=MAX_TOKENS,
        description=(
            "tokens to train on; 0: 20 per parameter (Hoffmann et al. 2022), but at most `max_epochs` passes over the"
            " data"
        ),
    )
    kept_weights: int = Field(
        0,
        ge=0,
        le=1000,
        description=(
            "weights to keep beside the finished model, at evenly spaced steps before its end, so that tasks can be"
            " measured on them: curves over training, and the noise of a figure (docs/guide/evaluation.md)"
        ),
    )
    ladder: float = LADDER
    max_epochs: float = Field(
        4.0,
        gt=0,
        le=10_000,
        description=(
            "limit on passes if `tokens` is 0 (Muennighoff et al. 2023: up to 4 are almost as good as new data)"
        ),
    )
    batch_tokens: int = Field(
        0,
        ge=0,
        le=MAX_BATCH_TOKENS,
        description=(
            "tokens per step over all devices; 0: by the scaling law of DeepSeek LLM (Bi et al. 2024, section 3.1)"
        ),
    )
    validation_tokens: int = Field(
        0,
        ge=0,
        le=MAX_TOKENS,
        description=(
            "tokens of the validation split to use during training; 0: 65,536, but at most 1.5 % of `tokens`, so that"
            " ten validations take a twentieth of the time. The final validation always uses all of them"
        ),
    )
    village: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description=(
            "seed of a made-up village (`kind: generated`) whose facts are asked for at every validation, for the log;"
            " empty: none"
        ),
    )
    mask_share: float = Field(
        0.15,
        gt=0,
        lt=1,
        description=(
            "bidirectional models, and sequences of `masked_share`: share of tokens to predict (Devlin et al. 2018)"
        ),
    )
    mask_words: bool = Field(
        False,
        description=(
            "bidirectional models, and sequences of `masked_share`: mask whole words, and no special tokens (Devlin et"
            " al., their repository, 2019)"
        ),
    )
    masked_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description=(
            "share of the sequences that are masked and read both ways, in one network with those that are not"
            " (GPT-BERT, Charpentier & Samuel 2024, who take 1/16 to 15/16); 0: none"
        ),
    )
    predict_ahead: int = Field(
        0,
        ge=0,
        le=8,
        description=(
            "tokens after the next one that are predicted, too, each by a block of its own that the finished model"
            " does not have (Gloeckle et al. 2024, where large models gain from 1 to 7 and small ones lose); 0: none"
        ),
    )
    predict_ahead_weight: float = Field(
        1.0,
        gt=0,
        le=100,
        description=(
            "weight of the loss of each token further ahead (Gloeckle et al. 2024: 1; DeepSeek-V3, section 4.2: 0.3,"
            " later 0.1)"
        ),
    )
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description=(
            "seed of the pretrained model's weights and batches alone; empty: the recipe's `seed`, by which everything"
            " else is drawn, too"
        ),
    )

    @property
    def recorded(self) -> dict[str, Any]:
        """All settings as a manifest records them, but for the seed, which it records by itself."""
        return {name: value for name, value in super().recorded.items() if name != "seed"}
