"""Muon as torch has it, but in the number format that the device multiplies fast.

The one idea: an update is the momentum with all its singular values pushed towards 1, by five steps of a polynomial in
matrix multiplications. torch makes these in bf16 always. A CPU without AMX takes four times as long for that as in
fp32: of a demonstration's step it was a third (docs/training-speed.md).
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


class Muon(torch.optim.Muon):
    """torch's own but for `step`; its state is the same, and so are its bits where the number format is.

    Updates are scaled as in Liu et al. 2025 (Moonlight, section 2.2), to be as large as AdamW's: both follow one rate.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move the weights along the momentum of their gradients, looked ahead (Nesterov)."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                momentum = state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(momentum, group["momentum"]), fast_format(weight.device))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(weight.shape)))


def fast_format(device: torch.device) -> torch.dtype:
    """fp32 on a CPU without AMX, bf16 elsewhere."""
    return torch.bfloat16 if machine.bf16_is_fast(device.type) else torch.float32


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """U V^T, nearly, of a matrix [rows, columns] = U S V^T, in `dtype`: a Newton-Schulz iteration (Jordan 2024)."""
    a, b, c = COEFFICIENTS
    x = matrix.to(dtype, copy=True)
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    x.div_(x.norm().clamp(min=1e-7))
    for _ in range(ROUNDS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x
