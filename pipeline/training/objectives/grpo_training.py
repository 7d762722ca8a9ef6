"""Reinforcement on the loop: the network, its prompts and judges, and what is measured and told.

The batch of a step is the numbers of its prompts. Before the step, the network writes the answers to them
(`Objective.enrich`), which follow from (weights, seed, step) alone, so a run that was stopped within a step repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from model import conversation, export
from pipeline.context import Inputs
from pipeline.errors import UserError
from pipeline.intervals import wilson
from pipeline.store.artifact import Artifact
from pipeline.training.model_artifact import Training, TrainingProcess
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import tuning
from pipeline.training.objectives.grpo_run import Run
from pipeline.training.objectives.objective import Objective
from pipeline.training.objectives.ppo_training import PpoRun
from pipeline.training.objectives.preference import without_dropout
from pipeline.training.objectives.rollouts import Writer, asked, encoded, judge_of, room_for
from pipeline.training.planning import budget as budgets
from pipeline.training.reinforcement_settings import ReinforcementSettings

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer

ASSET = "reinforcement_model"
RATE_SHARE = 0.01  # of the learning rate that pretraining would use (Shao et al. 2024: 1e-6 after 4.2e-4)
MEASURED_AT_ONCE = 64  # held-back prompts in a validation batch
MEASURED = 256  # held-back prompts that are asked at the end, and at the start; within the run, one batch of them


def prepare(process: TrainingProcess, inputs: Inputs, settings: ReinforcementSettings) -> Training:
    """The network, its prompts, and how its answers are judged, for the loop."""
    context, device, base = process.context, process.device, inputs["base"]
    network, config, tokenizer = tuning.load_base(base, settings, context.seed)
    length = tuning.row_length(base, config, settings.context)
    writers = writers_of(process, inputs, settings, tokenizer, length)
    train, held_back = writers
    precision = process.precision(settings.precision, config)
    fit = tuning.fit(config, length, settings, precision, process)
    if fit.sharded:
        raise UserError("the network fits on no single device, and answers cannot be written by shards of it.")
    without_dropout(network)
    network.to(device)
    reference = started_from(base, settings, context.seed).to(device) if settings.beta else None
    prompts = max(1, settings.batch_prompts // process.ranks.world)  # on each rank
    run = run_of(settings)(process, settings, train, reference, prompts, fit.sequences)
    measured = HeldBack(held_back)
    rate = tuning.learning_rate(config, settings, RATE_SHARE)
    objective = objective_of(run, measured, tokenizer, budgets.size(config, length), length)
    objective = replace(
        objective,
        out_of_memory=lambda: tuning.advice(config, length, settings, precision, process, fit.sequences),
    )
    rounds = settings.steps // run.together
    details = {
        "weights": settings.weights, "algorithm": settings.method, "beta": settings.beta, "max_new": train.max_new,
        "prompts": len(train.prompts.ids), "prompts_too_long": train.prompts.too_long,
        "held_back": len(held_back.prompts.ids), **measured.at_the_start(network), **tuning.inherited(base),
    }  # fmt: skip
    facts = ModelFacts(
        parameters=budgets.size(config, length).parameters,
        steps=settings.steps,
        tokens=settings.steps * objective.step_tokens,
        batch_tokens=objective.step_tokens,
        learning_rate=rate,
        epochs=round(rounds * prompts * process.ranks.world / len(train.prompts.ids), 4),
        details=details,
    )
    process.log(
        f"{settings.steps:,} steps{f' in {rounds:,} rounds' if rounds < settings.steps else ''} of"
        f" {prompts * process.ranks.world} of {len(train.prompts.ids):,} prompts,"
        f" {settings.answers} answers of at most {train.max_new} tokens to each; {train.prompts.too_long} prompts left"
        " out as too long for the context"
    )
    return Training(
        asset=ASSET,
        objective=objective,
        network=run.trained(network),
        settings=settings,
        learning_rate=rate,
        precision=precision,
        sharded=False,
        facts=facts,
        base=base,
        blocks={"reinforcement": settings},
        new_network=lambda: run.trained(tuning.load_base(base, settings, context.seed)[0]),
        final_network=lambda network: tuning.merged(policy_of(network), settings),
        write_parts=run.write_parts(base),
        end=conversation.END,
        facts_of_log=totals,
    )


def started_from(base: Artifact, settings: ReinforcementSettings, seed: int) -> Transformer:
    """The network at the start, frozen: with its matrices in four bits if those are what is added to."""
    if settings.weights == "qlora":
        network, _, _ = tuning.load_base(base, settings, seed)
    else:
        network = export.load(base.local_directory(), torch.float32)
    return network.eval().requires_grad_(False)


def run_of(settings: ReinforcementSettings) -> type[Run]:
    """What happens in the steps, by the method."""
    return PpoRun if settings.method == "ppo" else Run


def policy_of(network: Any) -> Transformer:
    """The network that writes answers, of one that is trained."""
    policy: Transformer = getattr(network, "body", network)
    return policy


def objective_of(run: Run, measured: HeldBack, tokenizer: Tokenizer, size: budgets.Size, length: int) -> Objective:
    """The objective of a run. length: most tokens of a prompt and its answer together."""
    settings, writer = run.settings, run.writer
    rows = run.prompts * run.process.ranks.world * settings.answers // run.parts
    sample = tuning.answer_sampler(tokenizer, settings)
    return Objective(
        name="reinforcement",
        steps=settings.steps,
        accumulation=1,
        step_tokens=rows * min(length, round(np.mean([len(ids) for ids in writer.prompts.ids])) + writer.max_new),
        batch=lambda step, micro: {"prompts": torch.from_numpy(run.numbers(step))},
        units=lambda batch: float(len(batch["tokens"])) if "tokens" in batch else 0.0,
        enrich=run.answered,
        loss=run.loss,
        together=run.together,
        validation_batches=min(1, measured.batches),
        validation_batches_final=measured.batches,
        measure=lambda network, index: measured.measure(policy_of(network), index),
        summary=measured.summary,
        sample=lambda network: sample(policy_of(network)),
        flops_per_token=size.flops_per_token,
    )


def writers_of(
    process: TrainingProcess, inputs: Inputs, settings: ReinforcementSettings, tokenizer: Tokenizer, length: int
) -> tuple[Writer, Writer]:
    """What asks the training prompts and what asks those that are held back. Raises UserError if there are none."""
    data = inputs["instruction_data"]
    columns = ["messages", "source"]
    tables = [pl.read_parquet(data.table(split), columns=columns) for split in ("train", "held_back")]
    train = asked(tables[0], settings.prompts)
    known = [name for name in settings.prompts if name in set(tables[1]["source"])]
    held_back = asked(tables[1], known) if known or not settings.prompts else []
    max_new = settings.max_new or room_for(train, tokenizer, length)
    judge = judge_of(inputs.get("reward_model"), tokenizer, process.device)
    writers = [
        Writer(tokenizer, encoded(talks, tokenizer, length, max_new), settings, max_new, judge)
        for talks in (train, held_back[:MEASURED])
    ]
    if not writers[0].prompts.ids:
        raise UserError(
            f"No prompt of {data.asset} leaves room for an answer of {max_new} tokens in a context of {length}: lower"
            " reinforcement.max_new, or raise model.context."
        )
    return writers[0], writers[1]


class HeldBack:
    """What the likeliest answers to held-back prompts are worth."""

    def __init__(self, writer: Writer):
        self._writer = writer
        count = len(writer.prompts.ids)
        self._batches = [range(at, min(at + MEASURED_AT_ONCE, count)) for at in range(0, count, MEASURED_AT_ONCE)]
        self.batches = len(self._batches)

    def measure(self, network: torch.nn.Module, index: int) -> dict[str, torch.Tensor | float]:
        """Sums over the prompts of a batch. An answer that does not end is worth nothing."""
        numbers = self._batches[index]
        answers = self._writer.answers(network, numbers)  # type: ignore[arg-type]
        return {
            "answers": float(len(numbers)),
            "reward": float(answers.rewards.sum()),
            "truncated": float((~answers.ended).sum()),
            **{
                f"reward_{reward.label}": float((answers.by_reward[:, column] * answers.ended).sum())
                for column, reward in enumerate(self._writer.settings.rewards)
            },
        }

    def summary(self, sums: dict[str, float]) -> dict[str, float]:
        """Means over the prompts, with the 95 % interval of what is 0 or 1; the loss is minus the reward."""
        count = max(1.0, sums["answers"])
        figures = {f"validation_{name}": value / count for name, value in sums.items() if name != "answers"}
        for reward in self._writer.settings.rewards:
            if reward.kind != "model":
                name = f"validation_reward_{reward.label}"
                figures[f"{name}_low"], figures[f"{name}_high"] = wilson(figures[name], int(sums["answers"]))
        return {"validation_loss": -figures["validation_reward"], **figures, "validation_answers": sums["answers"]}

    def at_the_start(self, network: torch.nn.Module) -> dict[str, float]:
        """The same of the network as it is now, for all batches."""
        if not self.batches:
            return {}
        parts = [self.measure(network, index) for index in range(self.batches)]
        sums = {name: sum(float(part[name]) for part in parts) for name in parts[0]}
        named = self.summary(sums).items()
        return {name.replace("validation_", "start_"): value for name, value in named if name != "validation_loss"}


def totals(log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Facts of a whole run, out of its log: shares of answers from which nothing was learned."""
    rows = [row for row in log if row.get("truncated") is not None]
    return {
        name: round(sum(row[name] for row in rows) / max(1, len(rows)), 6) for name in ("truncated", "without_variance")
    }
