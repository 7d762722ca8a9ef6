"""`sft_model`: a pretrained network, fine-tuned on conversations to answer.

Specific to fine-tuning: rows of packed conversations in ChatML, and a loss on the assistant's tokens only. The loop
does the rest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from model import conversation
from pipeline.context import Inputs, RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.training import slots
from pipeline.training.data.packing import Packed, pack
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import pretraining, tuning
from pipeline.training.planning import budget as budgets
from pipeline.training.training_settings import SftSettings

if TYPE_CHECKING:
    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.model_artifact import Training, TrainingProcess
    from pipeline.training.objectives.objective import Batch

# 8: short rows in bf16 on a CPU attend by the plain formula. 7: conversations are encoded behind their role's line;
# the average of the weights warms up; on a CPU `precision: auto` follows a measurement; low-rank additions are kept
# beside the merged weights. 6: facts count the tokens of all epochs
VERSION = "8"
ASSET = "sft_model"
# Share of the learning rate that pretraining would use (Tülu 3: 5e-6 after 3e-4 for 8 B; smaller models need more).
RATE_SHARE = 0.1
HELD_BACK_ROWS = 256  # at most this many rows of held-back conversations: enough for a stable mean


def make(context: RunContext, inputs: Inputs, settings: SftSettings) -> Artifact:
    """Fine-tune a network on conversations (train.parquet, held_back.parquet with a column `messages`).

    inputs: base, instruction_data. Raises UserError if no conversation is usable, `Stopped` if a stop was requested.
    """
    from pipeline.training.model_artifact import make_on_all_ranks

    base, instructions = inputs["base"], inputs["instruction_data"]
    empty = slots.made_for(context, instructions)
    return make_on_all_ranks(
        context,
        ASSET,
        lambda process: prepare(process, base, instructions, settings, slots.read(empty)),
        code_version=VERSION,
        settings={"sft": settings.identity, "seed": context.seed},
        inputs=slots.inputs_with({base.asset: base, instructions.asset: instructions}, empty),
    )


def prepare(
    process: TrainingProcess,
    base: Artifact,
    instructions: Artifact,
    settings: SftSettings,
    empty: slots.Slots | None = None,
) -> Training:
    """The network, its batches of packed conversations and its validation, for the loop."""
    from pipeline.training.model_artifact import Training
    from pipeline.training.objectives.objective import Objective

    ranks, seed = process.ranks, process.context.seed
    network, config, tokenizer = tuning.load_base(base, settings, seed)
    length = tuning.row_length(base, config, settings.context)
    packed, held_back = usable_rows(instructions, tokenizer, length, empty)
    precision = process.precision(settings.precision, config)
    fit = tuning.fit(config, length, settings, precision, process)
    batching = tuning.batching(
        len(packed.tokens), settings.epochs, settings.batch_tokens // length, fit.sequences, seed, ranks.world
    )
    size = budgets.size(config, length)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    measured = HeldBackLoss(held_back, batching.micro_rows)
    objective = Objective(
        name="fine-tuning",
        steps=batching.steps,
        accumulation=batching.accumulation,
        step_tokens=batching.step_rows * length,
        batch=lambda step, micro: rows_of(packed, batching.row_numbers(step, micro, ranks)),
        units=pretraining.target_count,
        loss=pretraining.loss_of(settings),
        validation_batches=measured.batches,
        measure=measured.measure,
        summary=measured.summary,
        sample=tuning.answer_sampler(tokenizer, settings),
        flops_per_token=size.flops_per_token,
        out_of_memory=lambda: tuning.advice(config, length, settings, precision, process, batching.micro_rows),
    )
    facts = ModelFacts(
        parameters=size.parameters,
        steps=batching.steps,
        tokens=batching.steps * batching.step_rows * length,
        batch_tokens=batching.step_rows * length,
        learning_rate=rate,
        epochs=settings.epochs,
        details={
            "method": settings.weights,
            **facts_of(packed),
            **tuning.inherited(base),
            "held_back": held_back.counts["conversations"],
        },
    )
    process.log(
        f"{packed.counts['conversations']:,} conversations in {len(packed.tokens):,} rows of {length}"
        f" ({packed.filled:.0%} filled), {batching.steps:,} steps of {batching.step_rows} rows;"
        f" {packed.counts['cut_at_the_end']} truncated, {packed.counts['nothing_to_learn']} without an answer skipped"
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
        blocks={"sft": settings},
        new_network=lambda: tuning.load_base(base, settings, seed)[0],
        final_network=lambda network: tuning.merged(network, settings),
        write_parts=tuning.write_additions(settings, base),
        end=conversation.END,
        slots=empty,
        first_difference=lambda places: tuning.first_difference(
            places,
            batching,
            lambda: packed_rows(instructions, tokenizer, length)[0],
            settings.steps_to_validation(batching.steps),
        ),
    )


def usable_rows(
    instructions: Artifact, tokenizer: Tokenizer, length: int, empty: slots.Slots | None = None
) -> tuple[Packed, Packed]:
    """(training rows, held-back rows) of `length` tokens; slots that are `empty` keep their place.

    Raises UserError if there is no training row.
    """
    packed, held_back = (
        packed_conversations(instructions, split, tokenizer, length, empty) for split in ("train", "held_back")
    )
    if not len(packed.tokens):
        raise UserError(
            f"{instructions.asset} has no conversation with an answer that fits into {length} tokens: add some, or"
            " raise model.context."
        )
    return packed, held_back


def packed_conversations(
    instructions: Artifact, split: str, tokenizer: Tokenizer, context: int, empty: slots.Slots | None = None
) -> Packed:
    messages = pl.read_parquet(instructions.table(split), columns=["messages"])["messages"].to_list()
    numbers = frozenset(empty.rows.get(split, np.zeros(0, np.int64)).tolist()) if empty else frozenset()
    return pack(tokenizer.encode_chats(messages), context, tokenizer.ids["<pad>"], numbers)


def packed_rows(data: Artifact, tokenizer: Tokenizer, length: int) -> tuple[np.ndarray, int]:
    """The row that each conversation to train on is packed into, int64, -1 for none; and how many rows there are.

    Packed are the numbers of the conversations in place of their tokens.
    """
    messages = pl.read_parquet(data.table("train"), columns=["messages"])["messages"].to_list()
    numbered = [
        (np.full(len(ids), number, np.int64), learned)
        for number, (ids, learned) in enumerate(tokenizer.encode_chats(messages))
    ]
    packed = pack(numbered, length, pad=-1)
    row_of = np.full(len(messages), -1, np.int64)
    row, at = np.nonzero(packed.tokens >= 0)
    row_of[packed.tokens[row, at]] = row
    return row_of, len(packed.tokens)


def facts_of(packed: Packed) -> dict[str, Any]:
    counts = dict(packed.counts)
    return {"filled": round(packed.filled, 4), "tokens_of_a_pass": counts.pop("tokens"), **counts}


def rows_of(packed: Packed, numbers: np.ndarray) -> Batch:
    import torch

    return {
        "tokens": torch.from_numpy(packed.tokens[numbers]),
        "targets": torch.from_numpy(packed.targets[numbers]),
        "documents": torch.from_numpy(packed.documents[numbers]),
        "positions": None,
    }


class HeldBackLoss:
    """The loss on held-back conversations."""

    def __init__(self, packed: Packed, rows: int):
        self._packed = packed
        self._rows = rows
        # Rows are packed starting with the longest conversations, so the first ones are no random sample.
        self._sampled = np.sort(np.random.default_rng(0).permutation(len(packed.tokens))[:HELD_BACK_ROWS])
        self.batches = math.ceil(len(self._sampled) / rows)

    def measure(self, network: torch.nn.Module, index: int) -> dict[str, torch.Tensor | float]:
        from pipeline.training import transfer

        numbers = self._sampled[index * self._rows : (index + 1) * self._rows]
        batch = transfer.send(rows_of(self._packed, numbers), str(next(network.parameters()).device))
        nats, count = network(batch["tokens"], batch["targets"], documents=batch["documents"])
        return {"nats": nats, "targets": count}

    @staticmethod
    def summary(sums: dict[str, float]) -> dict[str, float]:
        loss = sums["nats"] / max(1.0, sums["targets"])
        return {"validation_loss": loss, "perplexity": math.exp(min(loss, 50.0))}
