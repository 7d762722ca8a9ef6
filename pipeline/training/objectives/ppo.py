"""Proximal policy optimisation: a value for each token, advantages, and the clipped loss.

Schulman et al. 2017 (PPO; equations 7 and 9) with the estimate of advantages of Schulman et al. 2016 (GAE; equation
16), as Ouyang et al. 2022 (section 3.5) use them on a language model: a token is an action, the answer's worth comes
with its last token, and every token costs `beta` times the logarithm of its probability over that of the start.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from model.config import IGNORED
from model.operations import linear_log_probabilities
from model.transformer import Transformer
from pipeline.training.objectives.body_with_head import BodyWithHead
from pipeline.training.objectives.objective import Batch
from pipeline.training.reinforcement_settings import ReinforcementSettings

LEAST_DEVIATION = 1e-8  # added to the deviation of advantages


class PolicyWithValue(BodyWithHead):
    """A network and the vector that reads off each hidden state what is still to come. The value starts at 0."""

    def __init__(self, body: Transformer) -> None:
        super().__init__(body)
        self.value = nn.Parameter(torch.zeros(body.config.width))

    def forward(self, tokens: Tensor, targets: Tensor, chunk: int | None = None) -> tuple[Tensor, Tensor]:
        """(log p of each target, 0 where it is ignored; the value before it), [B, T] in fp32 each."""
        hidden = self.body.hidden(tokens)
        found = linear_log_probabilities(hidden.flatten(0, 1), self.body.output_weight, targets.flatten(), chunk)
        return found.view(targets.shape), hidden.float() @ self.value.float()


def token_rewards(worth: float, log_p: np.ndarray, reference: np.ndarray | None, beta: float) -> np.ndarray:
    """What each token of an answer earns: minus beta times its share of the KL, and for the last the answer's worth.

    log_p, reference: of the answer's tokens, by the network that wrote them and by the start.
    """
    earned = np.zeros(len(log_p)) if reference is None else -beta * (log_p - reference)
    earned[-1] += worth
    return earned


def advantages_of(
    earned: np.ndarray, values: np.ndarray, discount: float, decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns) of an answer's tokens, float64. After the last token nothing is to come."""
    found = np.zeros(len(earned))
    following, advantage = 0.0, 0.0
    for at in range(len(earned) - 1, -1, -1):
        surprise = earned[at] + discount * following - values[at]
        advantage = surprise + discount * decay * advantage
        found[at], following = advantage, values[at]
    return found, found + values


def ppo(network: nn.Module, batch: Batch, settings: ReinforcementSettings) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped loss of the policy and of the value, summed over tokens and scaled, and what is logged.

    batch: tokens, targets, and by token [rows, T]: old (log p when they were written), values (then), advantages,
    returns and, unless beta is 0, reference; scale: answers over tokens of the step, so that the loop's mean over
    answers is a mean over tokens.
    """
    log_p, values = network(batch["tokens"], batch["targets"], settings.chunk)
    learned = batch["targets"] != IGNORED
    ratio = torch.exp(log_p - batch["old"])
    near = settings.clip_range
    policy = -torch.minimum(ratio * batch["advantages"], ratio.clamp(1 - near, 1 + near) * batch["advantages"])
    moved = batch["values"] + (values - batch["values"]).clamp(-settings.value_clip, settings.value_clip)
    value = torch.maximum((values - batch["returns"]).square(), (moved - batch["returns"]).square()) / 2

    def summed(of_tokens: Tensor) -> Tensor:
        return torch.where(learned, of_tokens, 0.0).sum() * batch["scale"]

    loss = summed(policy + settings.value_weight * value)
    with torch.no_grad():
        away = batch["reference"] - log_p if settings.beta else torch.zeros_like(log_p)
        figures = {
            "kl": summed(torch.exp(away) - away - 1),
            "value_loss": summed(value),
            "clipped": summed(((ratio - 1).abs() > near).float()),
            "answer_tokens": learned.sum().float(),
        }
    return loss, {**figures, **dict(zip(batch["counted"], batch["figures"].unbind(), strict=True))}
