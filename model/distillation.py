"""The loss of a student that learns from a teacher's likeliest tokens, computed in chunks as `linear_cross_entropy`.

Hinton et al. 2015 mix two terms: -log p of the next token, and the cross-entropy with the teacher's distribution at a
temperature T, times T squared so that its gradient keeps its size. Of the teacher, only the k likeliest tokens are
known. What it gives to all others is either one more outcome, whose probability the student is to match (`rest`), or is
left out, with the k probabilities scaled to sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.config import IGNORED
from model.operations import logits_into, rows_at_once

LEAST_REST = 1e-6  # of the student's probability of all other tokens: its logarithm stays finite


@dataclass(frozen=True)
class Taught:
    """What a teacher says of the next token of each row of a batch, and how it counts.

    ids, log_p [..., k]: its likeliest tokens and their log-probabilities in nats. A row whose first id is negative has
    no teacher, and only the next token counts.
    """

    ids: Tensor
    log_p: Tensor
    weight: float  # of the teacher's term; the rest is that of the next token
    temperature: float  # 1 with `rest`
    rest: bool


# Not compiled, as linear_cross_entropy.
@torch.compiler.disable
def linear_distillation(
    hidden: Tensor, weight: Tensor, targets: Tensor, taught: Taught, chunk: int | None = None
) -> tuple[Tensor, Tensor]:
    """(sum of both terms over the targets, sum of -log p(target) alone), in nats, fp32; gradients flow from the first.

    hidden [N, width], weight [vocabulary, width], targets [N] int64, of which IGNORED do not count; taught: [N, k].
    chunk: rows at a time; 0: all; None: `rows_at_once`.
    """
    rows = len(hidden) if chunk == 0 else chunk or rows_at_once(weight.shape[0], hidden.device.type)
    found: tuple[Tensor, Tensor] = _LinearDistillation.apply(hidden, weight, targets, taught, rows)
    return found


class _LinearDistillation(torch.autograd.Function):
    """The forward pass computes the gradients chunk by chunk; the backward pass scales them."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, taught: Taught, rows: int
    ) -> tuple[Tensor, Tensor]:
        kind = hidden.device.type
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        low_type = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        low, low_hidden = weight.to(low_type), hidden.to(low_type)
        buffer = torch.empty(min(rows, len(hidden)), len(weight), dtype=torch.float32, device=hidden.device)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hard = torch.zeros_like(total)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = logits_into(buffer, low_hidden[part], low)
            loss, nats, grad = loss_and_gradient(logits, targets[part], taught, part)
            total += loss
            hard += nats
            grad = grad.to(low_type)
            if grad_hidden is not None:
                grad_hidden[part] = grad @ low
            if grad_weight is not None:
                grad_weight += grad.t() @ low_hidden[part]
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.mark_non_differentiable(hard)
        return total, hard

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_weight = (None if grad is None else grad * grads[0] for grad in ctx.saved_tensors)
        return of_hidden, of_weight, None, None, None


def loss_and_gradient(logits: Tensor, targets: Tensor, taught: Taught, part: slice) -> tuple[Tensor, Tensor, Tensor]:
    """(sum of both terms, sum of -log p(target), derivative of the first by the logits) of some rows."""
    included = (targets != IGNORED)[:, None]
    ids, log_q = taught.ids[part].long(), taught.log_p[part].float()
    known = (ids[:, :1] >= 0) & included
    ids = ids.clamp_min(0)
    share = taught.weight * known  # of the teacher's term, by row
    log_p = torch.log_softmax(logits, -1)
    target = targets.clamp_min(0)[:, None]
    nats = -log_p.gather(1, target) * included
    grad = log_p.exp()
    if taught.rest:
        soft, soft_grad = _with_rest(grad, log_p, ids, log_q.exp())
    else:
        q = torch.softmax(log_q / taught.temperature, -1)
        soft, soft_grad = _scaled(logits, ids, q, taught.temperature)
    grad.scatter_add_(1, target, grad.new_full((), -1.0).expand_as(target)).mul_((1 - share) * included)
    grad.add_(soft_grad.mul_(share))
    loss = ((1 - share) * nats + share * soft).sum()
    return loss, nats.sum(), grad


def _with_rest(p: Tensor, log_p: Tensor, ids: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """The cross-entropy over k + 1 outcomes [N, 1], and its derivative by the logits [N, vocabulary]."""
    of_top = p.gather(1, ids)
    top, known = of_top.sum(1, keepdim=True), q.sum(1, keepdim=True)
    rest, q_rest = (1 - top).clamp_min(LEAST_REST), (1 - known).clamp_min(0)
    loss = -(q * log_p.gather(1, ids)).sum(1, keepdim=True) - q_rest * rest.log()
    ratio = q_rest / rest
    grad = p * (known - ratio * top)
    return loss, grad.scatter_add_(1, ids, ratio * of_top - q)


def _scaled(logits: Tensor, ids: Tensor, q: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """T squared times the cross-entropy with q at temperature T [N, 1], and its derivative by the logits."""
    log_p = torch.log_softmax(logits / temperature, -1)
    loss = -(q * log_p.gather(1, ids)).sum(1, keepdim=True) * temperature**2
    grad = log_p.exp_().scatter_add_(1, ids, -q).mul_(temperature)
    return loss, grad
