"""The settings of the training loop, which every training's block of the recipe has.

`NOT_IN_FINGERPRINT` names the settings that affect only how a run is executed (memory, checkpoints, samples), not what
is learned. They stay out of the fingerprint, so a run that ran out of memory resumes from its checkpoint with a smaller
micro-batch; its result differs by rounding only.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from model.config import MAX_CONTEXT
from pipeline.settings import MAX_BATCH_TOKENS, MAX_STEPS, Settings

# Settings that stay out of the fingerprint while they are at their default: they came later, and change nothing then.
LATER = (
    "patience", "village", "cautious_decay", "kept_weights", "ladder", "embeddings",
    "lora_targets", "lora_dropout", "lora_rslora", "lora_dora", "qlora_kernel", "gamma", "desirable_weight",
    "undesirable_weight", "predict_ahead", "predict_ahead_weight",
    "orthogonalised_by", "basis_every", "mask_words", "masked_share", "average_last", "average_over",
    "passes", "minibatches", "clip_range", "value_clip", "value_weight", "gae_lambda", "discount",
)  # fmt: skip
NOT_IN_FINGERPRINT = (
    "sequences", "precision", "activation_checkpointing", "loss_chunk", "compile", "sharding", "checkpoint_every",
    "checkpoint_minutes", "keep_checkpoints", "ladder", "samples_every", "sample_prompts", "sample_tokens",
)  # fmt: skip


VALIDATIONS = 10  # in a run, unless `evaluate_every` is set
MAX_SEQUENCES = 10**6  # in a micro-batch
OptimiserName = Literal["adamw", "muon", "normuon", "soap"]
MAX_DECAY = 100  # of weights; arXiv 2509.14786 uses up to 30 times the usual 0.1 where data is scarce
Beta = Annotated[float, Field(ge=0, lt=1)]
LADDER: float = Field(
    0.0,
    ge=0,
    le=10,
    description=(
        "keep checkpoints after the end of the run, so that forgetting exactly (docs/guide/forgetting.md) takes at most"
        " this share more steps than there are from the first that learned what is forgotten: 0.1 is 10 %; 0: none"
        " are kept, and it takes all steps"
    ),
)
Chunk = Annotated[int, Field(ge=0, le=MAX_BATCH_TOKENS)]


class LoopSettings(Settings):
    """The settings of the training loop."""

    block: ClassVar[str] = "pretraining"  # of the recipe, in which these settings stand

    # -- learning rate
    learning_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "highest learning rate; 0: by the scaling law of DeepSeek LLM (Bi et al. 2024, section 3.1), at most 1e-2"
        ),
    )
    schedule: Literal["cosine", "linear", "wsd"] = Field(
        "linear",
        description=(
            "how the rate decays after warm-up: linear (Bergsma et al. 2025: linear to zero beats cosine to a tenth),"
            " cosine, or wsd (warm-up, stable, decay): constant, then a decay at the end (Hu et al. 2024, MiniCPM)"
        ),
    )
    warmup: float = Field(
        0.05,
        ge=0,
        le=1,
        description=(
            "share of the steps over which the rate rises from 0 (a few per cent is common; small models with few steps"
            " need more)"
        ),
    )
    decay: float = Field(
        0.2,
        ge=0,
        le=1,
        description="wsd only: share of the steps over which the rate decays (Hägele et al. 2024: 10-20 %)",
    )
    final_learning_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description="final rate, as a share of the highest (Bergsma et al. 2025: 0; GPT-3 and Chinchilla: 0.1)",
    )
    # -- optimiser
    optimiser: OptimiserName = Field(
        "adamw",
        description=(
            "adamw; or adamw for all but the matrices of the blocks and for these muon (Jordan 2024; Liu et al. 2025),"
            " normuon (Li et al. 2025), soap (Vyas et al. 2024)"
        ),
    )
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.95),
        description=(
            "decay rates of AdamW's two moments (GPT-3; Brown et al. 2020, appendix B), below 1 (Kingma & Ba 2015,"
            " algorithm 1)"
        ),
    )
    momentum: float = Field(0.95, ge=0, lt=1, description="momentum of muon and normuon (Jordan 2024)")
    orthogonalised_by: Literal["newton_schulz", "polar_express"] = Field(
        "newton_schulz",
        description=(
            "muon and normuon: the polynomials of their five rounds, Jordan's or Polar Express, which come closer to"
            " singular values of 1 (Amsel et al. 2025)"
        ),
    )
    basis_every: int = Field(
        10,
        ge=1,
        le=MAX_STEPS,
        description="soap: steps from one basis to the next (Vyas et al. 2024, section 6.1: 10)",
    )
    weight_decay: float = Field(
        0.1,
        ge=0,
        le=MAX_DECAY,
        description=(
            "applied to matrices, never to norms, biases and embeddings (GPT-3: 0.1; OLMo 2, section 3.2, excludes"
            " embeddings)"
        ),
    )
    cautious_decay: bool = Field(
        False,
        description=(
            "with muon and normuon: matrices of the blocks decay only where the update moves a weight towards 0, too"
            " (Chen et al. 2025, Cautious Weight Decay, algorithm 1)"
        ),
    )
    clip: float = Field(1.0, ge=0, le=1e6, description="largest gradient norm; 0: no clipping (GPT-3: 1.0)")
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description=(
            "decay of a running average of the weights, which is evaluated and saved in their place; it rises to this"
            " value (TensorFlow's ExponentialMovingAverage: (1 + n) / (10 + n) after n updates); 0: none"
        ),
    )
    average_last: int = Field(
        0,
        ge=0,
        le=1000,
        description=(
            "weights of the last part of the run whose mean is evaluated and saved in their place, all alike (LAWA,"
            " Kaddour 2022: 6; Sanyal et al. 2023); 0: none, and without `ema`"
        ),
    )
    average_over: float = Field(
        0.2,
        gt=0,
        le=1,
        description="share of the steps, at the end, over which the weights of `average_last` are spread evenly",
    )
    z_loss: float = Field(
        0.0, ge=0, le=1, description="weight of log(Z)^2, which keeps logits small (PaLM, section 5: 1e-4); 0: none"
    )
    # -- memory and speed
    sequences: int = Field(
        0,
        ge=0,
        le=MAX_SEQUENCES,
        description=(
            "sequences per micro-batch on one device; 0: 4,096 tokens on a CPU, the largest power of two that fits on a"
            " GPU according to the plan"
        ),
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description=(
            "auto: bf16 on GPUs that support it, fp16 with a loss scaler on older ones; on CPUs fp32, or bf16 from 1 M"
            " parameters where matrix products in bf16 were measured to be faster on this machine"
        ),
    )
    activation_checkpointing: bool = Field(
        False,
        description=(
            "recompute the blocks in the backward pass: about a third more compute, much less memory (Chen et al. 2016)"
        ),
    )
    loss_chunk: Literal["auto"] | Chunk = Field(
        "auto",
        description=(
            "tokens whose logits are in memory at once in the loss; 0: all of a micro-batch; auto: enough for 4 million"
            " logits on a CPU, 32 million on a GPU, but at least 512 tokens"
        ),
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description=(
            "torch.compile; auto: if a compiler is installed and the run is long enough to make up for the minute that"
            " it takes"
        ),
    )
    sharding: Literal["auto", "on", "off"] = Field(
        "auto",
        description=(
            "several devices: shard weights, gradients and optimiser state (FSDP2); auto: only if they do not fit on"
            " one device"
        ),
    )
    # -- checkpoints, validation and samples
    checkpoint_every: int = Field(0, ge=0, le=MAX_STEPS, description="steps between checkpoints; 0: by time only")
    checkpoint_minutes: float = Field(
        10.0, gt=0, le=10_080, description="longest time between checkpoints, in minutes, at most a week"
    )
    keep_checkpoints: int = Field(
        2, ge=1, le=10_000, description="number of newest checkpoints to keep, besides the best one by validation loss"
    )
    evaluate_every: int = Field(0, ge=0, le=MAX_STEPS, description="steps between validations; 0: ten in a run")
    select: Literal["last", "best"] = Field(
        "last", description="which weights become the model: the last ones, or those with the lowest validation loss"
    )
    patience: int = Field(
        0,
        ge=0,
        le=MAX_STEPS,
        description=(
            "end the run after this many validations in a row without a lower validation loss (early stopping; Prechelt"
            " 1998); 0: never. With `select: best`, the weights of the lowest one become the model"
        ),
    )
    samples_every: int = Field(
        0,
        ge=0,
        le=MAX_STEPS,
        description="steps between samples, which are taken at validations; 0: at every second validation",
    )
    sample_prompts: tuple[str, ...] = Field(("The ", "def ", "오늘 "), description="prompts that the samples continue")
    sample_tokens: int = Field(48, ge=1, le=MAX_CONTEXT, description="tokens per sample")
    # -- divergence
    spike_sigmas: float = Field(
        6.0,
        ge=0,
        le=1000,
        description=(
            "a loss this many standard deviations above the mean of the last 128 steps is a spike (OLMo-core's"
            " SkipStepOptimizer: 6 and 128); 0: only NaN counts"
        ),
    )
    max_rollbacks: int = Field(
        5,
        ge=0,
        le=1000,
        description="how often a run may roll back to its last checkpoint and skip a batch before it fails",
    )

    @model_validator(mode="after")
    def _cautious_with_muon(self) -> LoopSettings:
        if self.cautious_decay and not self.orthogonalises:
            raise ValueError("`cautious_decay` needs `optimiser: muon`: leave it out, or use that")
        return self

    @model_validator(mode="after")
    def _one_average(self) -> LoopSettings:
        if self.ema and self.average_last:
            raise ValueError("`ema` and `average_last` are two means of the weights: leave one of them out")
        return self

    @property
    def averages(self) -> bool:
        """Whether a mean of the weights takes their place."""
        return bool(self.ema or self.average_last)

    @property
    def orthogonalises(self) -> bool:
        """Whether the updates of the blocks' matrices are orthogonalised, in rounds of multiplications."""
        return self.optimiser in ("muon", "normuon")

    @property
    def chunk(self) -> int | None:
        """`loss_chunk` as the network expects it: None for `auto`."""
        return None if self.loss_chunk == "auto" else self.loss_chunk

    def steps_to_validation(self, steps: int) -> int:
        """The steps from one validation to the next, and to the first, in a run of `steps`."""
        return self.evaluate_every or max(1, math.ceil(steps / VALIDATIONS))

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that affect what is learned, for the fingerprint."""
        return {name: value for name, value in self.recorded.items() if name not in NOT_IN_FINGERPRINT}

    @property
    def recorded(self) -> dict[str, Any]:
        """All settings as a manifest records them."""
        defaults = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name not in LATER or getattr(self, name) != defaults[name].default
        }
