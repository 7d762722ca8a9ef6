"""SOAP: Adam in the basis in which Shampoo would precondition (Vyas et al. 2024, arXiv 2409.11321, algorithm 3).

For each matrix, the means of G G^T and G^T G over the steps have eigenvectors, in whose basis a gradient is Adam's. The
basis is brought up to date every few steps, by one step of power iteration and a QR decomposition (algorithm 4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

EPS = 1e-8


class SOAP(torch.optim.Optimizer):
    """AdamW for matrices, each in its own slowly turning basis.

    every: steps from one basis to the next (section 6.1: 10). Decay rates of the means of G G^T and G^T G are that of
    Adam's second moment, as in the paper. Its bias is corrected as Adam's, in the first step, too.
    """

    def __init__(
        self, matrices: Iterable[Tensor], lr: float, betas: tuple[float, float], weight_decay: float, every: int
    ) -> None:
        super().__init__(matrices, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "every": every})
        self.steps = 0  # as in the state, where the device would have to be asked

    def count_again(self) -> None:
        """Take the number of steps from a state that was loaded."""
        self.steps = max((int(state["step"]) for state in self.state.values()), default=0)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update the weights."""
        self.steps += 1
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(self.update(weight, weight.grad, group), alpha=-group["lr"])

    def update(self, weight: Tensor, grad: Tensor, group: dict[str, Any]) -> Tensor:
        """Adam's update in the basis of the matrix, turned back; its state takes in the gradient."""
        first, second = group["betas"]
        state = self.state[weight]
        if not state:
            state.update(started(grad))
        step = self.steps
        if step > 1 and (step - 1) % group["every"] == 0:
            state["left"], state["right"] = (
                turned(state["rows"], state["left"]),
                turned(state["columns"], state["right"]),
            )
        state["step"].fill_(step)
        state["rows"].lerp_(grad @ grad.mT, 1 - second)
        state["columns"].lerp_(grad.mT @ grad, 1 - second)
        state["momentum"].lerp_(grad, 1 - first)
        left, right = state["left"], state["right"]
        inside = left.mT @ grad @ right
        state["squares"].lerp_(inside.square(), 1 - second)
        size = (state["squares"] / (1 - second**step)).sqrt().add_(EPS)
        momentum = left.mT @ (state["momentum"] / (1 - first**step)) @ right
        return left @ (momentum / size) @ right.mT


def started(grad: Tensor) -> dict[str, Tensor]:
    """The state before the first step; its basis is that of the first gradient."""
    rows, columns = grad @ grad.mT, grad.mT @ grad
    return {
        "step": torch.zeros((), device=grad.device),
        "momentum": torch.zeros_like(grad),
        "squares": torch.zeros_like(grad),
        "rows": torch.zeros_like(rows),
        "columns": torch.zeros_like(columns),
        "left": torch.linalg.eigh(rows).eigenvectors,
        "right": torch.linalg.eigh(columns).eigenvectors,
    }


def turned(mean: Tensor, basis: Tensor) -> Tensor:
    """Nearly the eigenvectors of a mean [n, n], from those of an earlier one (algorithm 4)."""
    return torch.linalg.qr(mean @ basis).Q
