"""KTO on the loop: the KL that a step is measured against, and what held-back answers are measured by.

The loss (`preference_losses.kto`) compares the gain of each answer with z, an estimate of the KL between the network as
it is and the reference model: the mean gain of answers that belong to other prompts, at least 0 (Ethayarajh et al.
2024, section 4.1). It is taken over all answers of a step, on all ranks, before its first gradient, so that it does not
depend on the size of micro-batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pipeline.training.data.ratings import Ratings, batch_of_ratings
from pipeline.training.objectives.dpo import log_probabilities
from pipeline.training.objectives.preference_losses import kto
from pipeline.training.training_settings import PreferenceSettings

if TYPE_CHECKING:
    import torch

    from pipeline.training.model_artifact import TrainingProcess
    from pipeline.training.objectives.objective import Batch, Enrich


def own_and_other(batch: Batch) -> tuple[Batch, Batch]:
    """The halves of a batch of rated answers: each prompt with its own answer, and with another one's."""
    rows = len(batch["reference"])
    halves = ({name: batch[name][of] for name in ("tokens", "targets")} for of in (slice(rows), slice(rows, None)))
    own, other = halves
    return {**own, "reference": batch["reference"], "desirable": batch["desirable"]}, other


def gain_of_others(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> torch.Tensor:
    """The gains of the other answers of a batch over the reference model, summed."""
    _, other = own_and_other(batch)
    return (log_probabilities(network, other, settings) - batch["reference"][:, 1]).sum()


def with_estimate(batch: Batch, kl: float, shares: tuple[float, float]) -> Batch:
    """The rated answers of a batch with the figures of the step that the loss reads."""
    import torch

    own, _ = own_and_other(batch)
    device = own["reference"].device
    return {**own, "kl": torch.tensor(kl, device=device), "shares": torch.tensor(shares, device=device)}


def estimated(process: TrainingProcess, settings: PreferenceSettings) -> Enrich:
    """What is done before a step: the KL over all of its answers."""
    from pipeline.training import transfer

    def enrich(network: torch.nn.Module, step: int, batches: list[Batch]) -> list[Batch]:
        sent = [transfer.to_device(batch, process.device) for batch in batches]
        own = [
            sum(float(gain_of_others(network, batch, settings)) for batch in sent),
            float(sum(len(batch["desirable"]) for batch in batches)),
            float(sum(int(batch["desirable"].sum()) for batch in batches)),
        ]
        gains, rows, good = process.ranks.total(*own)
        return [with_estimate(batch, max(0.0, gains / rows), (good / rows, 1 - good / rows)) for batch in sent]

    return enrich


def held_back_measure(
    ratings: Ratings, batches: list[np.ndarray], at_once: int, device: str, settings: PreferenceSettings
) -> Callable[[torch.nn.Module, int], dict[str, torch.Tensor | float]]:
    """Measures a batch of held-back answers, with a KL of its own, in parts of at most `at_once`."""
    import torch

    from pipeline.training import transfer

    def measure(network: torch.nn.Module, index: int) -> dict[str, torch.Tensor | float]:
        numbers = batches[index]
        parts = [
            transfer.send(batch_of_ratings(ratings, numbers[at : at + at_once]), device)
            for at in range(0, len(numbers), at_once)
        ]
        kl = max(0.0, float(torch.stack([gain_of_others(network, part, settings) for part in parts]).sum()))
        share = float(ratings.desirable[numbers].mean())
        found: dict[str, torch.Tensor | float] = {"pairs": float(len(numbers))}
        for part in parts:
            loss, figures = kto(network, with_estimate(part, kl / len(numbers), (share, 1 - share)), settings)
            for name, value in {"loss": loss, **figures}.items():
                found[name] = found.get(name, 0.0) + value
        return found

    return measure
