"""From a recipe's settings to the numbers of a run: parameters, FLOPs, steps, sequences, learning rate.

One place, so that the plan, the training and the benchmarks count alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.config import ModelConfig
from pipeline.errors import UserError
from pipeline.training import schedule
from pipeline.training.training_settings import PretrainingSettings

TOKENS_A_PARAMETER = 20  # compute-optimal (Hoffmann et al. 2022, section 3; confirmed by Besiroglu et al. 2024)
CPU_TOKENS = 4096  # of a micro-batch on a CPU: more is no faster there, less is slower


@dataclass(frozen=True)
class Size:
    """A network's size. `multiplied` are the weights that take part in matrix multiplications of every token."""

    parameters: int
    embeddings: int
    multiplied: int
    flops_per_token: float


@dataclass(frozen=True)
class Budget:
    """How a run is cut into steps."""

    tokens: int
    steps: int
    step_tokens: int
    sequences: int  # of a micro-batch, on one device
    accumulation: int
    learning_rate: float
    epochs: float


def size(config: ModelConfig, context: int = 0) -> Size:
    """Parameters and FLOPs of a network, counted on a copy without memory (`meta`).

    FLOPs of a token, forward and backward: 6 for each multiplied weight, and 12 x layers x heads x head width x
    context for attention (PaLM, Chowdhery et al. 2022, appendix B), of which a causal model needs half; the
    recomputation of checkpointing does not count.
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


def budget(
    settings: PretrainingSettings, sized: Size, context: int, available: int, sequences: int, world: int = 1
) -> Budget:
    """The run that the settings ask for, over `available` tokens of data and `world` devices.

    Raises UserError where there is no text to train on or a step is too small for the devices.
    """
    if available < context:
        raise UserError(
            f"There are {available} tokens of text, fewer than one sequence of {context}: add text, or lower"
            " model.context."
        )
    tokens = settings.tokens
    if not tokens:
        tokens = min(TOKENS_A_PARAMETER * sized.parameters, int(settings.max_epochs * available))
    rate, wanted = schedule.scaling_law(sized.flops_per_token * tokens)
    if settings.batch_tokens:
        wanted = settings.batch_tokens
    if settings.batch_tokens:
        in_step = max(1, round(wanted / context))  # sequences of a step, over all devices
        if in_step < world:
            raise UserError(
                f"pretraining.batch_tokens is {settings.batch_tokens}, which is {in_step} sequences of {context} for "
                f"{world} processes: make it at least {world * context}, or use fewer processes."
            )
        in_step = in_step // world * world
    else:
        # A power of two can be cut as any machine's memory wants, so that the batch is the same on all of them.
        in_step = max(world, 2 ** max(0, round(math.log2(wanted / context))))
    each = min(sequences, in_step // world)
    while (in_step // world) % each:  # micro-batches of equal size
        each -= 1
    step_tokens = in_step * context
    steps = max(1, math.ceil(tokens / step_tokens))
    return Budget(
        tokens=steps * step_tokens,
        steps=steps,
        step_tokens=step_tokens,
        sequences=each,
        accumulation=in_step // world // each,
        learning_rate=settings.learning_rate or rate,
        epochs=steps * step_tokens / available,
    )


def best_rate(sized: Size) -> float:
    """The highest learning rate of a compute-optimal pretraining of such a network."""
    return schedule.scaling_law(sized.flops_per_token * TOKENS_A_PARAMETER * sized.parameters)[0]
