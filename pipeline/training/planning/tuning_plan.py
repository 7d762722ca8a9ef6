"""Fine-tuning and preference tuning in a plan: how much fits at once, and what it takes.

Their time is not planned: it follows from the data, and is short beside pretraining.
"""

from __future__ import annotations

from typing import Any

from model.config import ModelConfig
from pipeline.training import machine
from pipeline.training.cards import Card
from pipeline.training.machine import USABLE
from pipeline.training.measured import Machine
from pipeline.training.planning import memory
from pipeline.training.planning.plan import fit, gpu_of
from pipeline.training.planning.tracing import Step
from pipeline.training.training_settings import TunedSettings

OF_PAIRS = ("preference", "reward_model")  # blocks of trainings that hold two sequences for each pair


def plan_tuning(
    config: ModelConfig,
    settings: TunedSettings,
    *,
    card: Card | None = None,
    device: str = "cpu",
    world: int = 1,
    here: Machine | None = None,
) -> dict[str, Any]:
    """The micro-batch that fits and its memory, as plain figures; arguments as in `plan.plan`.

    Rows are planned as full, and every token of them as one to learn. Raises UserError if not one fits.
    """
    length = min(settings.context or config.context, config.context)
    config = config.model_copy(update={"context": length})
    if card:
        device, limit = "cuda", card.memory_gib * 2**30 * USABLE
        precision: str = card.precision if settings.precision == "auto" else settings.precision
    else:
        precision, limit = machine.choose_precision(settings.precision, device, config, here or Machine()), 0.0
    fitted = fit(config, settings, precision, device, world, limit, card)
    step = Step.of(settings, fitted.sequences, precision, world if fitted.sharded else 1, gpu_of(device, card))
    return {
        "block": settings.block, "method": settings.weights, "precision": precision, "sequences": step.sequences,
        "context": length, "memory_mib": memory.of_step(config, step).parts(), "sharded": fitted.sharded,
    }  # fmt: skip


def line(found: dict[str, Any]) -> str:
    """What `plan_tuning` found, in words."""
    parts, sequences = found["memory_mib"], found["sequences"]
    pairs = f"{sequences // 2} pair{'s' if sequences > 2 else ''}, " if found["block"] in OF_PAIRS else ""
    named = ", ".join(f"{name} {parts[name]:,}" for name in parts if name != "total" and parts[name])
    noun = "answer" if found["block"] == "reinforcement" else "sequence"
    rows = f"{sequences} {noun}{'s' if sequences > 1 else ''} of {found['context']:,} tokens at once"
    return (
        f"{found['block']} ({found['method']}, {found['precision']}): {pairs}{rows}, memory {parts['total']:,} MiB:"
        f" {named}"
    )
