"""What happens in the steps of a reinforcement, on one rank: GRPO's answers, judged, compared and made into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model import conversation
from pipeline.store.artifact import Artifact
from pipeline.training import transfer
from pipeline.training.data.by_length import like_lengths, shuffled_rows
from pipeline.training.model_artifact import TrainingProcess
from pipeline.training.objectives import tuning
from pipeline.training.objectives.grpo import batch_of, compared, grpo, log_probabilities
from pipeline.training.objectives.objective import Batch
from pipeline.training.objectives.rollouts import Answers, Writer, rollout_seed
from pipeline.training.reinforcement_settings import ReinforcementSettings

if TYPE_CHECKING:
    from model.transformer import Transformer

LINES = 20  # in a run, that tell what was left out


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
