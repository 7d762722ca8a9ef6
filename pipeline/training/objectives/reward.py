"""The network of a reward model, its training on the loop, and its use as a judge of answers.

The score is read off the last token of the answer by a vector that is trained with the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model import conversation, export
from model.files import whole
from model.transformer import Transformer
from pipeline.store.artifact import Artifact
from pipeline.training.data.by_length import ROUND_TO, like_lengths
from pipeline.training.data.pairs import Pairs, exclusions
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import preference, tuning
from pipeline.training.objectives.body_with_head import BodyWithHead
from pipeline.training.objectives.objective import Batch, Objective
from pipeline.training.planning import budget as budgets
from pipeline.training.reinforcement_settings import RewardModelSettings

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.model_artifact import Training, TrainingProcess

RATE_SHARE = 0.1  # of the learning rate that pretraining would use: it learns a task anew, as fine-tuning does
HEAD = "reward_head.safetensors"
AT_ONCE = 64  # answers that are scored together


class RewardNetwork(BodyWithHead):
    """A network and the vector that reads a score off its last hidden state."""

    def __init__(self, body: Transformer, seed: int = 0) -> None:
        super().__init__(body)
        width = body.config.width
        start = torch.randn(width, generator=torch.Generator().manual_seed(seed)) / math.sqrt(width + 1)
        self.reward = nn.Parameter(start)  # as in Stiennon et al. 2020, appendix B.1
        if body.lm_head is not None:  # no token is predicted
            body.lm_head.requires_grad_(False)

    def forward(self, tokens: Tensor, last: Tensor) -> Tensor:
        """Scores [B] of rows of `tokens` [B, T], each read at the position `last` [B] of its last token."""
        hidden = self.body.hidden(tokens)
        return hidden[torch.arange(len(last), device=last.device), last].float() @ self.reward.float()


def prepare(process: TrainingProcess, base: Artifact, preferences: Artifact, settings: RewardModelSettings) -> Training:
    """The network with its vector, the pairs and the validation, for the loop."""
    from pipeline.training.model_artifact import Training

    seed, device, ranks = process.context.seed, process.device, process.ranks

    body, config, tokenizer = tuning.load_base(base, settings, seed)
    length = tuning.row_length(base, config, settings.context)
    train, held_back = preference.usable_pairs(preferences, tokenizer, length)
    precision = process.precision(settings.precision, config)
    fit = tuning.fit(config, length, settings, precision, process)
    batching = preference.batches_by_length(train, settings, max(1, fit.sequences // 2), seed, ranks.world)
    assert batching.by_length is not None
    used = batching.by_length.used(batching.steps)
    network = RewardNetwork(body, seed)
    preference.without_dropout(network)
    size, rate = budgets.size(config, length), tuning.learning_rate(config, settings, RATE_SHARE)
    step_tokens = round(batching.step_rows * train.tokens(used) / len(used))
    batches, within = preference.validation_batches(held_back, batching.micro_rows)
    objective = Objective(
        name="reward model",
        steps=batching.steps,
        accumulation=batching.accumulation,
        step_tokens=step_tokens,
        batch=lambda step, micro: batch_of(train, batching.row_numbers(step, micro, ranks)),
        units=lambda batch: len(batch["last"]) / 2,
        loss=bradley_terry,
        validation_batches=within,
        validation_batches_final=len(batches),
        measure=lambda model, index: measure(model, batch_of(held_back, batches[index]), device),
        summary=preference.summarise,
        flops_per_token=size.flops_per_token,
        out_of_memory=lambda: tuning.advice(config, length, settings, precision, process, 2 * batching.micro_rows),
    )
    details = {"weights": settings.weights, "pairs_used": len(used), **train.facts(), **tuning.inherited(base)}
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
    additions = tuning.write_additions(settings, base)

    def write_parts(trained: RewardNetwork, directory: Path) -> None:
        with whole(directory / HEAD) as unfinished:
            save_file({"reward": trained.reward.detach().cpu().contiguous()}, unfinished, {"format": "pt"})
        additions(trained.body, directory)

    return Training(
        asset="reward_model",
        objective=objective,
        network=network,
        settings=settings,
        learning_rate=rate,
        precision=precision,
        sharded=fit.sharded,
        facts=facts,
        base=base,
        blocks={"reward_model": settings},
        new_network=lambda: RewardNetwork(tuning.load_base(base, settings, seed)[0], seed),
        final_network=lambda trained: tuning.merged(trained.body, settings),
        write_parts=write_parts,
        end=conversation.END,
    )


def batch_of(pairs: Pairs, numbers: np.ndarray) -> Batch:
    """The pairs of these numbers: all chosen answers first, then all rejected ones, each with its last position."""
    members = [pairs.pairs[number] for number in numbers]
    return rows_of([pair.chosen for pair in members] + [pair.rejected for pair in members])


def rows_of(rows: Sequence[np.ndarray]) -> Batch:
    """Rows of token ids, padded, and the position of the last token of each."""
    longest = max(len(ids) for ids in rows)
    tokens = np.zeros((len(rows), math.ceil(longest / ROUND_TO) * ROUND_TO), np.int64)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = ids
    return {"tokens": torch.from_numpy(tokens), "last": torch.tensor([len(ids) - 1 for ids in rows])}


def bradley_terry(network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over pairs of -log sigmoid(score of chosen - score of rejected), and sums of what is logged."""
    chosen, rejected = network(batch["tokens"], batch["last"]).chunk(2)
    margin = chosen - rejected
    with torch.no_grad():
        figures = {
            "accuracy": (margin > 0).float().sum(),
            "margin": margin.sum(),
            "chosen_reward": chosen.sum(),
            "rejected_reward": rejected.sum(),
        }
    return -F.logsigmoid(margin).sum(), figures


def measure(network: nn.Module, batch: Batch, device: str) -> dict[str, Tensor | float]:
    from pipeline.training import transfer

    loss, figures = bradley_terry(network, transfer.send(batch, device))
    return {"loss": loss, "pairs": len(batch["last"]) / 2, **figures}


# -- use ---------------------------------------------------------------------------------------------------------------

Judge = Callable[[Sequence[Sequence[dict[str, str]]]], np.ndarray]  # scores of whole conversations


def judge(artifact: Artifact, tokenizer: Tokenizer, device: str) -> Judge:
    """A function that scores conversations, which end with the answer: float64 [conversations]."""
    directory = artifact.local_directory()
    network = RewardNetwork(export.load(directory, torch.float32))
    with torch.no_grad():
        network.reward.copy_(load_file(directory / HEAD)["reward"])
    network.to(device).eval().requires_grad_(False)
    context = network.config.context

    def score(conversations: Sequence[Sequence[dict[str, str]]]) -> np.ndarray:
        encoded = tokenizer.encode_chats([list(messages) for messages in conversations])
        # Up to <|im_end|>, as in training; a conversation that is too long loses its start.
        rows = [ids[: np.flatnonzero(learned)[-1] + 1][-context:] for ids, learned in encoded]
        found = np.zeros(len(rows), np.float64)
        for numbers in like_lengths(np.array([len(ids) for ids in rows]), AT_ONCE):
            batch = rows_of([rows[number] for number in numbers])
            with torch.no_grad():
                found[numbers] = network(batch["tokens"].to(device), batch["last"].to(device)).double().cpu().numpy()
        return found

    return score
