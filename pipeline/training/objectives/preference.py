"""`preference_model`: a fine-tuned model, trained to prefer the better of two answers (DPO).

Rafailov et al. 2023: raise the log-probability of the chosen answer relative to the rejected one, both measured against
the reference model, which is the model before tuning. No reward model, no sampling. The reference log-probabilities
are computed once, by the function that training uses.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from model import conversation
from model.config import IGNORED
from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.training.data.pairs import Pair, Pairs, batch_of, encode_pairs, exclusions
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import tuning
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import plan
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import PreferenceSettings

if TYPE_CHECKING:
    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.model_artifact import Training, TrainingProcess
    from pipeline.training.objectives.objective import Batch

# 7: conversations are encoded behind their role's line; the average of the weights warms up; on a CPU `precision: auto`
# follows a measurement. 6: facts count the tokens
VERSION = "7"
ASSET = "preference_model"
RATE_SHARE = 0.01  # of the learning rate that pretraining would use (Rafailov et al. 2023: 1e-6 after about 1e-4)
HELD_BACK_PAIRS = 512
SECONDS_BETWEEN_LINES = 10.0


def make(context: RunContext, inputs: Inputs, settings: PreferenceSettings) -> Artifact:
    """Tune a model on preferences (train.parquet, held_back.parquet with prompt, chosen, rejected).

    inputs: base, preference_data. Raises UserError if no pair is usable, `Stopped` if a stop was requested.
    """
    from pipeline.training.model_artifact import make_on_all_ranks

    base, preferences = inputs["base"], inputs["preference_data"]
    return make_on_all_ranks(
        context,
        ASSET,
        lambda process: prepare(process, base, preferences, settings),
        code_version=VERSION,
        settings={"preference": settings.identity, "seed": context.seed},
        inputs={base.asset: base, preferences.asset: preferences},
    )


def prepare(process: TrainingProcess, base: Artifact, preferences: Artifact, settings: PreferenceSettings) -> Training:
    """The network, its pairs with their reference log-probabilities and its validation, for the loop."""
    from pipeline.training.model_artifact import Training
    from pipeline.training.objectives.objective import Objective

    context, ranks, device = process.context, process.ranks, process.device
    network, config, tokenizer = tuning.load_base(base, settings, context.seed)
    length = min(settings.context or config.context, config.context)
    train, held_back = usable_pairs(preferences, tokenizer, length)
    precision = process.precision(settings.precision, config)
    fit = tuning.fit(config, length, settings, precision, process)
    pairs_at_once = max(1, fit.sequences // 2)
    batching = tuning.batching(
        len(train.pairs), settings.epochs, settings.batch_pairs, pairs_at_once, context.seed, ranks.world
    )
    network.to(device)
    without_dropout(network)
    for part in (train, held_back):
        part.reference = reference_log_probabilities(
            network, part.pairs, batching.micro_rows, precision, settings, process
        )
    size = budgets.size(config, length)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    every = np.arange(len(train.pairs))
    step_tokens = round(batching.step_rows * train.tokens(every) / len(every))
    objective = Objective(
        name="preference tuning",
        steps=batching.steps,
        accumulation=batching.accumulation,
        step_tokens=step_tokens,
        batch=lambda step, micro: batch_of(train, batching.row_numbers(step, micro, ranks)),
        units=lambda batch: float(len(batch["reference"])),
        loss=lambda model, batch: dpo(model, batch, settings),
        validation_batches=math.ceil(len(held_back.pairs) / batching.micro_rows),
        measure=lambda model, index: measure(model, held_back, index, batching.micro_rows, device, settings),
        summary=summarise,
        sample=tuning.answer_sampler(tokenizer, settings),
        flops_per_token=size.flops_per_token,
        out_of_memory=lambda: plan.advice(config, settings, precision, device, fit.sequences),
    )
    facts = ModelFacts(
        parameters=size.parameters,
        steps=batching.steps,
        tokens=batching.steps * step_tokens,
        batch_tokens=step_tokens,
        learning_rate=rate,
        epochs=settings.epochs,
        details={
            "method": settings.method,
            "beta": settings.beta,
            **train.facts(),
            "held_back": len(held_back.pairs),
        },
    )
    process.log(f"{len(train.pairs):,} pairs, {batching.steps:,} steps of {batching.step_rows}; {exclusions(train)}")
    return Training(
        asset=ASSET,
        objective=objective,
        network=network,
        settings=settings,
        learning_rate=rate,
        precision=precision,
        sharded=fit.sharded,
        facts=facts,
        base=base,
        blocks={"preference": settings},
        new_network=lambda: tuning.load_base(base, settings, context.seed)[0],
        final_network=lambda network: tuning.merged(network, settings),
        end=conversation.END,
    )


# -- pairs -------------------------------------------------------------------------------------------------------------


def usable_pairs(preferences: Artifact, tokenizer: Tokenizer, length: int) -> tuple[Pairs, Pairs]:
    """(training pairs, held-back pairs) of at most `length` tokens. Raises UserError if there is no training pair."""
    train, held_back = (
        encode_pairs(pl.read_parquet(preferences.table(split)), tokenizer, length) for split in ("train", "held_back")
    )
    held_back = held_back.first(HELD_BACK_PAIRS)
    if not train.pairs:
        raise UserError(
            f"{preferences.asset} has no pair to learn from ({exclusions(train)}): add pairs, or set"
            " preference.enabled to false."
        )
    return train, held_back


# -- the loss ----------------------------------------------------------------------------------------------------------


def log_probabilities(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> torch.Tensor:
    """Log-probability of each row's answer [rows], in nats: summed over its tokens, or averaged (length_normalised)."""
    import torch

    targets = batch["targets"]
    scored = targets != IGNORED
    if hasattr(network, "hidden") and not any(hasattr(p, "full_tensor") for p in network.parameters()):
        logits = network.logits(network.hidden(batch["tokens"])[scored])  # type: ignore[operator]
    else:  # sharded: weights are gathered only within a call of the whole network
        logits = network(batch["tokens"])[scored]
    logits = logits.float()
    by_token = logits.gather(1, targets[scored][:, None])[:, 0] - logits.logsumexp(-1)
    rows = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[scored]
    sums = torch.zeros(len(targets), device=targets.device).index_add(0, rows, by_token)
    return sums / scored.sum(1) if settings.length_normalised else sums


def dpo(
    network: torch.nn.Module, batch: Batch, settings: PreferenceSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Sum over pairs of -log sigmoid(beta x ((chosen - its reference) - (rejected - its reference))).

    Rafailov et al. 2023, equation 7; label smoothing as in conservative DPO (Mitchell 2023). A reward is beta times the
    gain in log-probability over the reference. Also returns sums of accuracy, margin and rewards.
    """
    import torch
    import torch.nn.functional as F

    chosen, rejected = log_probabilities(network, batch, settings).chunk(2)
    reference = batch["reference"]
    chosen_reward = settings.beta * (chosen - reference[:, 0])
    rejected_reward = settings.beta * (rejected - reference[:, 1])
    margin = chosen_reward - rejected_reward
    smooth = settings.label_smoothing
    loss = -(1 - smooth) * F.logsigmoid(margin) - smooth * F.logsigmoid(-margin)
    with torch.no_grad():
        figures = {
            "accuracy": (margin > 0).float().sum(),
            "margin": margin.sum(),
            "chosen_reward": chosen_reward.sum(),
            "rejected_reward": rejected_reward.sum(),
        }
    return loss.sum(), figures


def without_dropout(network: torch.nn.Module) -> None:
    """Turn off dropout, so that log-probabilities differ from the reference only through training."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def reference_log_probabilities(
    network: torch.nn.Module,
    pairs: list[Pair],
    at_once: int,
    precision: str,
    settings: PreferenceSettings,
    process: TrainingProcess,
) -> np.ndarray:
    """Log-probabilities of both answers of each pair under the network as it is, float32 [pairs, 2].

    Pairs of similar length share a batch, to save padding. Raises Stopped if a stop was requested.
    """
    import torch

    from pipeline.training import machine
    from pipeline.training.objectives.objective import to_device

    device, should_stop = process.device, process.context.should_stop
    scores = np.zeros((len(pairs), 2), np.float32)
    unscored = Pairs(pairs, {}, 0, scores)
    by_length = np.argsort([max(len(pair.chosen), len(pair.rejected)) for pair in pairs], kind="stable")
    network.eval()
    reported = time.monotonic()
    for start in range(0, len(pairs), at_once):
        if should_stop is not None and should_stop():
            raise Stopped("preference tuning stopped before its first step; the same command starts it again.")
        if time.monotonic() - reported > SECONDS_BETWEEN_LINES:
            reported = time.monotonic()
            process.log(f"reference log-probabilities: {start:,} of {len(pairs):,} pairs")
        numbers = by_length[start : start + at_once]
        batch = to_device(batch_of(unscored, numbers), device)
        with torch.no_grad(), machine.autocast(device, precision):
            chosen, rejected = log_probabilities(network, batch, settings).float().cpu().chunk(2)
        scores[numbers] = torch.stack([chosen, rejected], 1).numpy()
    return scores


def measure(
    network: torch.nn.Module, pairs: Pairs, index: int, at_once: int, device: str, settings: PreferenceSettings
) -> dict[str, float]:
    from pipeline.training.objectives.objective import to_device

    numbers = np.arange(index * at_once, min((index + 1) * at_once, len(pairs.pairs)))
    loss, figures = dpo(network, to_device(batch_of(pairs, numbers), device), settings)
    return {
        "loss": float(loss),
        "pairs": float(len(numbers)),
        **{name: float(value) for name, value in figures.items()},
    }


def summarise(sums: dict[str, float]) -> dict[str, float]:
    pairs = max(1.0, sums["pairs"])
    totals = {
        "validation_loss": sums["loss"],
        "validation_accuracy": sums["accuracy"],
        "validation_margin": sums["margin"],
    }
    return {name: value / pairs for name, value in totals.items()}
