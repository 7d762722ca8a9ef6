"""`training_plan`: the cost of pretraining, computed before it starts.

Memory by part; the largest batch that fits, or the cheapest change that makes a run fit; hours on this machine, on a
CPU measured, and on common GPUs; tokens compared with the compute-optimal number and with the data available; the
expected loss. A run that cannot fit is refused here, with the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from model.config import ModelConfig
from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.printing import binary_size
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_whole
from pipeline.training import cards, ladder, machine, measured
from pipeline.training.cards import Card
from pipeline.training.machine import USABLE
from pipeline.training.measured import Machine
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import memory, plan_words
from pipeline.training.planning.step_time import step_time
from pipeline.training.planning.tracing import Step
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.training_settings import LoopSettings, TunedSettings

VERSION = "7"  # 7: memory of the attention that will run. 6: more cards; hours for a card in a format that it lacks
ASSET = "training_plan"

# Model FLOPs utilisation: the share of the peak that training reaches. nanoGPT reports 30 % on eight A100s (its README:
# four days) and 55 % on a 4090 (karpathy/nanoGPT issue 182), nanochat 73 % on an A100 (pull request 147). 40 % is
# cautious for one card with bf16 and compilation; cards without bf16 lack the fused attention kernels that this needs.
EXPECTED_MFU = {"bf16": 0.40, "fp16": 0.25, "fp32": 0.50}
# What depends on the moment or on the machine: shown, but no part of the artifact.
OF_THE_MACHINE = ("memory_free_mib", "machine", "bf16_gain", "seconds_a_step", "free", "hours_here", "unknown_card")


@dataclass(frozen=True)
class Pretraining:
    """The recipe's settings for pretraining: the network's shape, the run, and the weights of the sources."""

    model: ModelConfig
    pretraining: PretrainingSettings
    source_weights: Mapping[str, float] = field(default_factory=dict)

    def for_shards(self, shards: Artifact) -> PretrainingSettings:
        """The settings with each source's weight in the feed, unless the feed sets that source's weight itself."""
        known = shards.facts["tokens_by_source"]
        weights = {name: weight for name, weight in self.source_weights.items() if weight != 1 and name in known}
        feed = self.pretraining.feed
        feed = feed.model_copy(update={"source_weights": {**weights, **feed.source_weights}})
        return self.pretraining.model_copy(update={"feed": feed})


@dataclass(frozen=True)
class Fit:
    """A micro-batch that fits into a device's memory."""

    sequences: int
    sharded: bool
    limit: float  # bytes


def fit(
    config: ModelConfig,
    settings: LoopSettings,
    precision: str,
    device: str,
    world: int,
    limit: float = 0.0,
    card: Card | None = None,
) -> Fit:
    """The micro-batch to train with, on a `card` or else on this machine's `device`.

    Raises UserError if none fits, and names a change that would fit.
    """
    limit = limit or machine.free_memory(device) * USABLE
    step = Step.of(settings, settings.sequences or 1, precision, gpu=gpu_of(device, card))
    options = [False, True] if settings.sharding == "auto" and world > 1 else [settings.sharding == "on" and world > 1]
    for sharded in options:
        candidate = replace(step, shards=world if sharded else 1)
        sequences = settings.sequences
        if not sequences and device == "cpu":
            sequences = candidate.with_sequences(budgets.CPU_TOKENS // config.context).sequences
            if memory.upper_bound(config, replace(candidate, sequences=sequences)) < limit:
                return Fit(sequences, sharded, limit)
            while (
                sequences > step.least and memory.of_step(config, replace(candidate, sequences=sequences)).total > limit
            ):
                sequences = candidate.with_sequences(sequences // 2).sequences
        sequences = sequences or memory.largest_micro_batch(config, candidate, limit)
        needed = memory.of_step(config, candidate.with_sequences(sequences))
        if sequences and needed.total <= limit:
            return Fit(candidate.with_sequences(sequences).sequences, sharded, limit)
    step = step.with_sequences(sequences)
    raise UserError(
        f"One micro-batch of {step.sequences} sequences of {config.context} tokens needs"
        f" {binary_size(needed.total)} and {binary_size(limit)} are free: {remedy(config, settings, step, limit)}."
    )


def gpu_of(device: str, card: Card | None) -> tuple[int, int] | None:
    """Compute capability of the card that is planned for; None for a CPU."""
    return card.capability if card else machine.capability(device)


def remedy(config: ModelConfig, settings: LoopSettings, step: Step, limit: float) -> str:
    """The cheapest change that makes the run fit: fewer sequences cost nothing, recomputation costs a third.

    step: the one that does not fit.
    """

    def changed(change: dict[str, Any]) -> Step:
        return Step.of(settings.model_copy(update=change), step.least, step.precision, gpu=step.gpu)

    recomputing = {"loss_chunk": "auto", "activation_checkpointing": True}
    changes: list[tuple[dict[str, Any], str]] = [({}, "")]
    if settings.loss_chunk == 0:
        changes.append(({"loss_chunk": "auto"}, "loss_chunk: auto"))
    changes.append((recomputing, "activation_checkpointing: true"))
    if isinstance(settings, TunedSettings) and settings.weights == "full":
        changes.append((recomputing | {"weights": "lora"}, "activation_checkpointing: true, weights: lora"))
    if isinstance(settings, TunedSettings) and settings.weights != "qlora" and not settings.lora_dora:
        changes.append((recomputing | {"weights": "qlora"}, "activation_checkpointing: true, weights: qlora"))
    for change, words in changes:
        most = memory.largest_micro_batch(config, changed(change), limit)
        if most:
            if settings.sequences:
                most = min(most, step.sequences)
            needed = memory.of_step(config, replace(changed(change), sequences=most)).total
            return (
                f"set {words + ' and ' if words else ''}sequences: {most} under {settings.block}, which takes"
                f" {binary_size(needed)}"
            )
    least = memory.of_step(config, changed(recomputing))
    few = "one sequence" if step.least == 1 else "one pair"
    return (
        f"even {few} with activation_checkpointing takes {binary_size(least.total)}; make the model smaller (layers,"
        " width, vocab_size), shorten its context, or shard it over several devices with sharding: on"
    )


def advice(config: ModelConfig, settings: LoopSettings, precision: str, device: str, sequences: int) -> str:
    """What to change after memory ran out with `sequences` sequences per micro-batch."""
    step = Step.of(settings, sequences, precision, gpu=machine.capability(device))
    needed = memory.of_step(config, step).total
    half = step.with_sequences(sequences // 2)
    if half.sequences < sequences:
        return (
            f"a micro-batch of {sequences} sequences was planned at {binary_size(needed)}; set sequences:"
            f" {half.sequences}, planned at {binary_size(memory.of_step(config, half).total)}"
        )
    smaller = memory.of_step(config, replace(step, activation_checkpointing=True, chunk=None)).total
    return (
        f"{'one pair' if step.preference else 'one sequence'} was planned at {binary_size(needed)}; set"
        f" activation_checkpointing: true, planned at {binary_size(smaller)}"
    )


def expected_loss(parameters: int, tokens: int) -> float | None:
    """Nats per token by the parametric law of Hoffmann et al. 2022 (section 3.3), as refitted by Besiroglu et al. 2024.

    The law was fitted to web text with a vocabulary of 32,000, for 44 million parameters and more. Returns None far
    below that range, where the law predicts more than the loss of random guessing.
    """
    if parameters < 10_000_000 or tokens < 100_000_000:
        return None
    return 1.8172 + 482.01 / parameters**0.3478 + 2085.43 / tokens**0.3658


def hours(flops: float, card: Card, precision: str, devices: int = 1) -> float:
    return flops / (card.rate(precision) * 1e12 * EXPECTED_MFU[precision] * devices) / 3600


def plan(
    config: ModelConfig,
    settings: PretrainingSettings,
    available: int | None,
    *,
    card: Card | None = None,
    device: str = "cpu",
    world: int = 1,
    here: Machine | None = None,
) -> dict[str, Any]:
    """The plan as plain figures, for `world` devices: cards of this kind, or else this machine's `device`.

    available: tokens of text; None if not known yet. here: what was measured on this machine. Raises UserError if
    nothing fits.
    """
    sized = budgets.size(config)
    here = here or Machine()
    if card:
        device, limit = "cuda", card.memory_gib * 2**30 * USABLE
        precision: str = card.precision if settings.precision == "auto" else settings.precision
    else:
        precision, limit = machine.choose_precision(settings.precision, device, config, here), 0.0
    fitted = fit(config, settings, precision, device, world, limit, card)
    optimal = budgets.TOKENS_A_PARAMETER * sized.parameters
    run = budgets.budget(
        settings, sized, config.context, available or max(optimal, settings.tokens), fitted.sequences, world
    )
    step = Step.of(settings, run.sequences, precision, world if fitted.sharded else 1, gpu_of(device, card))
    needed = memory.of_step(config, replace(step, accumulates=run.accumulation > 1))
    a_token = budgets.flops_per_token(config, settings)
    flops = a_token * run.tokens
    figures: dict[str, Any] = {
        "device": card.name if card else device, "devices": world, "precision": precision,
        "parameters": sized.parameters, "parameters_of_embeddings": sized.embeddings,
        "tokens": run.tokens, "steps": run.steps, "batch_tokens": run.step_tokens,
        "sequences": run.sequences, "accumulation": run.accumulation,
        "learning_rate": float(f"{run.learning_rate:.4g}"),
        "flops": float(f"{flops:.4g}"), "flops_per_token": a_token,
        "memory_mib": needed.parts(), "memory_free_mib": round(fitted.limit / 2**20), "sharded": fitted.sharded,
        "tokens_a_parameter": round(run.tokens / sized.parameters, 2),
        "compute_optimal_tokens": optimal,
        "tokens_available": available, "epochs": round(run.epochs, 2) if available else None,
        "expected_loss": expected_loss(sized.parameters, run.tokens),
        "hours": {known.name: round(hours(flops, known, known.precision), 4) for known in cards.CARDS.values()},
    }  # fmt: skip
    if settings.ladder:
        rungs, size = ladder.size_of(sized.parameters, run.steps, settings.ladder, settings.averages)
        figures["ladder"] = {"checkpoints": rungs, "mib": round(size / 2**20)}
    if device.startswith("cpu"):
        return figures | on_this_cpu(config, settings, run, precision, here)
    return figures | on_a_card(card, device, flops, precision, world)


def on_this_cpu(
    config: ModelConfig, settings: PretrainingSettings, run: budgets.Budget, precision: str, here: Machine
) -> dict[str, Any]:
    """Measured figures: hours of the run on this machine's CPU, and how much faster bf16 is."""
    kind = measured.kind_of_machine()
    figures: dict[str, Any] = {"machine": f"{kind['cpu']}, {kind['threads']} thread(s)"}
    if machine.large_enough(config):
        figures["bf16_gain"] = round(measured.bf16_gain(here, config), 2)
    muon = machine.muon_precision("cpu", config, here) if settings.orthogonalises else "fp32"
    found = step_time(here, config, settings, precision, muon, run.sequences)
    figures["seconds_a_step"] = float(f"{found.step(run.accumulation):.3g}")
    figures["free"] = round(found.free, 2)
    validation = settings.validation_tokens or budgets.default_validation_tokens(run.tokens)
    figures["hours_here"] = round(found.run(run, validation, config.context) / 3600, 5)
    return figures


def on_a_card(card: Card | None, device: str, flops: float, precision: str, world: int) -> dict[str, Any]:
    """Hours on cards of this kind, or of the kind in this machine; without hours if that is not known."""
    import torch

    name = card.name if card else torch.cuda.get_device_name(device)
    card = card or cards.match(name)
    if card is None:
        return {"machine": name, "unknown_card": name}
    return {"machine": name, "hours_here": round(hours(flops, card, precision, world), 2)}


def make(context: RunContext, inputs: Inputs, settings: Pretraining) -> Artifact:
    """The plan for this machine's device, as an artifact. inputs: token_shards, tokenizer.

    Raises UserError if the run cannot fit, or would take longer than `execution.max_hours`.
    """
    shards, tokenizer = inputs["token_shards"], inputs["tokenizer"]
    device = machine.choose_device(context.device)

    def build(draft: Draft) -> None:
        config = with_vocabulary(settings.model, tokenizer)
        figures = plan(
            config, settings.pretraining, tokens_in(shards), device=device, here=Machine.beside(context.store)
        )
        for line in plan_words.lines(figures):
            context.log(line)
        plan_words.refuse_too_long(figures, context.execution.max_hours)
        if "hours_here" in figures:
            draft.timings["planned_training"] = round(3600 * figures["hours_here"], 1)
        figures = {name: value for name, value in figures.items() if name not in OF_THE_MACHINE}
        write_whole(draft.path("plan.json"), json.dumps(figures, indent=1, sort_keys=True) + "\n")
        draft.facts.update(figures)

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={
            "model": settings.model.model_dump(mode="json"),
            "pretraining": settings.pretraining.recorded,
        },
        inputs={"token_shards": shards, "tokenizer": tokenizer},
        build=build,
        log=context.log,
    )


def with_vocabulary(model: ModelConfig, tokenizer: Artifact) -> ModelConfig:
    """The shape with the tokenizer's vocabulary size. Raises UserError if the recipe sets a smaller one."""
    from pipeline.tokens.tokenizer import load

    size = load(tokenizer.local_directory()).vocab_size
    if model.vocab_size and model.vocab_size < size:
        raise UserError(
            f"model.vocab_size is {model.vocab_size}, but the tokenizer has {size} tokens: leave it out, or set it to"
            f" {size} or more."
        )
    return model.model_copy(update={"vocab_size": model.vocab_size or size})


def tokens_in(shards: Artifact) -> int:
    """Tokens of the training split."""
    return int(shards.facts["tokens"]["train"])
