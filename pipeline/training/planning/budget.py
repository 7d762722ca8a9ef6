"""The numbers of a run, from the recipe's settings: parameters, FLOPs, steps, sequences, learning rate.

The plan, the training and the benchmarks all use these functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.config import ModelConfig
from pipeline.errors import UserError
from pipeline.training import schedule
from pipeline.training.pretraining_settings import PretrainingSettings

TOKENS_A_PARAMETER = 20  # compute-optimal (Hoffmann et al. 2022, section 3; confirmed by Besiroglu et al. 2024)
BYTES_A_TOKEN = 4  # of prose and code, about; fewer in much text with a small vocabulary (docs/results/tokens.md)
CPU_TOKENS = 4096  # per micro-batch on a CPU: more is no faster there, fewer is slower


def tokens_of(text_bytes: int) -> int:
    """About how many tokens so many bytes of text are, at least one."""
    return max(1, text_bytes // BYTES_A_TOKEN)


@dataclass(frozen=True)
class Size:
    """A network's size. `multiplied` counts the weights that every token is multiplied by."""

    parameters: int
    embeddings: int
    multiplied: int
    flops_per_token: float


@dataclass(frozen=True)
class Budget:
    """How a run is divided into steps."""

    tokens: int
    steps: int
    step_tokens: int
    sequences: int  # per micro-batch, on one device
    accumulation: int
    learning_rate: float
    epochs: float


def size(config: ModelConfig, context: int = 0) -> Size:
    """Parameters and FLOPs of a network, counted on the `meta` device, which allocates no memory.

    FLOPs per token, forward and backward: 6 for each multiplied weight, plus 12 x layers x heads x head width x context
    for attention (PaLM, Chowdhery et al. 2022, appendix B), half of which a causal model needs. Recomputation for
    activation checkpointing is not counted.
    """
    import torch

    from model.transformer import Transformer

    with torch.device("meta"):
        network = Transformer(config)
    full = network.config
    looked_up = sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.Embedding))
    parameters = sum(p.numel() for p in network.parameters())
    output = full.vocab_size * full.width
    multiplied = (
        sum(p.numel() for p in network.parameters() if p.ndim == 2) - looked_up + (output if full.tie_embeddings else 0)
    )
    attention = 12 * full.layers * full.heads * full.head_width * (context or full.context)
    if full.causal:
        attention //= 2
    outside = looked_up if full.tie_embeddings else looked_up + output
    return Size(parameters, outside, multiplied, 6.0 * multiplied + attention)


def flops_per_token(config: ModelConfig, settings: PretrainingSettings) -> float:
    """FLOPs of a token in training: those of `size`, and what blocks that look further ahead and masks take."""
    own = found = size(config).flops_per_token
    if settings.predict_ahead:
        full = config.resolved()
        one, two = (size(config.model_copy(update={"layers": layers})).flops_per_token for layers in (1, 2))
        found += settings.predict_ahead * (two - one + 6.0 * full.vocab_size * full.width)
    if settings.masked_share:  # a sequence that is read both ways needs both halves of attention
        found += settings.masked_share * (size(config.model_copy(update={"causal": False})).flops_per_token - own)
    return found


def budget(
    settings: PretrainingSettings, sized: Size, context: int, available: int, sequences: int, world: int = 1
) -> Budget:
    """The run that the settings describe, over `available` tokens of data and `world` devices.

    Raises UserError if there is too little text or a step is too small for the devices.
    """
    if available < context:
        raise UserError(
            f"There are {available} tokens of text, fewer than one sequence of {context}: add text, or lower"
            " model.context."
        )
    tokens = settings.tokens
    if not tokens:
        tokens = min(TOKENS_A_PARAMETER * sized.parameters, int(settings.max_epochs * available))
    rate, batch_tokens = schedule.scaling_law(sized.flops_per_token * tokens)
    if settings.batch_tokens:
        step_sequences = max(1, round(settings.batch_tokens / context))  # over all devices
        if step_sequences < world:
            raise UserError(
                f"pretraining.batch_tokens is {settings.batch_tokens}, which is {step_sequences} sequences of {context}"
                f" for {world} processes: make it at least {world * context}, or use fewer processes."
            )
        step_sequences = step_sequences // world * world
    else:
        # A power of two divides into micro-batches of any power of two, so the batch is the same on every machine.
        step_sequences = max(world, 2 ** max(0, round(math.log2(batch_tokens / context))))
    micro_sequences = min(sequences, step_sequences // world)
    while (step_sequences // world) % micro_sequences:  # micro-batches of equal size
        micro_sequences -= 1
    step_tokens = step_sequences * context
    steps = max(1, math.ceil(tokens / step_tokens))
    return Budget(
        tokens=steps * step_tokens,
        steps=steps,
        step_tokens=step_tokens,
        sequences=micro_sequences,
        accumulation=step_sequences // world // micro_sequences,
        learning_rate=settings.learning_rate or rate,
        epochs=steps * step_tokens / available,
    )


def default_validation_tokens(tokens: int) -> int:
    """Tokens of one validation during a run of `tokens` tokens, unless the recipe sets them."""
    return min(65_536, int(0.015 * tokens))


def best_rate(sized: Size) -> float:
    """The peak learning rate of compute-optimal pretraining for a network of this size."""
    return schedule.scaling_law(sized.flops_per_token * TOKENS_A_PARAMETER * sized.parameters)[0]
