"""The other losses of preference tuning: IPO, SimPO, ORPO and KTO, each as published (`dpo.py` has DPO).

Each takes a network and a batch, and returns the loss and further figures, all summed over the pairs (KTO: over the
rated answers). A reward is what the paper calls so; log-probabilities are in nats, summed over the tokens of an answer
or, where the paper says 1/|y|, averaged over them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from model.config import IGNORED
from pipeline.training.objectives.dpo import dpo, log_probabilities, total
from pipeline.training.training_settings import PreferenceSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pipeline.training.objectives.objective import Batch

    Loss = Callable[[torch.nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]]

REFERENCE_FREE = ("simpo", "orpo")  # methods that compare a network with nothing but itself
LEAST_LOG_ODDS = -1e-6  # the log-probability above which 1 - p is taken as at this one, so that it has a logarithm


def loss_of(settings: PreferenceSettings) -> Loss:
    """The loss that the settings name."""
    known = {"dpo": dpo, "ipo": ipo, "simpo": simpo, "orpo": orpo, "kto": kto}
    return partial(known[settings.method], settings=settings)


def ipo(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over pairs of (h - 1 / (2 tau))^2, h = (chosen - its reference) - (rejected - its reference).

    Azar et al. 2023, equation 17; tau is `beta`. With `length_normalised`, log-probabilities are per token, as in the
    library TRL, whose authors had that confirmed by those of the paper. Rewards are tau times the gain.
    """
    chosen, rejected = log_probabilities(network, batch, settings).chunk(2)
    chosen_gain, rejected_gain = chosen - batch["reference"][:, 0], rejected - batch["reference"][:, 1]
    loss = (chosen_gain - rejected_gain - 1 / (2 * settings.beta)).square()
    return total(batch, loss), figures_of(batch, settings.beta * chosen_gain, settings.beta * rejected_gain)


def simpo(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over pairs of -log sigmoid(beta / |chosen| log p(chosen) - beta / |rejected| log p(rejected) - gamma).

    Meng et al. 2024, equation 6. There is no reference model: the reward is beta times the mean log-probability.
    """
    import torch.nn.functional as F

    chosen, rejected = (settings.beta * means for means in mean_log_probabilities(network, batch, settings).chunk(2))
    loss = -F.logsigmoid(chosen - rejected - settings.gamma)
    return total(batch, loss), figures_of(batch, chosen, rejected)


def orpo(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over pairs of -log p(chosen) / |chosen| - lambda log sigmoid(log of the ratio of both answers' odds).

    Hong et al. 2024, equations 6 and 7; lambda is `beta`, and odds are p / (1 - p) of the probability per token. The
    first term is fine-tuning's, on the answer alone, as everywhere here; TRL also counts the tokens of the prompt.
    """
    import torch.nn.functional as F

    chosen, rejected = mean_log_probabilities(network, batch, settings).chunk(2)
    odds = (chosen - log_of_rest(chosen)) - (rejected - log_of_rest(rejected))
    loss = -chosen - settings.beta * F.logsigmoid(odds)
    figures = figures_of(batch, settings.beta * chosen, settings.beta * rejected)
    further = {"nll": total(batch, -chosen.detach()), "log_odds": total(batch, odds.detach())}
    return total(batch, loss), {**figures, **further}


def kto(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum over rated answers of weight x (1 - sigmoid(beta (gain - z))) for good ones, (z - gain) for bad ones.

    Ethayarajh et al. 2024, equation 8, without its constant; z is the step's estimate of the KL from the reference
    model (`kto.py`), which has no gradient. Rewards are beta times the gain over the reference.

    batch: of answers [n]: tokens and targets [n, T], reference [n, 2] (the answer's first), desirable [n]; and of the
    step: kl, and shares [2] of good and of bad answers, which make means over each kind of what the loop averages.
    """
    import torch

    gain = log_probabilities(network, batch, settings) - batch["reference"][:, 0]
    good, kl = batch["desirable"], batch["kl"]
    weight = torch.where(good, settings.desirable_weight, settings.undesirable_weight)
    loss = weight * (1 - torch.sigmoid(settings.beta * torch.where(good, gain - kl, kl - gain)))
    with torch.no_grad():
        reward, (of_good, of_bad) = settings.beta * gain, batch["shares"].clamp(min=1e-6)
        chosen, rejected = (reward * good).sum() / of_good, (reward * ~good).sum() / of_bad
        figures = {
            "accuracy": ((gain > kl) == good).float().sum(),
            "margin": chosen - rejected,
            "chosen_reward": chosen,
            "rejected_reward": rejected,
            "answer_tokens": (batch["targets"] != IGNORED).sum().float(),
            "kl": kl * len(gain),
        }
    return loss.sum(), figures


# -- parts -------------------------------------------------------------------------------------------------------------


def mean_log_probabilities(network: torch.nn.Module, batch: Batch, settings: PreferenceSettings) -> Tensor:
    """Log-probability per token of each row's answer [rows], in nats."""
    return log_probabilities(network, batch, settings.model_copy(update={"length_normalised": True}))


def log_of_rest(log_probability: Tensor) -> Tensor:
    """log(1 - p) of log p, precise at both ends (Mächler 2012, equation 7)."""
    import torch

    x = log_probability.clamp(max=LEAST_LOG_ODDS)
    likely = x > -math.log(2)
    # Each branch sees only values that it can take: an infinite gradient times zero would be none.
    high = torch.log(-torch.expm1(torch.where(likely, x, -math.log(2))))
    return torch.where(likely, high, torch.log1p(-torch.exp(torch.where(likely, -math.log(2), x))))


def figures_of(batch: Batch, chosen: Tensor, rejected: Tensor) -> dict[str, Tensor]:
    """Sums over pairs of accuracy, margin, rewards [pairs] and tokens of the answers."""
    import torch

    with torch.no_grad():
        good, bad = (batch["targets"] != IGNORED).sum(1).chunk(2)
        return {
            "accuracy": total(batch, (chosen > rejected).float()),
            "margin": total(batch, chosen - rejected),
            "chosen_reward": total(batch, chosen),
            "rejected_reward": total(batch, rejected),
            "chosen_tokens": total(batch, good).float(),
            "rejected_tokens": total(batch, bad).float(),
        }
