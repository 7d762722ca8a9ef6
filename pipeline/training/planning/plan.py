"""`training_plan`: what a pretraining will cost, known before it starts.

Memory by part, the largest batch that fits and the cheapest switch that makes a misfit fit; hours on named cards;
tokens against what is compute-optimal and against the data at hand; the loss to expect. A run that cannot fit is
refused here, with the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from model.config import ModelConfig
from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_whole
from pipeline.training import machine
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import memory
from pipeline.training.planning.memory import Step
from pipeline.training.training_settings import LoopSettings, PretrainingSettings

VERSION = "5"
ASSET = "training_plan"

# Share of the peak that training reaches. nanoGPT reports 30 % on eight A100 (its README: four days) and 55 % of its
# own peak on a 4090 (karpathy/nanoGPT issue 182), nanochat 73 % on an A100 (pull request 147). 40 % is cautious for
# one card with bf16 and compiling; cards without bf16 lack the fused attention kernels that this takes.
EXPECTED_MFU = {"bf16": 0.40, "fp16": 0.25, "fp32": 0.50}
# A card is never all ours: a desktop, or fragments between tensors.
USABLE = 0.95


@dataclass(frozen=True)
class Pretraining:
    """What the recipe says of a pretraining: the network's shape, the run, and the weights of the sources."""

    model: ModelConfig
    pretraining: PretrainingSettings
    source_weights: Mapping[str, float] = field(default_factory=dict)

    def for_shards(self, shards: Artifact) -> PretrainingSettings:
        """The settings with each source's weight in the feed, where the feed does not name its own."""
        there = shards.facts["tokens_by_source"]
        weights = {name: weight for name, weight in self.source_weights.items() if weight != 1 and name in there}
        feed = self.pretraining.feed
        feed = feed.model_copy(update={"source_weights": {**weights, **feed.source_weights}})
        return self.pretraining.model_copy(update={"feed": feed})


@dataclass(frozen=True)
class Fit:
    """How a micro-batch lies in a device's memory."""

    sequences: int
    sharded: bool
    limit: float  # bytes


def fit(
    config: ModelConfig, settings: LoopSettings, precision: str, device: str, world: int, limit: float = 0.0
) -> Fit:
    """The micro-batch to train with. Raises UserError where none fits, saying what would."""
    limit = limit or machine.memory_there(device) * USABLE
    step = Step.of(settings, settings.sequences or 1, precision)
    kinds = [False, True] if settings.sharding == "auto" and world > 1 else [settings.sharding == "on" and world > 1]
    for sharded in kinds:
        tried = replace(step, shards=world if sharded else 1)
        wanted = settings.sequences
        if not wanted and device == "cpu":
            wanted = max(1, budgets.CPU_TOKENS // config.context)
            if memory.at_most(config, replace(tried, sequences=wanted)) < limit:
                return Fit(wanted, sharded, limit)
            while wanted > 1 and memory.of_step(config, replace(tried, sequences=wanted), device).total > limit:
                wanted //= 2
        wanted = wanted or memory.largest(config, tried, limit, device)
        needed = memory.of_step(config, replace(tried, sequences=max(wanted, 1)), device)
        if wanted and needed.total <= limit:
            return Fit(wanted, sharded, limit)
    raise UserError(
        f"One micro-batch of {max(wanted, 1)} sequences of {config.context} tokens needs {gib(needed.total)} and "
        f"{gib(limit)} are free: {remedy(config, settings, precision, device, limit)}."
    )


def remedy(config: ModelConfig, settings: LoopSettings, precision: str, device: str, limit: float) -> str:
    """The cheapest change that makes the run fit: fewer sequences cost nothing, recomputing costs a third."""
    changes: list[tuple[dict[str, Any], str]] = (
        [({}, ""), ({"loss_chunk": "auto"}, "loss_chunk: auto")] if settings.loss_chunk == 0 else [({}, "")]
    )
    changes += [({"loss_chunk": "auto", "activation_checkpointing": True}, "activation_checkpointing: true")]
    for change, words in changes:
        changed = settings.model_copy(update=change)
        most = memory.largest(config, Step.of(changed, 1, precision), limit, device)
        if most:
            if settings.sequences:
                most = min(most, settings.sequences)
            takes = memory.of_step(config, Step.of(changed, most, precision), device).total
            return (
                f"set {words + ' and ' if words else ''}sequences: {most} under pretraining, which takes {gib(takes)}"
            )
    least = memory.of_step(
        config,
        Step.of(settings.model_copy(update={"activation_checkpointing": True, "loss_chunk": "auto"}), 1, precision),
        device,
    )
    return (
        f"even one sequence with activation_checkpointing takes {gib(least.total)}; make the model smaller "
        "(layers, width, vocab_size), shorten its context, or split it over several devices with sharding: on"
    )


def advice(config: ModelConfig, settings: LoopSettings, precision: str, device: str, sequences: int) -> str:
    """What to change after memory ran out with `sequences` in a micro-batch."""
    needed = memory.of_step(config, Step.of(settings, sequences, precision), device).total
    if sequences > 1:
        half = sequences // 2
        takes = memory.of_step(config, Step.of(settings, half, precision), device).total
        return (
            f"a micro-batch of {sequences} sequences was planned at {gib(needed)}; set sequences: {half}, planned at"
            f" {gib(takes)}"
        )
    changed = settings.model_copy(update={"activation_checkpointing": True, "loss_chunk": "auto"})
    takes = memory.of_step(config, Step.of(changed, 1, precision), device).total
    return f"one sequence was planned at {gib(needed)}; set activation_checkpointing: true, planned at {gib(takes)}"


def expected_loss(parameters: int, tokens: int) -> float | None:
    """Nats a token by the parametric law of Hoffmann et al. 2022 (section 3.3) as fitted anew by Besiroglu et al. 2024.

    Fitted to web text and a vocabulary of 32,000, for 44 million parameters and more; None far below that, where it
    exceeds the loss of guessing.
    """
    if parameters < 10_000_000 or tokens < 100_000_000:
        return None
    return 1.8172 + 482.01 / parameters**0.3478 + 2085.43 / tokens**0.3658


def duration(hours: float) -> str:
    """In the unit that a person would use."""
    if hours < 1 / 60:
        return "under a minute"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:,.1f} h"


def hours(flops: float, card: machine.Card, precision: str, cards: int = 1) -> float:
    return flops / (card.tflops[precision] * 1e12 * EXPECTED_MFU[precision] * cards) / 3600


def plan(
    config: ModelConfig,
    settings: PretrainingSettings,
    available: int | None,
    *,
    gpu: str | None = None,
    device: str = "cpu",
    world: int = 1,
    context: int = 0,
) -> dict[str, Any]:
    """The plan as plain figures. `gpu` names a card of the table; without it, `device` is the machine's own.

    `available`: tokens of text; None where they are not known yet. Raises UserError where nothing fits.
    """
    sized = budgets.size(config)
    if gpu:
        chosen = machine.card(gpu)
        precision: str = (
            settings.precision if settings.precision != "auto" else ("bf16" if "bf16" in chosen.tflops else "fp16")
        )
        limit = chosen.memory_gib * 2**30 * USABLE
        fitted = fit(config, settings, precision, "cuda", world, limit)
        where = chosen.name
    else:
        precision = machine.choose_precision(settings.precision, device, sized.parameters)
        fitted = fit(config, settings, precision, device, world)
        where = device
    plenty = budgets.TOKENS_A_PARAMETER * sized.parameters
    run = budgets.budget(
        settings, sized, config.context, available or max(plenty, settings.tokens), fitted.sequences, world
    )
    step = Step.of(settings, run.sequences, precision, world if fitted.sharded else 1)
    needed = memory.of_step(config, replace(step, accumulates=run.accumulation > 1), "cuda" if gpu else device)
    flops = sized.flops_per_token * run.tokens
    cards = {
        card.name: round(hours(flops, card, next(p for p in ("bf16", "fp16") if p in card.tflops)), 4)
        for card in machine.CARDS.values()
    }
    found: dict[str, Any] = {
        "device": where, "devices": world, "precision": precision,
        "parameters": sized.parameters, "parameters_of_embeddings": sized.embeddings,
        "tokens": run.tokens, "steps": run.steps, "batch_tokens": run.step_tokens,
        "sequences": run.sequences, "accumulation": run.accumulation,
        "learning_rate": float(f"{run.learning_rate:.4g}"),
        "flops": float(f"{flops:.4g}"), "flops_per_token": sized.flops_per_token,
        "memory_mib": needed.parts(), "memory_free_mib": round(fitted.limit / 2**20), "sharded": fitted.sharded,
        "tokens_a_parameter": round(run.tokens / sized.parameters, 2),
        "compute_optimal_tokens": plenty,
        "tokens_available": available, "epochs": round(run.epochs, 2) if available else None,
        "expected_loss": expected_loss(sized.parameters, run.tokens),
        "hours": cards,
    }  # fmt: skip
    if gpu:
        found["hours_here"] = round(hours(flops, machine.card(gpu), precision, world), 2)
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """The plan as a person reads it."""
    parts = found["memory_mib"]
    named = ", ".join(f"{name} {parts[name]:,}" for name in parts if name != "total" and parts[name])
    text = [
        (
            f"{found['parameters'] / 1e6:.1f} M parameters ({found['parameters_of_embeddings'] / 1e6:.1f} M of them"
            f" embeddings), {found['tokens'] / 1e6:,.1f} M tokens, {found['flops']:.3g} FLOPs"
        ),
        (
            f"{found['steps']:,} steps of {found['batch_tokens']:,} tokens ({found['sequences']} sequences x"
            f" {found['accumulation']} micro-batches x {found['devices']} device(s)), learning rate up to"
            f" {found['learning_rate']:.2g}, {found['precision']}"
        ),
        f"memory {parts['total']:,} MiB: {named}",
        (
            f"{found['tokens_a_parameter']:.1f} tokens a parameter (compute-optimal: {budgets.TOKENS_A_PARAMETER},"
            f" {found['compute_optimal_tokens'] / 1e6:,.0f} M tokens)"
        ),
    ]
    if found["epochs"] is not None:
        text.append(f"{found['tokens_available'] / 1e6:,.1f} M tokens of text, so {found['epochs']:.2f} passes over it")
    if found["expected_loss"] is not None:
        text.append(f"expected loss about {found['expected_loss']:.2f} nats a token (web text, Hoffmann et al. 2022)")
    times = {name: duration(hours) for name, hours in found["hours"].items()}
    told = ", ".join(f"{name} {time}" for name, time in times.items())
    text.append(
        f"time: {told if len(set(times.values())) > 1 else next(iter(times.values())) + ' on any of the cards'}"
    )
    return text


def make(context: RunContext, inputs: Inputs, settings: Pretraining) -> Artifact:
    """The plan for this machine's device as an artifact. inputs: token_shards, tokenizer.

    Raises UserError where the run cannot fit.
    """
    shards, tokenizer = inputs["token_shards"], inputs["tokenizer"]
    device = machine.choose_device(context.device)

    def build(draft: Draft) -> None:
        found = plan(with_vocabulary(settings.model, tokenizer), settings.pretraining, tokens_in(shards), device=device)
        del found["memory_free_mib"]  # of this moment
        write_whole(draft.path("plan.json"), json.dumps(found, indent=1, sort_keys=True) + "\n")
        draft.facts.update(found)
        for line in lines(found):
            context.log(line)

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings={
            "model": settings.model.model_dump(mode="json"),
            "pretraining": settings.pretraining.model_dump(mode="json"),
        },
        inputs={"token_shards": shards, "tokenizer": tokenizer},
        build=build,
        log=context.log,
    )


def with_vocabulary(model: ModelConfig, tokenizer: Artifact) -> ModelConfig:
    """The shape with the tokenizer's vocabulary; a UserError where the recipe gives a smaller one."""
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


def gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
