"""Muon as torch has it, but in the number format that the device multiplies fast.

The one idea: an update is the momentum with all its singular values pushed towards 1, by five steps of a polynomial in
matrix multiplications. torch makes these in bf16 always. A CPU without AMX takes four times as long for that as in
fp32: of a demonstration's step it was a third (docs/results/training-speed.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline.training import machine

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan 2024: steepest at 0, singular values end between 0.7 and 1.2
ROUNDS = 5
TOGETHER = 2**20  # numbers in one product: many small matrices fill all threads, too many leave the cache


class Muon(torch.optim.Muon):
    """torch's own but for `step`; its state is the same, and so are its bits where the number format is.

    Updates are scaled as in Liu et al. 2025 (Moonlight, section 2.2), to be as large as AdamW's: both follow one rate.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the weights along the momentum of their gradients, looked ahead (Nesterov)."""
        for group in self.param_groups:
            for weights in alike([weight for weight in group["params"] if weight.grad is not None]):
                dtype = fast_format(weights[0].device)
                updates = orthogonal(
                    torch.stack([self.ahead(weight, group["momentum"]).to(dtype) for weight in weights])
                )
                for weight, update in zip(weights, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(weight.shape)))

    def ahead(self, weight: Tensor, decay: float) -> Tensor:
        """The gradient, moved towards the momentum, which takes the gradient in."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight.grad)
        momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - decay)
        return weight.grad.lerp(momentum, decay)


def alike(weights: list[Tensor]) -> list[list[Tensor]]:
    """Weights of one shape and device side by side: as many as TOGETHER numbers, at least two."""
    same: dict[tuple[torch.Size, torch.device], list[Tensor]] = {}
    for weight in weights:
        same.setdefault((weight.shape, weight.device), []).append(weight)
    groups = []
    for group in same.values():
        size = max(2, TOGETHER // group[0].numel())
        groups += [group[at : at + size] for at in range(0, len(group), size)]
    return groups


def fast_format(device: torch.device) -> torch.dtype:
    """fp32 on a CPU without AMX, bf16 elsewhere."""
    return torch.bfloat16 if machine.bf16_is_fast(device.type) else torch.float32


def orthogonal(matrices: Tensor) -> Tensor:
    """U V^T, nearly, of each of [matrices, rows, columns] = U S V^T: a Newton-Schulz iteration (Jordan 2024)."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT.contiguous() if tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(ROUNDS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
