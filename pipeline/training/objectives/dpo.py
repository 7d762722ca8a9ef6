"""The loss of preference tuning (DPO): how much likelier an answer has become than it was to the reference model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.config import IGNORED
from pipeline.training.data.pairs import KEPT
from pipeline.training.training_settings import PreferenceSettings

if TYPE_CHECKING:
    import torch

    from pipeline.training.objectives.objective import Batch


def log_probabilities(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> torch.Tensor:
    """Log-probability of each row's answer [rows], in nats: summed over its tokens, or averaged (length_normalised)."""
    targets = batch["targets"]
    sums = network(batch["tokens"], targets, by_token=True, chunk=settings.chunk).sum(1)
    return sums / (targets != IGNORED).sum(1) if settings.length_normalised else sums


def total(batch: Batch, values: torch.Tensor) -> torch.Tensor:
    """The sum of `values` [pairs] over the pairs of a batch that are no empty slots."""
    import torch

    return (torch.where(batch[KEPT], values, 0) if KEPT in batch else values).sum()


def dpo(
    network: torch.nn.Module, batch: Batch, settings: PreferenceSettings
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Sum over pairs of -log sigmoid(beta x ((chosen - its reference) - (rejected - its reference))).

    Rafailov et al. 2023, equation 7; label smoothing as in conservative DPO (Mitchell 2023). A reward is beta times the
    gain in log-probability over the reference. Also returns sums of accuracy, margin and rewards.
    """
    import torch
    import torch.nn.functional as F

    chosen, rejected = log_probabilities(network, batch, settings).chunk(2)
    reference = batch["reference"]
    chosen_reward = settings.beta * (chosen - reference[:, 0])
    rejected_reward = settings.beta * (rejected - reference[:, 1])
    margin = chosen_reward - rejected_reward
    smooth = settings.label_smoothing
    loss = -(1 - smooth) * F.logsigmoid(margin) - smooth * F.logsigmoid(-margin)
    with torch.no_grad():
        figures = {
            "accuracy": total(batch, (margin > 0).float()),
            "margin": total(batch, margin),
            "chosen_reward": total(batch, chosen_reward),
            "rejected_reward": total(batch, rejected_reward),
        }
    return total(batch, loss), figures
