"""`preference_model`: from a model that answers to one that prefers the better of two answers (DPO).

Rafailov et al. 2023: raise the log-probability of the chosen answer against that of the rejected one, both measured
against where the model started. No reward model, no sampling. What goes wrong in silence elsewhere is checked here
before the first step: pairs of equal answers, prompts whose tokens differ between the two, prompts that are counted
as answers. Log-probabilities of the start are computed once, with the very code that computes them in training.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from model.config import IGNORED
from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.tokens import chat
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import tuning
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import plan
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import PreferenceSettings

if TYPE_CHECKING:
    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.model_artifact import Making, Training
    from pipeline.training.objectives.objective import Batch

VERSION = "6"  # 6: facts count the tokens
ASSET = "preference_model"
RATE_SHARE = 0.01  # of the rate that pretraining would use (Rafailov et al. 2023: 1e-6 after some 1e-4)
HELD_BACK_PAIRS = 512
SECONDS_BETWEEN_LINES = 10.0
ROUND_TO = 32  # lengths of batches, so that few shapes occur

REASONS = {
    "same_answer": "chosen and rejected are the same",
    "same_tokens": "chosen and rejected are the same tokens once they are cut to the context",
    "prompt_differs": "the prompt's tokens are not the same before both answers",
}


@dataclass(frozen=True)
class Pair:
    """Both answers after the same prompt, ids and where the answer starts."""

    chosen: np.ndarray
    rejected: np.ndarray
    start: int


@dataclass
class Pairs:
    """Pairs to learn from, and what became of the others."""

    pairs: list[Pair]
    left_out: dict[str, int]
    cut: int
    reference: np.ndarray  # float32 [pairs, 2]: log-probability of (chosen, rejected) at the start


def make(context: RunContext, inputs: Inputs, settings: PreferenceSettings) -> Artifact:
    """Tune a model on preferences (train.parquet, held_back.parquet with prompt, chosen, rejected).

    inputs: base, preference_data. Raises UserError where no pair is left, `loop.Stopped` where it was asked to stop.
    """
    from pipeline.training.model_artifact import made_by_all

    base, preferences = inputs["base"], inputs["preference_data"]
    return made_by_all(
        context,
        ASSET,
        lambda making: prepared(making, base, preferences, settings),
        code_version=VERSION,
        settings={"preference": settings.identity, "seed": context.seed},
        inputs={base.asset: base, preferences.asset: preferences},
    )


def prepared(making: Making, base: Artifact, preferences: Artifact, settings: PreferenceSettings) -> Training:
    """The network, its pairs with what the start gives them, and its measurements, as the loop takes them."""
    from pipeline.training.model_artifact import Training
    from pipeline.training.objectives.objective import Objective

    context, ranks, device = making.context, making.ranks, making.device
    network, config, tokenizer = tuning.start(base, settings, context.seed)
    length = min(settings.context or config.context, config.context)
    train, held_back = (
        encoded(pl.read_parquet(preferences.table(split)), tokenizer, length) for split in ("train", "held_back")
    )
    held_back.pairs = held_back.pairs[:HELD_BACK_PAIRS]
    if not train.pairs:
        raise UserError(
            f"{preferences.asset} holds no pair to learn from ({left_out_of(train)}): add pairs, or set"
            " preference.enabled to false."
        )
    precision = tuning.precision_of(config, settings, device)
    fit = tuning.fit(config, length, settings, precision, device, ranks.world)
    pairs_at_once = max(1, fit.sequences // 2)
    course = tuning.course(
        len(train.pairs), settings.epochs, settings.batch_pairs, pairs_at_once, context.seed, ranks.world
    )
    network.to(device)
    without_dropout(network)
    for part in (train, held_back):
        part.reference = reference(network, part.pairs, course.each, precision, settings, making)
    size = budgets.size(config, length)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    lengths = [len(pair.chosen) + len(pair.rejected) for pair in train.pairs]
    step_tokens = round(course.in_step * sum(lengths) / len(lengths))
    objective = Objective(
        name="preference tuning",
        steps=course.steps,
        accumulation=course.accumulation,
        step_tokens=step_tokens,
        batch=lambda step, micro: batch_of(train, course.places(step, micro, ranks)),
        units=lambda batch: float(len(batch["reference"])),
        loss=lambda model, batch: dpo(model, batch, settings),
        validation_batches=math.ceil(len(held_back.pairs) / course.each),
        measure=lambda model, index: measured(model, held_back, index, course.each, device, settings),
        summary=summary,
        sample=tuning.asker(tokenizer, settings),
        flops_per_token=size.flops_per_token,
        out_of_memory=lambda: plan.advice(config, settings, precision, device, fit.sequences),
    )
    facts = ModelFacts(
        parameters=size.parameters,
        steps=course.steps,
        tokens=course.steps * step_tokens,
        batch_tokens=step_tokens,
        learning_rate=rate,
        epochs=settings.epochs,
        details={
            "method": settings.method,
            "beta": settings.beta,
            "pairs": len(train.pairs),
            "left_out": train.left_out,
            "cut": train.cut,
            "held_back": len(held_back.pairs),
        },
    )
    making.log(f"{len(train.pairs):,} pairs, {course.steps:,} steps of {course.in_step}; {left_out_of(train)}")
    return Training(
        asset=ASSET,
        objective=objective,
        network=network,
        settings=settings,
        learning_rate=rate,
        sharded=fit.sharded,
        facts=facts,
        base=base,
        blocks={"preference": settings},
        fresh=lambda: tuning.start(base, settings, context.seed)[0],
        finished=lambda network: tuning.merged(network, settings),
        end=chat.END,
    )


# -- pairs -------------------------------------------------------------------------------------------------------------


def encoded(rows: pl.DataFrame, tokenizer: Tokenizer, context: int) -> Pairs:
    """Token ids of every usable pair. A pair that teaches nothing is counted under its reason, not trained on."""
    prompts, chosen, rejected = (rows[name].to_list() for name in ("prompt", "chosen", "rejected"))
    heads = tokenizer.encode_chats(prompts, answer_next=True)
    answers = [
        tokenizer.encode_chats(
            [[*prompt, {"role": "assistant", "content": text}] for prompt, text in zip(prompts, texts)]
        )
        for texts in (chosen, rejected)
    ]
    pairs, cut = [], 0
    left_out = dict.fromkeys(REASONS, 0)
    for number, (head, _) in enumerate(heads):
        # To the <|im_end|>: the line break after it is not learned in fine-tuning, either.
        good, bad = (
            ids[: np.flatnonzero(learned)[-1] + 1] for ids, learned in (answers[0][number], answers[1][number])
        )
        start = len(head)
        if chosen[number].strip() == rejected[number].strip():
            left_out["same_answer"] += 1
            continue
        if not (np.array_equal(good[:start], head) and np.array_equal(bad[:start], head)):
            left_out["prompt_differs"] += 1
            continue
        # What is too long loses the start of its prompt, for both answers alike, but at most half of the context;
        # then the end of the answer.
        over = max(len(good), len(bad)) - context
        if over > 0:
            cut += 1
            drop = min(over, max(0, start - context // 2))
            good, bad, start = good[drop:][:context], bad[drop:][:context], start - drop
            if start >= context or np.array_equal(good, bad):
                left_out["same_tokens"] += 1
                continue
        pairs.append(Pair(good, bad, start))
    return Pairs(pairs, left_out, cut, np.zeros((len(pairs), 2), np.float32))


def left_out_of(pairs: Pairs) -> str:
    reasons = [f"{count} left out because {REASONS[reason]}" for reason, count in pairs.left_out.items() if count]
    return ", ".join([*reasons, f"{pairs.cut} cut to the context"])


def batch_of(pairs: Pairs, places: Any) -> Batch:
    """Chosen answers first, then the rejected ones; targets on the answers alone."""
    import torch

    chosen = [pairs.pairs[place] for place in places]
    rows = [(pair.chosen, pair.start) for pair in chosen] + [(pair.rejected, pair.start) for pair in chosen]
    longest = max(len(ids) for ids, _ in rows) - 1
    length = math.ceil(longest / ROUND_TO) * ROUND_TO
    tokens = np.zeros((len(rows), length), np.int64)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    for row, (ids, start) in enumerate(rows):
        tokens[row, : len(ids) - 1] = ids[:-1]
        targets[row, start - 1 : len(ids) - 1] = ids[start:]
    return {
        "tokens": torch.from_numpy(tokens),
        "targets": torch.from_numpy(targets),
        "reference": torch.from_numpy(pairs.reference[places]),
    }


# -- the loss ----------------------------------------------------------------------------------------------------------


def log_probabilities(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> torch.Tensor:
    """Log-probability of each row's answer [rows], in nats: the sum over its tokens, or their mean if so set."""
    import torch

    targets = batch["targets"]
    wanted = targets != IGNORED
    if hasattr(network, "hidden") and not any(hasattr(p, "full_tensor") for p in network.parameters()):
        logits = network.logits(network.hidden(batch["tokens"])[wanted])  # type: ignore[operator]
    else:  # sharded: weights are gathered for the whole call alone
        logits = network(batch["tokens"])[wanted]
    logits = logits.float()
    each = logits.gather(1, targets[wanted][:, None])[:, 0] - logits.logsumexp(-1)
    rows = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[wanted]
    sums = torch.zeros(len(targets), device=targets.device).index_add(0, rows, each)
    return sums / wanted.sum(1) if settings.length_normalised else sums


def dpo(
    network: torch.nn.Module, batch: Batch, settings: PreferenceSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Sum over pairs of -log sigmoid(beta x ((chosen - its reference) - (rejected - its reference))).

    Rafailov et al. 2023, equation 7; label smoothing as in conservative DPO (Mitchell 2023). Rewards are beta times
    what an answer gained against the start.
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
    """What is compared with the start must not differ from it by chance."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def reference(
    network: torch.nn.Module,
    pairs: list[Pair],
    at_once: int,
    precision: str,
    settings: PreferenceSettings,
    making: Making,
) -> np.ndarray:
    """Log-probabilities of both answers of each pair under the network as it is, float32 [pairs, 2].

    Pairs of like length are computed together, so that little of a batch is filling. Raises Stopped where it was asked
    to stop.
    """
    import torch

    from pipeline.training import machine
    from pipeline.training.objectives.objective import to_device

    device, should_stop = making.device, making.context.should_stop
    found = np.zeros((len(pairs), 2), np.float32)
    unknown = Pairs(pairs, {}, 0, found)
    by_length = np.argsort([max(len(pair.chosen), len(pair.rejected)) for pair in pairs], kind="stable")
    network.eval()
    reported = time.monotonic()
    for start in range(0, len(pairs), at_once):
        if should_stop is not None and should_stop():
            raise Stopped("preference tuning stopped before its first step; the same command starts it again.")
        if time.monotonic() - reported > SECONDS_BETWEEN_LINES:
            reported = time.monotonic()
            making.log(f"what the model gives the answers before it is tuned: {start:,} of {len(pairs):,} pairs")
        places = by_length[start : start + at_once]
        batch = to_device(batch_of(unknown, places), device)
        with torch.no_grad(), machine.autocast(device, precision):
            chosen, rejected = log_probabilities(network, batch, settings).float().cpu().chunk(2)
        found[places] = torch.stack([chosen, rejected], 1).numpy()
    return found


def measured(
    network: torch.nn.Module, pairs: Pairs, index: int, at_once: int, device: str, settings: PreferenceSettings
) -> dict[str, float]:
    from pipeline.training.objectives.objective import to_device

    places = np.arange(index * at_once, min((index + 1) * at_once, len(pairs.pairs)))
    loss, figures = dpo(network, to_device(batch_of(pairs, places), device), settings)
    return {"loss": float(loss), "pairs": float(len(places)), **{name: float(value) for name, value in figures.items()}}


def summary(sums: dict[str, float]) -> dict[str, float]:
    pairs = max(1.0, sums["pairs"])
    named = {
        "validation_loss": sums["loss"],
        "validation_accuracy": sums["accuracy"],
        "validation_margin": sums["margin"],
    }
    return {name: value / pairs for name, value in named.items()}
