"""`preference_model`: a fine-tuned model, trained to prefer the better of two answers (DPO and its relatives).

Rafailov et al. 2023: raise the log-probability of the chosen answer relative to the rejected one, both measured against
the reference model, which is the model before tuning. No reward model, no sampling. `data/pairs.py` excludes pairs that
teach nothing, `reference.py` computes what the reference model gives the pairs that the run uses, once and by the
function that training uses, and pairs of like length share a step (`data/by_length.py`).

`preference_losses.py` has the losses. All learn from pairs; KTO takes pairs apart into good and bad answers, to which
it adds answers that were rated by themselves (`data/ratings.py`, `kto.py`). SimPO and ORPO need no reference model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from model import conversation
from pipeline.context import Inputs, RunContext
from pipeline.conversations.shapes import RATED
from pipeline.errors import UserError
from pipeline.intervals import cases_for, wilson
from pipeline.store.artifact import Artifact, digest
from pipeline.training import machine, slots
from pipeline.training.data.by_length import LengthBatches, few_lengths, like_lengths
from pipeline.training.data.pairs import KEPT, REASONS, Pairs, batch_of, encode_pairs, exclusions
from pipeline.training.data.ratings import REASONS as REASONS_OF_RATINGS
from pipeline.training.data.ratings import Ratings, batch_of_ratings, encode_ratings, ratings_of_pairs
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import tuning
from pipeline.training.objectives.dpo import log_probabilities
from pipeline.training.objectives.kto import estimated, held_back_measure
from pipeline.training.objectives.preference_losses import REFERENCE_FREE, loss_of
from pipeline.training.objectives.reference import Reference
from pipeline.training.planning import budget as budgets
from pipeline.training.training_settings import PreferenceSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.model_artifact import Training, TrainingProcess
    from pipeline.training.objectives.objective import Batch, Objective
    from pipeline.training.objectives.preference_losses import Loss
    from pipeline.training.reinforcement_settings import RewardModelSettings

# 9: short rows in bf16 on a CPU attend by the plain formula. 8: logits in chunks, which rounds otherwise; compiled
# runs pad to few lengths. 7: conversations are encoded behind their role's line; pairs of like length share a step,
# the end is measured on more pairs, the reference is kept; the average of the weights warms up; on a CPU `precision:
# auto` follows a measurement. 6: facts count the tokens
VERSION = "9"
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
    if settings.method == "kto":
        slots.refuse(context, preferences, "preference.method: kto, which shows each prompt with another one's answer,")
    empty = slots.made_for(context, preferences)
    return make_on_all_ranks(
        context,
        ASSET,
        lambda process: prepare(process, base, preferences, settings, slots.read(empty)),
        code_version=VERSION,
        settings={"preference": settings.identity, "seed": context.seed},
        inputs=slots.inputs_with({base.asset: base, preferences.asset: preferences}, empty),
    )


def prepare(
    process: TrainingProcess,
    base: Artifact,
    preferences: Artifact,
    settings: PreferenceSettings,
    empty: slots.Slots | None = None,
) -> Training:
    """The network, its pairs with their reference log-probabilities and its validation, for the loop."""
    from pipeline.training.model_artifact import Training

    context, device = process.context, process.device
    network, config, tokenizer = tuning.load_base(base, settings, context.seed)
    length = tuning.row_length(base, config, settings.context)
    train, held_back = usable(preferences, tokenizer, length, settings, context.seed)
    if empty is not None:
        train, held_back = (
            pairs.leaving_empty(empty.rows.get(split, np.zeros(0, np.int64)))
            for split, pairs in (("train", train), ("held_back", held_back))
        )
    precision = process.precision(settings.precision, config)
    fit = tuning.fit(config, length, settings, precision, process)
    batching = batches_by_length(train, settings, max(1, fit.sequences // 2), context.seed, process.ranks.world)
    network.to(device)
    without_dropout(network)
    assert batching.by_length is not None
    used = batching.by_length.used(batching.steps)
    if settings.method not in REFERENCE_FREE:
        reference = Reference(
            score=scorer(network, precision, device, settings),
            batch_tokens=2 * batching.micro_rows * length,
            made_of={
                "version": VERSION, "base": base.digest, "preferences": preferences.digest, "context": length,
                "length_normalised": settings.length_normalised, "precision": precision,
                **({"others": context.seed} if isinstance(train, Ratings) else {}),
                **({"empty": digest(sorted(empty.places))} if empty else {}),
            },
        )  # fmt: skip
        reference.fill(process, "train", train, used)
        reference.fill(process, "held_back", held_back, np.arange(len(held_back.pairs)))
    size = budgets.size(config, length)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    step_tokens = round(batching.step_rows * train.tokens(used) / len(used))
    lengths = few_lengths(train.lengths[used] - 1)
    flops = size.flops_per_token * step_tokens * batching.steps
    compiled = machine.worth_compiling(settings.compile, device, flops / len(lengths))
    objective = replace(
        objective_of(process, train, held_back, batching, settings, lengths if compiled else None),
        shapes=len(lengths),
        step_tokens=step_tokens,
        sample=tuning.answer_sampler(tokenizer, settings),
        flops_per_token=size.flops_per_token,
        out_of_memory=lambda: tuning.advice(config, length, settings, precision, process, 2 * batching.micro_rows),
    )
    facts = ModelFacts(
        parameters=size.parameters,
        steps=batching.steps,
        tokens=batching.steps * step_tokens,
        batch_tokens=step_tokens,
        learning_rate=rate,
        epochs=settings.epochs,
        details={**details_of(train, len(used), settings), **tuning.inherited(base), "held_back": len(held_back.pairs)},
    )
    process.log(
        f"{len(used):,} of {len(train.pairs):,} {noun_of(train)} in {batching.steps:,} steps of {batching.step_rows};"
        f" {exclusions(train, REASONS | REASONS_OF_RATINGS)}"
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
        slots=empty,
        first_difference=lambda places: tuning.first_difference(
            places, batching, lambda: pair_of(preferences, train), settings.steps_to_validation(batching.steps)
        ),
    )


def pair_of(preferences: Artifact, train: Pairs) -> np.ndarray:
    """The number in `train` of each row of the table of pairs to train on, int64; -1 for one that is not used."""
    height = pl.scan_parquet(preferences.table("train")).select(pl.len()).collect().item()
    found = np.full(height, -1, np.int64)
    found[[pair.row for pair in train.pairs]] = np.arange(len(train.pairs))
    return found


def details_of(train: Pairs, used: int, settings: PreferenceSettings) -> dict[str, Any]:
    """The facts of preference tuning; the loss, which came later, if it is another than dpo."""
    loss = {} if settings.method == "dpo" else {"loss": settings.method}
    return {"method": settings.weights, "beta": settings.beta, f"{noun_of(train)}_used": used, **loss, **train.facts()}


def noun_of(train: Pairs) -> str:
    """What is counted: pairs, or answers that are rated by themselves."""
    return "answers" if isinstance(train, Ratings) else "pairs"


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

    loss, ranks, device = loss_of(settings), process.ranks, process.device
    common = Objective(
        name="preference tuning",
        steps=batching.steps,
        accumulation=batching.accumulation,
        step_tokens=0,
        batch=lambda step, micro: batch_of(train, batching.row_numbers(step, micro, ranks), lengths),
        units=count_of,
        loss=loss,
        summary=summarise,
    )
    if isinstance(train, Ratings) and isinstance(held_back, Ratings):
        # Each batch has an estimate of the KL, so its size is that of a step and not of a micro-batch.
        batches, within = validation_batches(held_back, settings.batch_pairs)
        return replace(
            common,
            batch=lambda step, micro: batch_of_ratings(train, batching.row_numbers(step, micro, ranks), lengths),
            enrich=estimated(process, settings),
            validation_batches=within,
            validation_batches_final=len(batches),
            measure=held_back_measure(held_back, batches, batching.micro_rows, device, settings),
        )
    batches, within = validation_batches(held_back, batching.micro_rows)
    return replace(
        common,
        validation_batches=within,
        validation_batches_final=len(batches),
        measure=lambda model, index: measure(model, held_back, batches[index], device, loss),
    )


def count_of(batch: Batch) -> float:
    """How many pairs of a batch count."""
    return float(batch[KEPT].sum()) if KEPT in batch else float(len(batch["reference"]))


def batches_by_length(
    pairs: Pairs, settings: PreferenceSettings | RewardModelSettings, at_once: int, seed: int, world: int
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


def usable(
    preferences: Artifact, tokenizer: Tokenizer, length: int, settings: PreferenceSettings, seed: int
) -> tuple[Pairs, Pairs]:
    """(what to train on, what is held back), of at most `length` tokens: pairs, or with KTO rated answers."""
    if settings.method == "kto":
        return usable_ratings(preferences, tokenizer, length, seed)
    return usable_pairs(preferences, tokenizer, length)


def usable_pairs(preferences: Artifact, tokenizer: Tokenizer, length: int) -> tuple[Pairs, Pairs]:
    """(training pairs, held-back pairs) of at most `length` tokens. Raises UserError if there is no training pair."""
    train, held_back = (
        encode_pairs(pl.read_parquet(preferences.table(split)), tokenizer, length) for split in ("train", "held_back")
    )
    if not train.pairs:
        alone = ", or use method: kto, which learns from rated answers" if rated(preferences, "train") else ""
        raise UserError(
            f"{preferences.asset} has no pair to learn from ({exclusions(train)}): add pairs{alone}, or set"
            " preference.enabled to false."
        )
    return train, held_back.first(cases_for(HALF_WIDTH_AT_THE_END))


def usable_ratings(preferences: Artifact, tokenizer: Tokenizer, length: int, seed: int) -> tuple[Ratings, Ratings]:
    """(training answers, held-back ones), rated by themselves or as one of a pair. Raises UserError if there are none.

    Answers of both kinds are needed: from good ones alone, KTO's loss learns that everything is good.
    """
    sides = []
    for split in ("train", "held_back"):
        answers = ratings_of_pairs(pl.read_parquet(preferences.table(split)))
        own = rated(preferences, split)
        sides.append(encode_ratings(pl.concat([answers, *own]).sort("id"), tokenizer, length, seed))
    train, held_back = sides
    missing = [kind for kind, known in (("good", train.desirable), ("bad", ~train.desirable)) if not known.any()]
    if missing:
        raise UserError(
            f"{preferences.asset} has no {' and no '.join(missing)} answer to learn from"
            f" ({exclusions(train, REASONS_OF_RATINGS)}): add pairs, or rated answers of both kinds."
        )
    return train, held_back.first(cases_for(HALF_WIDTH_AT_THE_END))


def rated(preferences: Artifact, split: str) -> list[pl.DataFrame]:
    """The answers (id, prompt, answer, desirable) that were rated by themselves, if there are any."""
    name = f"{RATED}_{split}"
    if f"{name}.parquet" not in preferences.manifest["files"]:
        return []
    return [pl.read_parquet(preferences.table(name)).select("id", "prompt", "answer", "desirable")]


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
    network: torch.nn.Module, pairs: Pairs, numbers: np.ndarray, device: str, loss: Loss
) -> dict[str, torch.Tensor | float]:
    from pipeline.training import transfer

    batch = batch_of(pairs, numbers)
    found, figures = loss(network, transfer.send(batch, device))
    return {"loss": found, "pairs": count_of(batch), **figures}


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
        **({"validation_kl": sums["kl"] / pairs} if "kl" in sums else {}),
    }
