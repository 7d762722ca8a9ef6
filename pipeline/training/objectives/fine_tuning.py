"""`sft_model`: from a pretrained network and conversations to one that answers.

Particular to fine-tuning: rows of packed conversations in ChatML, and a loss on the assistant's words only. The rest is
the loop's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.tokens import chat
from pipeline.training.data.packing import Packed, pack
from pipeline.training.objectives import tuning
from pipeline.training.planning import budget as budgets
from pipeline.training.training_settings import SftSettings

if TYPE_CHECKING:
    import torch

    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.distributed import Ranks
    from pipeline.training.objectives.objective import Batch

VERSION = "5"
ASSET = "sft_model"
# Of the rate that the network's pretraining would use (Tülu 3: 5e-6 after 3e-4 for 8 B; GPT-2-sized models take more).
RATE_SHARE = 0.1
HELD_BACK_ROWS = 256  # of the held-back conversations, at most: enough for a stable mean


def make(
    store: Store,
    base: Artifact,
    instructions: Artifact,
    settings: SftSettings,
    seed: int,
    device: str,
    log: Callable[[str], None] = print,
    progress: Callable[[dict[str, Any]], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Artifact:
    """Fine-tune `base` on `instructions` (train.parquet, held_back.parquet with a column `messages`).

    Raises UserError where no conversation can be learned from, `loop.Stopped` where it was asked to stop.
    """
    from pipeline.training.model_artifact import made_by_all

    def train(draft: Draft, ranks: Ranks, own: str) -> None:
        _train(draft, ranks, own, store, base, instructions, settings, seed, log, progress, should_stop)

    return made_by_all(
        store,
        ASSET,
        device,
        train,
        log,
        code_version=VERSION,
        settings={"sft": settings.identity, "seed": seed},
        inputs={base.asset: base, instructions.asset: instructions},
    )


def _train(
    draft: Draft, ranks: Ranks, device: str, store: Store, base: Artifact, instructions: Artifact,
    settings: SftSettings, seed: int, log: Callable[[str], None], progress: Callable[[dict[str, Any]], None] | None,
    should_stop: Callable[[], bool] | None,
) -> None:  # fmt: skip
    from pipeline.training import loop
    from pipeline.training import model_artifact as artifact
    from pipeline.training.objectives import pretraining
    from pipeline.training.objectives.objective import Objective
    from pipeline.training.planning import plan

    network, config, speaker = tuning.start(base, settings, seed)
    context = min(settings.context or config.context, config.context)
    packed = packed_conversations(instructions, "train", speaker, context)
    held_back = packed_conversations(instructions, "held_back", speaker, context)
    if not len(packed.tokens):
        raise UserError(
            f"{instructions.asset} holds no conversation with an answer that fits into {context} tokens: add some, or"
            " raise model.context."
        )
    precision = tuning.precision_of(config, settings, device)
    fit = tuning.together(config, context, settings, precision, device, ranks.world)
    course = tuning.course(
        len(packed.tokens), settings.epochs, settings.batch_tokens // context, fit.sequences, seed, ranks.world
    )
    sized = budgets.size(config, context)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    measured = HeldBack(held_back, course.each)
    ask = tuning.asker(speaker, settings)
    objective = Objective(
        name="fine-tuning",
        steps=course.steps,
        accumulation=course.accumulation,
        step_tokens=course.in_step * context,
        batch=lambda step, micro: rows_of(packed, course.places(step, micro, ranks)),
        units=pretraining.targets_in,
        loss=pretraining.loss_of(settings),
        validation_batches=measured.batches,
        measure=measured.measure,
        summary=measured.summary,
        sample=ask,
        flops_per_token=sized.flops_per_token,
        out_of_memory=lambda: plan.advice(config, settings, precision, device, course.each),
    )
    facts = {
        "parameters": sized.parameters, "steps": course.steps, "epochs": settings.epochs, "method": settings.method,
        "batch_tokens": course.in_step * context, "learning_rate": float(f"{rate:.6g}"),
        "filled": round(packed.filled, 4),
        **packed.counts, "held_back": held_back.counts["conversations"],
    }  # fmt: skip
    if ranks.first:
        log(
            f"{packed.counts['conversations']:,} conversations in {len(packed.tokens):,} rows of {context}"
            f" ({packed.filled:.0%} filled), {course.steps:,} steps of {course.in_step} rows;"
            f" {packed.counts['cut_at_the_end']} cut, {packed.counts['nothing_to_learn']} without an answer left out"
        )
    with artifact.followed(ranks, store, ASSET, draft, {"sft": settings}, facts) as tracked:
        trained = loop.train(
            objective, network, settings, learning_rate=rate, seed=seed, device=device,
            directory=draft.directory / artifact.CHECKPOINTS, ranks=ranks, sharded=fit.sharded, run=tracked,
            log=log if ranks.first else lambda line: None, progress=progress, should_stop=should_stop,
        )  # fmt: skip
        whole = tuning.end(artifact.whole_network(network, lambda: tuning.start(base, settings, seed)[0]), settings)
        if ranks.first:
            artifact.finish(draft, whole, base, trained, facts, ask(whole), tracked, end=chat.END)


def packed_conversations(instructions: Artifact, split: str, speaker: Tokenizer, context: int) -> Packed:
    messages = pl.read_parquet(instructions.table(split), columns=["messages"])["messages"].to_list()
    return pack(speaker.encode_chats(messages), context, speaker.ids["<pad>"])


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
