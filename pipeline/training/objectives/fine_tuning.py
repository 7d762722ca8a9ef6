"""`sft_model`: from a pretrained network and conversations to one that answers.

Particular to fine-tuning: rows of packed conversations in ChatML, and a loss on the assistant's words only. The rest is
the loop's.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.tokens import chat
from pipeline.training.data.packing import Packed, pack
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import pretraining, tuning
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import plan
from pipeline.training.training_settings import SftSettings

if TYPE_CHECKING:
    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.model_artifact import Making, Training
    from pipeline.training.objectives.objective import Batch

VERSION = "6"  # 6: facts count the tokens of all epochs
ASSET = "sft_model"
# Of the rate that the network's pretraining would use (Tülu 3: 5e-6 after 3e-4 for 8 B; GPT-2-sized models take more).
RATE_SHARE = 0.1
HELD_BACK_ROWS = 256  # of the held-back conversations, at most: enough for a stable mean


def make(context: RunContext, inputs: Inputs, settings: SftSettings) -> Artifact:
    """Fine-tune a network on conversations (train.parquet, held_back.parquet with a column `messages`).

    inputs: base, instruction_data. Raises UserError where no conversation can be learned from, `loop.Stopped` where it
    was asked to stop.
    """
    from pipeline.training.model_artifact import made_by_all

    base, instructions = inputs["base"], inputs["instruction_data"]
    return made_by_all(
        context,
        ASSET,
        lambda making: prepared(making, base, instructions, settings),
        code_version=VERSION,
        settings={"sft": settings.identity, "seed": context.seed},
        inputs={base.asset: base, instructions.asset: instructions},
    )


def prepared(making: Making, base: Artifact, instructions: Artifact, settings: SftSettings) -> Training:
    """The network, its rows of conversations and its measurements, as the loop takes them."""
    from pipeline.training.model_artifact import Training
    from pipeline.training.objectives.objective import Objective

    ranks, device, seed = making.ranks, making.device, making.context.seed
    network, config, tokenizer = tuning.start(base, settings, seed)
    length = min(settings.context or config.context, config.context)
    packed = packed_conversations(instructions, "train", tokenizer, length)
    held_back = packed_conversations(instructions, "held_back", tokenizer, length)
    if not len(packed.tokens):
        raise UserError(
            f"{instructions.asset} holds no conversation with an answer that fits into {length} tokens: add some, or"
            " raise model.context."
        )
    precision = tuning.precision_of(config, settings, device)
    fit = tuning.fit(config, length, settings, precision, device, ranks.world)
    course = tuning.course(
        len(packed.tokens), settings.epochs, settings.batch_tokens // length, fit.sequences, seed, ranks.world
    )
    size = budgets.size(config, length)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    measured = HeldBack(held_back, course.each)
    objective = Objective(
        name="fine-tuning",
        steps=course.steps,
        accumulation=course.accumulation,
        step_tokens=course.in_step * length,
        batch=lambda step, micro: rows_of(packed, course.places(step, micro, ranks)),
        units=pretraining.targets_in,
        loss=pretraining.loss_of(settings),
        validation_batches=measured.batches,
        measure=measured.measure,
        summary=measured.summary,
        sample=tuning.asker(tokenizer, settings),
        flops_per_token=size.flops_per_token,
        out_of_memory=lambda: plan.advice(config, settings, precision, device, course.each),
    )
    counts = dict(packed.counts)
    facts = ModelFacts(
        parameters=size.parameters,
        steps=course.steps,
        tokens=course.steps * course.in_step * length,
        batch_tokens=course.in_step * length,
        learning_rate=rate,
        epochs=settings.epochs,
        details={
            "method": settings.method,
            "filled": round(packed.filled, 4),
            "tokens_of_a_pass": counts.pop("tokens"),
            **counts,
            "held_back": held_back.counts["conversations"],
        },
    )
    making.log(
        f"{packed.counts['conversations']:,} conversations in {len(packed.tokens):,} rows of {length}"
        f" ({packed.filled:.0%} filled), {course.steps:,} steps of {course.in_step} rows;"
        f" {packed.counts['cut_at_the_end']} cut, {packed.counts['nothing_to_learn']} without an answer left out"
    )
    return Training(
        asset=ASSET,
        objective=objective,
        network=network,
        settings=settings,
        learning_rate=rate,
        sharded=fit.sharded,
        facts=facts,
        base=base,
        blocks={"sft": settings},
        fresh=lambda: tuning.start(base, settings, seed)[0],
        finished=lambda network: tuning.merged(network, settings),
        end=chat.END,
    )


def packed_conversations(instructions: Artifact, split: str, tokenizer: Tokenizer, context: int) -> Packed:
    messages = pl.read_parquet(instructions.table(split), columns=["messages"])["messages"].to_list()
    return pack(tokenizer.encode_chats(messages), context, tokenizer.ids["<pad>"])


def rows_of(packed: Packed, places: Any) -> Batch:
    import torch

    return {
        "tokens": torch.from_numpy(packed.tokens[places]),
        "targets": torch.from_numpy(packed.targets[places]),
        "documents": torch.from_numpy(packed.documents[places]),
        "positions": None,
    }


class HeldBack:
    """Loss on conversations that are not trained on."""

    def __init__(self, packed: Packed, rows: int):
        self._packed = packed
        self._rows = rows
        # Rows are packed from the longest conversations on, so a part of them has to be drawn.
        self._chosen = np.sort(np.random.default_rng(0).permutation(len(packed.tokens))[:HELD_BACK_ROWS])
        self.batches = math.ceil(len(self._chosen) / rows)

    def measure(self, network: torch.nn.Module, index: int) -> dict[str, float]:
        from pipeline.training.objectives.objective import to_device

        places = self._chosen[index * self._rows : (index + 1) * self._rows]
        batch = to_device(rows_of(self._packed, places), str(next(network.parameters()).device))
        nats, count = network(batch["tokens"], batch["targets"], documents=batch["documents"])
        return {"nats": float(nats), "targets": float(count)}

    @staticmethod
    def summary(sums: dict[str, float]) -> dict[str, float]:
        loss = sums["nats"] / max(1.0, sums["targets"])
        return {"validation_loss": loss, "perplexity": math.exp(min(loss, 50.0))}
