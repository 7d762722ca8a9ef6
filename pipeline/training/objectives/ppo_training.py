"""PPO on the loop: answers are written once, and several steps learn from them.

The steps that share answers belong together: the loop keeps no checkpoint between them (`Objective.together`), so a run
that was stopped in their midst repeats them from the first, with the same answers and so with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from model.files import whole
from model.transformer import Transformer
from pipeline.store.artifact import Artifact
from pipeline.training import transfer
from pipeline.training.data.by_length import like_lengths
from pipeline.training.objectives.grpo import batch_of, log_probabilities
from pipeline.training.objectives.grpo_run import Run
from pipeline.training.objectives.objective import Batch
from pipeline.training.objectives.ppo import LEAST_DEVIATION, PolicyWithValue, advantages_of, ppo, token_rewards
from pipeline.training.objectives.rollouts import rollout_seed

HEAD = "value_head.safetensors"
BY_TOKEN = ("old", "values", "advantages", "returns", "reference")


@dataclass(frozen=True)
class Rollout:
    """Answers of one writing, and what follows from the network that wrote them."""

    rows: list[tuple[np.ndarray, int]]  # (prompt and answer, index at which the answer starts)
    used: np.ndarray  # bool: the answer is learned from
    by_token: dict[str, list[np.ndarray]]  # BY_TOKEN -> for each answer, of its tokens
    counted: dict[str, np.ndarray]


@dataclass
class PpoRun(Run):
    """What happens in the steps of a run, on one rank."""

    held: tuple[int, Rollout] | None = field(default=None)  # the number of the writing, and what was written

    @property
    def together(self) -> int:
        return self.settings.passes * self.settings.minibatches

    @property
    def parts(self) -> int:
        return self.settings.minibatches

    def trained(self, network: Transformer) -> torch.nn.Module:
        return PolicyWithValue(network)

    def write_parts(self, base: Artifact) -> Callable[[Any, Path], None]:
        additions = super().write_parts(base)

        def write(network: PolicyWithValue, directory: Path) -> None:
            with whole(directory / HEAD) as unfinished:
                save_file({"value": network.value.detach().cpu().contiguous()}, unfinished, {"format": "pt"})
            additions(network.body, directory)

        return write

    def numbers(self, step: int) -> np.ndarray:
        return super().numbers(step // self.together)

    def answered(self, network: torch.nn.Module, step: int, batches: list[Batch]) -> list[Batch]:
        """The part of the answers that a step learns from, in micro-batches of like lengths."""
        assert isinstance(network, PolicyWithValue)
        number, within = divmod(step, self.together)
        if self.held is None or self.held[0] != number:
            self.held = number, self._written(network, number, batches[0]["prompts"].cpu().numpy())
            self.tell(number, self.held[1].counted)
        rollout = self.held[1]
        round_, part = divmod(within, self.settings.minibatches)
        order = np.random.default_rng([self.process.context.seed, number, round_]).permutation(len(rollout.rows))
        members = order[part :: self.settings.minibatches]
        tokens = sum(len(rollout.by_token["old"][row]) for row in members if rollout.used[row])
        answers, all_tokens = self.process.ranks.total(float(len(members)), float(tokens))
        scale = torch.tensor(answers / all_tokens if all_tokens else 0.0)
        lengths = np.array([len(rollout.rows[row][0]) for row in members])
        return [self._batch(rollout, members[some], scale) for some in like_lengths(lengths, self.at_once)]

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return ppo(model, batch, self.settings)

    def _batch(self, rollout: Rollout, members: np.ndarray, scale: torch.Tensor) -> Batch:
        rows = [rollout.rows[row] for row in members]
        batch = batch_of(rows, np.zeros(len(rows)), rollout.used[members])
        for name, values in rollout.by_token.items():
            padded = np.zeros(batch["tokens"].shape, np.float32)
            for at, row in enumerate(members):
                begin = rollout.rows[row][1] - 1
                padded[at, begin : begin + len(values[row])] = values[row]
            batch[name] = torch.from_numpy(padded)
        batch["figures"] = torch.tensor([float(of[members].sum()) for of in rollout.counted.values()])
        batch["scale"] = scale
        return {**transfer.send(batch, self.process.device), "counted": tuple(rollout.counted)}

    def _written(self, network: PolicyWithValue, number: int, prompts: np.ndarray) -> Rollout:
        """Answers to the prompts by the network as it is, with advantages scaled over those of all ranks."""
        settings, ranks = self.settings, self.process.ranks
        asked = np.repeat(prompts, settings.answers)
        seed = rollout_seed(self.process.context.seed, number)
        answers = self.writer.answers(network.body, asked.tolist(), seed, ranks.rank * len(asked))
        rows = self.rows_of(asked, answers)
        used = answers.ended | (settings.truncated != "leave_out")
        by_token = self._by_network(network, rows)
        references = by_token.get("reference", [None] * len(rows))
        found = [
            advantages_of(
                token_rewards(worth, old, reference, settings.beta), values, settings.discount, settings.gae_lambda
            )
            for worth, old, values, reference in zip(
                answers.rewards, by_token["old"], by_token["values"], references, strict=True
            )
        ]
        advantages, returns = [one for one, _ in found], [one for _, one in found]
        flat = np.concatenate([one for one, use in zip(advantages, used, strict=True) if use] or [np.zeros(0)])
        count, total, square = ranks.total(float(len(flat)), float(flat.sum()), float((flat**2).sum()))
        mean = total / max(1.0, count)
        deviation = np.sqrt(max(0.0, square / max(1.0, count) - mean**2)) + LEAST_DEVIATION
        by_token["advantages"], by_token["returns"] = [(one - mean) / deviation for one in advantages], returns
        grouped = answers.rewards.reshape(-1, settings.answers)
        flat_groups = np.repeat(np.ptp(grouped, axis=1) == 0, settings.answers)
        return Rollout(rows, used, by_token, self.counted(answers, flat_groups))

    def _by_network(self, network: PolicyWithValue, rows: list[tuple[np.ndarray, int]]) -> dict[str, list[np.ndarray]]:
        """log p and value of each token of the answers now, and its log p by the start: float64 by answer."""
        names = BY_TOKEN[:2] if self.reference is None else (*BY_TOKEN[:2], "reference")
        found: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] * len(rows) for name in names}
        everything = np.ones(len(rows), bool)
        for members in like_lengths(np.array([len(ids) for ids, _ in rows]), self.at_once):
            batch = batch_of([rows[row] for row in members], np.zeros(len(members)), everything[members])
            batch = transfer.send(batch, self.process.device)
            given = dict(zip(BY_TOKEN, network(batch["tokens"], batch["targets"], self.settings.chunk)))
            if self.reference is not None:
                given["reference"] = log_probabilities(self.reference, batch, self.settings.chunk)
            for name, values in given.items():
                of_rows = values.double().cpu().numpy()
                for at, row in enumerate(members):
                    ids, start = rows[row]
                    found[name][row] = of_rows[at, start - 1 : len(ids) - 1]
        return found
