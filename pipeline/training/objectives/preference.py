"""`preference_model`: a fine-tuned model, trained to prefer the better of two answers (DPO).

Rafailov et al. 2023: raise the log-probability of the chosen answer relative to the rejected one, both measured against
the reference model, which is the model before tuning. No reward model, no sampling. `data/pairs.py` excludes pairs that
teach nothing, `reference.py` computes what the reference model gives the pairs that the run uses, once and by the
function that training uses, and pairs of like length share a step (`data/by_length.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from model import conversation
from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.intervals import cases_for, wilson
from pipeline.store.artifact import Artifact
from pipeline.training import machine
from pipeline.training.data.by_length import LengthBatches, few_lengths, like_lengths
from pipeline.training.data.pairs import Pairs, batch_of, encode_pairs, exclusions
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import tuning
from pipeline.training.objectives.dpo import dpo, log_probabilities
from pipeline.training.objectives.reference import Reference
from pipeline.training.planning import budget as budgets
from pipeline.training.training_settings import PreferenceSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.model_artifact import Training, TrainingProcess
    from pipeline.training.objectives.objective import Batch, Objective

# 8: logits in chunks, which rounds otherwise; compiled runs pad to few lengths. 7: conversations are encoded behind
# their role's line; pairs of like length share a step, the end is measured on more pairs, the reference is kept; the
# average of the weights warms up; on a CPU `precision: auto` follows a measurement. 6: facts count the tokens
VERSION = "8"
ASSET = "preference_model"
RATE_SHARE = 0.01  # of the learning rate that pretraining would use (Rafailov et al. 2023: 1e-6 after about 1e-4)
# Held-back pairs are measured until the 95 % interval of the accuracy is at most this wide to either side. The end of a
# run is compared with other runs. The measurements within a run share their pairs, so that what differs between them is
# known more surely than each by itself, and ten of them must not cost as much as the training.
HALF_WIDTH_AT_THE_END = 0.03
HALF_WIDTH_WITHIN = 0.10


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

    context, device = process.context, process.device
    network, config, tokenizer = tuning.load_base(base, settings, context.seed)
    length = tuning.row_length(base, config, settings)
    train, held_back = usable_pairs(preferences, tokenizer, length)
    precision = process.precision(settings.precision, config)
    fit = tuning.fit(config, length, settings, precision, process)
    batching = batches_by_length(train, settings, max(1, fit.sequences // 2), context.seed, process.ranks.world)
    network.to(device)
    without_dropout(network)
    reference = Reference(
        score=scorer(network, precision, device, settings),
        batch_tokens=2 * batching.micro_rows * length,
        made_of={
            "version": VERSION, "base": base.digest, "preferences": preferences.digest, "context": length,
            "length_normalised": settings.length_normalised, "precision": precision,
        },
    )  # fmt: skip
    assert batching.by_length is not None
    used = batching.by_length.used(batching.steps)
    reference.fill(process, "train", train, used)
    reference.fill(process, "held_back", held_back, np.arange(len(held_back.pairs)))
    size = budgets.size(config, length)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    step_tokens = round(batching.step_rows * train.tokens(used) / len(used))
    sample = tuning.answer_sampler(tokenizer, settings)
    lengths = few_lengths(train.lengths[used] - 1)
    flops = size.flops_per_token * step_tokens * batching.steps
    compiled = machine.worth_compiling(settings.compile, device, flops / len(lengths))
    objective = replace(
        objective_of(process, train, held_back, batching, settings, lengths if compiled else None),
        shapes=len(lengths),
        step_tokens=step_tokens,
        sample=sample,
        flops_per_token=size.flops_per_token,
        out_of_memory=lambda: tuning.advice(config, length, settings, precision, process, 2 * batching.micro_rows),
    )
    details = {"method": settings.method, "beta": settings.beta, "pairs_used": len(used)}
    details |= train.facts() | tuning.inherited(base)
    facts = ModelFacts(
        parameters=size.parameters,
        steps=batching.steps,
        tokens=batching.steps * step_tokens,
        batch_tokens=step_tokens,
        learning_rate=rate,
        epochs=settings.epochs,
        details={**details, "held_back": len(held_back.pairs)},
    )
    process.log(
        f"{len(used):,} of {len(train.pairs):,} pairs in {batching.steps:,} steps of {batching.step_rows};"
        f" {exclusions(train)}"
    )
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
        write_parts=tuning.write_additions(settings, base),
        end=conversation.END,
    )


def objective_of(
    process: TrainingProcess,
    train: Pairs,
    held_back: Pairs,
    batching: tuning.Batching,
    settings: PreferenceSettings,
    lengths: np.ndarray | None = None,
) -> Objective:
    """The batches of pairs, their loss and their validation, for the loop. lengths: to pad to, if there are to be few.

    A compiled network is compiled once more for each length. Validation runs the network as it is.
    """
    from pipeline.training.objectives.objective import Objective

    batches, within = validation_batches(held_back, batching.micro_rows)
    return Objective(
        name="preference tuning",
        steps=batching.steps,
        accumulation=batching.accumulation,
        step_tokens=0,
        batch=lambda step, micro: batch_of(train, batching.row_numbers(step, micro, process.ranks), lengths),
        units=lambda batch: float(len(batch["reference"])),
        loss=lambda model, batch: dpo(model, batch, settings),
        validation_batches=within,
        validation_batches_final=len(batches),
        measure=lambda model, index: measure(model, held_back, batches[index], process.device, settings),
        summary=summarise,
    )


def batches_by_length(
    pairs: Pairs, settings: PreferenceSettings, at_once: int, seed: int, world: int
) -> tuning.Batching:
    """The steps of the run, in which pairs of like length stand together; at most `at_once` pairs in a micro-batch."""
    batching = tuning.batching(len(pairs.pairs), settings.epochs, settings.batch_pairs, at_once, seed, world)
    return replace(batching, by_length=LengthBatches(pairs.lengths, batching.step_rows, seed))


def validation_batches(held_back: Pairs, at_once: int) -> tuple[list[np.ndarray], int]:
    """(the pairs of each validation batch, how many of these batches are measured within the run).

    Held-back pairs are in the order of a hash, so the first ones are a random sample; within each of the two parts,
    pairs of like length share a batch.
    """
    lengths = held_back.lengths
    early = min(cases_for(HALF_WIDTH_WITHIN), len(lengths))
    head = like_lengths(lengths[:early], at_once)
    return [*head, *(early + batch for batch in like_lengths(lengths[early:], at_once))], len(head)


# -- pairs -------------------------------------------------------------------------------------------------------------


def usable_pairs(preferences: Artifact, tokenizer: Tokenizer, length: int) -> tuple[Pairs, Pairs]:
    """(training pairs, held-back pairs) of at most `length` tokens. Raises UserError if there is no training pair."""
    train, held_back = (
        encode_pairs(pl.read_parquet(preferences.table(split)), tokenizer, length) for split in ("train", "held_back")
    )
    if not train.pairs:
        raise UserError(
            f"{preferences.asset} has no pair to learn from ({exclusions(train)}): add pairs, or set"
            " preference.enabled to false."
        )
    return train, held_back.first(cases_for(HALF_WIDTH_AT_THE_END))


# -- measuring ---------------------------------------------------------------------------------------------------------


def without_dropout(network: torch.nn.Module) -> None:
    """Turn off dropout, so that log-probabilities differ from the reference only through training."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def scorer(
    network: torch.nn.Module, precision: str, device: str, settings: PreferenceSettings
) -> Callable[[Batch], torch.Tensor]:
    """Scores a batch as the network is now: what training computes, without its gradients."""
    network.eval()

    def score(batch: Batch) -> torch.Tensor:
        with machine.autocast(device, precision):
            return log_probabilities(network, batch, settings)

    return score


def measure(
    network: torch.nn.Module, pairs: Pairs, numbers: np.ndarray, device: str, settings: PreferenceSettings
) -> dict[str, torch.Tensor | float]:
    from pipeline.training import transfer

    loss, figures = dpo(network, transfer.send(batch_of(pairs, numbers), device), settings)
    return {"loss": loss, "pairs": float(len(numbers)), **figures}


def summarise(sums: dict[str, float]) -> dict[str, float]:
    """Means over the pairs, and the 95 % interval of the accuracy."""
    pairs = max(1.0, sums["pairs"])
    accuracy = sums["accuracy"] / pairs
    low, high = wilson(accuracy, int(sums["pairs"]))
    return {
        "validation_loss": sums["loss"] / pairs,
        "validation_accuracy": accuracy,
        "validation_accuracy_low": low,
        "validation_accuracy_high": high,
        "validation_margin": sums["margin"] / pairs,
        "validation_pairs": sums["pairs"],
    }
