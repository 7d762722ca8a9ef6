"""Reinforcement on the loop, and GRPO's part of it: a step's prompts, the network's answers, what is measured and told.

The batch of a step is the numbers of its prompts. Before the step, the network writes the answers to them
(`Objective.enrich`), which follow from (weights, seed, step) alone, so a run that was stopped within a step repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from model import conversation, export
from pipeline.context import Inputs
from pipeline.errors import UserError
from pipeline.intervals import wilson
from pipeline.store.artifact import Artifact
from pipeline.training import transfer
from pipeline.training.data.by_length import like_lengths, shuffled_rows
from pipeline.training.model_artifact import Training, TrainingProcess
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import tuning
from pipeline.training.objectives.grpo import batch_of, compared, grpo, log_probabilities
from pipeline.training.objectives.objective import Batch, Objective
from pipeline.training.objectives.preference import without_dropout
from pipeline.training.objectives.rollouts import (
    Answers,
    Writer,
    asked,
    encoded,
    judge_of,
    rollout_seed,
    room_for,
)
from pipeline.training.planning import budget as budgets
from pipeline.training.reinforcement_settings import ReinforcementSettings

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer

ASSET = "reinforcement_model"
RATE_SHARE = 0.01  # of the learning rate that pretraining would use (Shao et al. 2024: 1e-6 after 4.2e-4)
MEASURED_AT_ONCE = 64  # held-back prompts in a validation batch
MEASURED = 256  # held-back prompts that are asked at the end, and at the start; within the run, one batch of them
LINES = 20  # in a run, that tell what was left out


def prepare(process: TrainingProcess, inputs: Inputs, settings: ReinforcementSettings) -> Training:
    """The network, its prompts, and how its answers are judged, for the loop."""
    context, device, base = process.context, process.device, inputs["base"]
    network, config, tokenizer = tuning.load_base(base, settings, context.seed)
    length = tuning.row_length(base, config, settings)
    writers = writers_of(process, inputs, settings, tokenizer, length)
    train, held_back = writers
    precision = process.precision(settings.precision, config)
    fit = tuning.fit(config, length, settings, precision, process)
    if fit.sharded:
        raise UserError("the network fits on no single device, and answers cannot be written by shards of it.")
    without_dropout(network)
    network.to(device)
    reference = None
    if settings.beta:
        reference = export.load(base.local_directory(), torch.float32).to(device).eval().requires_grad_(False)
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


def run_of(settings: ReinforcementSettings) -> type[Run]:
    """What happens in the steps, by the method."""
    if settings.method == "ppo":
        from pipeline.training.objectives.ppo_training import PpoRun

        return PpoRun
    return Run


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


@dataclass
class Run:
    """What happens in the steps of a run, on one rank; this class is GRPO's."""

    process: TrainingProcess
    settings: ReinforcementSettings
    writer: Writer
    reference: Transformer | None
    prompts: int  # per step, on each rank
    at_once: int  # answers in a micro-batch
    told: dict[str, float] = field(default_factory=dict)  # what was counted since the last line

    @property
    def together(self) -> int:
        """Steps that learn from the same answers."""
        return 1

    @property
    def parts(self) -> int:
        """Steps that a pass over the same answers takes."""
        return 1

    def trained(self, network: Transformer) -> torch.nn.Module:
        """What is trained: the network and what belongs to it."""
        return network

    def write_parts(self, base: Artifact) -> Callable[[Any, Path], None]:
        """A function that keeps what is trained besides the weights of the network."""
        return tuning.write_additions(self.settings, base)

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return grpo(model, batch, self.settings.beta, self.settings.chunk)

    def numbers(self, step: int) -> np.ndarray:
        """The prompts of a step on this rank: passes over all of them, each in an order of its own."""
        ranks, rows = self.process.ranks, len(self.writer.prompts.ids)
        first = (step * ranks.world + ranks.rank) * self.prompts
        seed = self.process.context.seed
        places = range(first, first + self.prompts)
        return np.array([shuffled_rows(rows, seed, at // rows)[at % rows] for at in places])

    def answered(self, network: torch.nn.Module, step: int, batches: list[Batch]) -> list[Batch]:
        """The answers to the prompts of a step, judged and compared, in micro-batches of like lengths."""
        settings, ranks = self.settings, self.process.ranks
        numbers = np.repeat(batches[0]["prompts"].cpu().numpy(), settings.answers)
        seed = rollout_seed(self.process.context.seed, step)
        answers = self.writer.answers(network, numbers, seed, ranks.rank * len(numbers))  # type: ignore[arg-type]
        groups = compared(answers.rewards, answers.ended, settings.answers, settings.truncated == "leave_out")
        rows = self.rows_of(numbers, answers)
        counted = self.counted(answers, np.repeat(groups.flat, settings.answers))
        self.tell(step, counted)
        made = []
        for members in like_lengths(np.array([len(ids) for ids, _ in rows]), self.at_once):
            batch = batch_of([rows[row] for row in members], groups.advantages[members], groups.used[members])
            batch["figures"] = torch.tensor([float(of[members].sum()) for of in counted.values()])
            batch = transfer.send(batch, self.process.device)
            if self.reference is not None:
                batch["reference"] = log_probabilities(self.reference, batch, settings.chunk)
            made.append({**batch, "counted": tuple(counted)})
        return made

    def rows_of(self, numbers: np.ndarray, answers: Answers) -> list[tuple[np.ndarray, int]]:
        """Prompts with their answers, and the indices at which the answers start."""
        end = self.writer.tokenizer.ids[conversation.END]
        rows = []
        for number, ids, ended in zip(numbers, answers.ids, answers.ended, strict=True):
            head = self.writer.prompts.ids[number]
            rows.append((np.array([*head, *ids, *([end] if ended else [])], np.int64), len(head)))
        return rows

    def counted(self, answers: Answers, flat: np.ndarray) -> dict[str, np.ndarray]:
        """What is logged of each answer [answers]; the loop takes means."""
        by_reward = {
            f"reward_{reward.label}": answers.by_reward[:, column] * answers.ended
            for column, reward in enumerate(self.settings.rewards)
        }
        return {"reward": answers.rewards, **by_reward, "truncated": ~answers.ended, "without_variance": flat}

    def tell(self, number: int, counted: dict[str, np.ndarray]) -> None:
        """Log what nothing was learned from, some times in a run. number: how often answers were written before."""
        rounds = self.settings.steps // self.together
        self.told["answers"] = self.told.get("answers", 0) + len(counted["truncated"])
        for name in ("truncated", "without_variance"):
            self.told[name] = self.told.get(name, 0) + float(counted[name].sum())
        if (number + 1) % max(1, rounds // LINES) and number + 1 < rounds:
            return
        fate = "left out" if self.settings.truncated == "leave_out" else "worth nothing"
        remedy = "; raise reinforcement.max_new" if self.told["truncated"] > 0.1 * self.told["answers"] else ""
        self.process.log(
            f"step {(number + 1) * self.together}: of the last {self.told['answers']:,.0f} answers,"
            f" {self.told['truncated']:,.0f} did not end within {self.writer.max_new} tokens ({fate}{remedy}), and"
            f" {self.told['without_variance']:,.0f} were worth the same as all others to their prompt"
        )
        self.told.clear()


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
