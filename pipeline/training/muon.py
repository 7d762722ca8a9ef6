"""torch's Muon, but in the number format in which the device multiplies fastest; and NorMuon.

A Muon update is the momentum with all its singular values pushed towards 1, by five iterations of a matrix polynomial.
torch always computes these in bf16. On a CPU without units for it that takes four times as long as in fp32, a third of
a step of the demonstration (docs/results/training-speed.md); on one with them, a quarter as long. The format is
measured once a machine (`machine.muon_precision`) and given to the optimiser.

The polynomials are Jordan's, or those of Polar Express, which differ from round to round. NorMuon then divides each row
of an update by a running mean of its size, as Adam does for each weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Polynomials:
    """Odd polynomials a x + b x^3 + c x^5, one a round, which bring singular values in (0, 1] near 1."""

    rounds: tuple[tuple[float, float, float], ...]
    room: float = 1.0  # how far above 1 rounding may bring the largest singular value

    @property
    def evaluated(self) -> tuple[tuple[float, float, float], ...]:
        """The same with that room in all rounds but the last."""
        *most, last = self.rounds
        room = self.room
        return (*((a / room, b / room**3, c / room**5) for a, b, c in most), last)


# Jordan 2024: steepest at 0, singular values end between 0.7 and 1.2.
NEWTON_SCHULZ = Polynomials(((3.4445, -4.7750, 2.0315),) * 5)
# Amsel et al. 2025, "The Polar Express" (arXiv 2505.16932), algorithm 1: in each round, of all such polynomials, the
# one whose largest error is the least, for singular values from 0.001 on. tests/training/test_muon.py derives them.
POLAR_EXPRESS = Polynomials(
    (
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    ),
    room=1.01,
)
POLYNOMIALS = {"newton_schulz": NEWTON_SCHULZ, "polar_express": POLAR_EXPRESS}
ROW_DECAY = 0.95  # of NorMuon's mean of squares (Li et al. 2025, section 4: beta2)
ROW_EPS = 1e-8
BATCH_ELEMENTS = 2**20  # per batched product: several small matrices use all threads, too many overflow the cache


class Muon(torch.optim.Muon):
    """torch's Muon with another `step`. Its state is the same, and so are its results in the same number format.

    Updates are scaled to the size of AdamW's (Liu et al. 2025, Moonlight, section 2.2), so both use one learning rate.
    """

    multiplies_in: torch.dtype = torch.float32  # the number format of its rounds of multiplications
    cautious: bool = False  # decay only what the update moves towards 0 (Chen et al. 2025, Cautious Weight Decay)
    polynomials: Polynomials = NEWTON_SCHULZ
    by_rows: bool = False  # NorMuon
    # A loss scaler (fp16) then leaves it to `step` to skip an update: in `found_inf`, on the device, it says whether a
    # gradient overflowed. Otherwise it would wait for the device in each step, to skip the call of `step`.
    _step_supports_amp_scaling = True
    found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update the weights by the orthogonalised Nesterov momentum of their gradients."""
        overflow = self.found_inf
        for group in self.param_groups:
            for weights in batched_by_shape([weight for weight in group["params"] if weight.grad is not None]):
                dtype = self.multiplies_in
                updates = orthogonal(
                    torch.stack([self.nesterov(weight, group["momentum"]).to(dtype) for weight in weights]),
                    self.polynomials,
                )
                size = math.sqrt(max(weights[0].shape))  # at which the weights of an update have a mean square of 1
                if self.by_rows:
                    scaled = [self.with_rows_alike(*pair) for pair in zip(weights, updates, strict=True)]
                    updates, size = torch.stack(scaled), 1.0
                kept: float | Tensor = 1 - group["lr"] * group["weight_decay"]
                if overflow is not None:
                    kept, updates = torch.where(overflow > 0, 1.0, kept), torch.where(overflow > 0, 0.0, updates)
                for weight, update in zip(weights, updates, strict=True):
                    weight.mul_(torch.where(update * weight > 0, kept, 1.0) if self.cautious else kept)
                    weight.add_(update, alpha=-group["lr"] * 0.2 * size)

    def nesterov(self, weight: Tensor, decay: float) -> Tensor:
        """Update the momentum with the gradient, and return the gradient interpolated towards it."""
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight.grad)
        momentum, grad = state["momentum_buffer"], weight.grad
        if self.found_inf is not None:
            grad = torch.where(self.found_inf > 0, momentum, grad)  # which leaves the momentum as it is
        momentum.lerp_(grad, 1 - decay)
        return grad.lerp(momentum, decay)

    def with_rows_alike(self, weight: Tensor, update: Tensor) -> Tensor:
        """An update whose rows are divided by the running size of that row, with a mean square of 1.

        Li et al. 2025, "NorMuon" (arXiv 2510.05491), algorithm 1: rows are units (of a weight [outside, inside]), whose
        sizes differ widely in an orthogonalised update.
        """
        state, update = self.state[weight], update.to(weight.dtype)
        if "row_squares" not in state:
            state["row_squares"] = torch.zeros_like(update[:, 0])
        mean, squares = state["row_squares"], update.square().mean(1)
        if self.found_inf is not None:
            squares = torch.where(self.found_inf > 0, mean, squares)
        mean.lerp_(squares, 1 - ROW_DECAY)
        scaled = update / (mean.sqrt() + ROW_EPS)[:, None]
        return scaled * (math.sqrt(scaled.numel()) / scaled.norm().clamp(min=ROW_EPS))


def batched_by_shape(weights: list[Tensor]) -> list[list[Tensor]]:
    """Batches of weights of the same shape and device, of at most BATCH_ELEMENTS elements or two weights."""
    by_shape: dict[tuple[torch.Size, torch.device], list[Tensor]] = {}
    for weight in weights:
        by_shape.setdefault((weight.shape, weight.device), []).append(weight)
    groups = []
    for group in by_shape.values():
        size = batch_size(group[0].numel())
        groups += [group[at : at + size] for at in range(0, len(group), size)]
    return groups


def batch_size(elements: int) -> int:
    """How many weights of so many elements are updated by one batched product."""
    return max(2, BATCH_ELEMENTS // elements)


def orthogonal(matrices: Tensor, polynomials: Polynomials = NEWTON_SCHULZ) -> Tensor:
    """Approximately U V^T for each matrix U S V^T of [matrices, rows, columns]: Newton-Schulz (Jordan 2024)."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT.contiguous() if tall else matrices
    x = x / (x.flatten(1).norm(dim=1) * polynomials.room).clamp(min=1e-7)[:, None, None]
    for a, b, c in polynomials.evaluated:
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
