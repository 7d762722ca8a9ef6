"""Group relative policy optimisation: what an answer is worth beside the others to its prompt, and the loss.

Shao et al. 2024 (DeepSeekMath), section 4.1. Each step samples a group of answers to each prompt from the network as it
is, at temperature 1 from all tokens, so that what is learned from is what was sampled. There is one update for each
sampling, as in the paper, so the ratio of equation 3 is 1 and only its gradient counts; nothing is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.config import IGNORED
from pipeline.training.data.by_length import ROUND_TO
from pipeline.training.objectives.objective import Batch

LEAST_DEVIATION = 1e-4  # added to the deviation within a group, as TRL does
FLAT = 1e-9  # rewards of a group that differ by less are all the same


@dataclass(frozen=True)
class Groups:
    """What a step's answers are worth. Arrays of [prompts x answers], the answers to a prompt together."""

    advantages: np.ndarray  # float64; 0 for what nothing is learned from
    used: np.ndarray  # bool: the answer is in the loss
    flat: np.ndarray  # bool [prompts]: all answers to the prompt are worth the same, so they do not tell what to do


def compared(rewards: np.ndarray, ended: np.ndarray, answers: int, leave_out: bool) -> Groups:
    """Each answer's reward beside the others to its prompt: (reward - mean) / deviation (equation 3, outcome rewards).

    rewards: float64 [prompts x answers]; ended: whether the answer ended by itself. leave_out: those that were cut off
    are in no mean and in no loss; a prompt with fewer than two others counts as flat.
    """
    grouped, counted = rewards.reshape(-1, answers), ended.reshape(-1, answers)
    if not leave_out:
        counted = np.ones_like(counted)
    number = counted.sum(1, keepdims=True)
    mean = (grouped * counted).sum(1, keepdims=True) / np.maximum(1, number)
    square = ((grouped - mean) ** 2 * counted).sum(1, keepdims=True)
    deviation = np.sqrt(square / np.maximum(1, number - 1))
    flat = (deviation[:, 0] < FLAT) | (number[:, 0] < 2)
    advantages = (grouped - mean) / (deviation + LEAST_DEVIATION) * counted * ~flat[:, None]
    return Groups(advantages.reshape(-1), counted.reshape(-1), flat)


def batch_of(rows: Sequence[tuple[np.ndarray, int]], advantages: np.ndarray, used: np.ndarray) -> Batch:
    """Answers behind their prompts, padded; rows: (token ids, index at which the answer starts).

    The targets of an answer that is not used are ignored. advantages, used: [rows].
    """
    longest = max(len(ids) for ids, _ in rows) - 1
    tokens = np.zeros((len(rows), math.ceil(longest / ROUND_TO) * ROUND_TO), np.int64)
    targets = np.full(tokens.shape, IGNORED, np.int64)
    for row, (ids, start) in enumerate(rows):
        tokens[row, : len(ids) - 1] = ids[:-1]
        if used[row]:
            targets[row, start - 1 : len(ids) - 1] = ids[start:]
    return {
        "tokens": torch.from_numpy(tokens),
        "targets": torch.from_numpy(targets),
        "advantages": torch.from_numpy(advantages.astype(np.float32)),
    }


def log_probabilities(network: nn.Module, batch: Batch, chunk: int | None) -> Tensor:
    """log p of each token of the answers [rows, T], 0 elsewhere."""
    found: Tensor = network(batch["tokens"], batch["targets"], by_token=True, chunk=chunk)
    return found


def grpo(network: nn.Module, batch: Batch, beta: float, chunk: int | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over answers of the mean over tokens of beta x KL - ratio x advantage (equation 3), and what is logged.

    The KL from the network at the start is estimated by token as r - log r - 1, r = p(start) / p(now) (equation 4).

    batch: as `batch_of` makes it, with `reference` [rows, T], the start's log-probabilities, unless beta is 0, and
    `figures`: sums over the answers of what was counted when they were sampled.
    """
    found = log_probabilities(network, batch, chunk)
    learned = batch["targets"] != IGNORED
    ratio = torch.exp(found - found.detach())
    per_token = -ratio * batch["advantages"][:, None]
    kl = torch.zeros_like(found)
    if beta:
        away = batch["reference"] - found
        kl = torch.exp(away) - away - 1
        per_token = per_token + beta * kl
    tokens = learned.sum(1).clamp(min=1)
    loss = ((per_token * learned).sum(1) / tokens).sum()
    with torch.no_grad():
        figures = {"kl": ((kl * learned).sum(1) / tokens).sum(), "answer_tokens": learned.sum().float()}
    return loss, {**figures, **dict(zip(batch["counted"], batch["figures"].unbind(), strict=True))}
