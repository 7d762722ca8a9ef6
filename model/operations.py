"""Operations with hand-written derivatives: RMSNorm, rotary positions, cross-entropy, log-probabilities.

In a small model the matrix multiplications are short, so the operations between them matter. torch runs each of these
as a chain of small operations, forward and backward, with a pass over memory for each; the hand-written versions
take the fewest passes (docs/results/training-speed.md has the times). `torch.compile` fuses such chains itself and gets
the plain formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import IGNORED

# -- RMSNorm -----------------------------------------------------------------------------------------------------------


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dimension (Zhang & Sennrich 2019)."""
    if x.device.type == "cpu" and x.dtype != weight.dtype:  # the same bits as torch's formula for both, which warns
        return F.rms_norm(x.to(weight.dtype), weight.shape, weight, eps).to(x.dtype)
    by_hand = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32  # GPUs have a fused kernel
    if torch.compiler.is_compiling() or not by_hand or not torch.is_grad_enabled():
        return F.rms_norm(x, weight.shape, weight, eps)
    return _RMSNorm.apply(x, weight, eps)


class _RMSNorm(torch.autograd.Function):
    """y = x r w with r = 1 / rms(x), so for g = dL/dy: dx = r g w - x r^3 mean(x g w), dw = sum over rows of g x r."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        mean_square = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).square_().div_(rows.shape[-1])
        scale = mean_square.add_(eps).rsqrt_()
        ctx.save_for_backward(rows, scale, weight)
        return (rows * scale).mul_(weight).view(x.shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, scale, weight = ctx.saved_tensors
        grad = grads[0].reshape(rows.shape)
        product = grad * rows
        with torch.autocast(rows.device.type, enabled=False):
            grad_weight = scale.view(-1) @ product
            inner = (product @ weight).view(-1, 1)
        inner.mul_(scale**3).div_(-rows.shape[-1])
        return (grad * weight).mul_(scale).addcmul_(rows, inner).view(grads[0].shape), grad_weight, None


# -- rotation ----------------------------------------------------------------------------------------------------------


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each head of `x` [B, T, heads, head_width] by its position; `cos`, `sin` [B or 1, T, 1, head_width].

    Element i is paired with element i + head_width / 2, as in Hugging Face's Llama: (a, b) becomes (a cos - b sin,
    b cos + a sin). (Su et al. 2021 pair neighbours, which is the same network with its rows in another order.)
    """
    if torch.compiler.is_compiling():
        return _rotated(x, cos, sin)
    return _Rotation.apply(x, cos, sin)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    if torch.compiler.is_compiling():
        a, b = x.chunk(2, dim=-1)
        cos, sin = cos[..., :half], sin[..., :half]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
    y = x * cos  # in fp32, for x of any type
    y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    y[..., half:].addcmul_(x[..., :half], sin[..., :half])
    return y.to(x.dtype)


class _Rotation(torch.autograd.Function):
    """The derivative of a rotation is the inverse rotation."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _rotated(grads[0], cos, -sin), None, None


# -- cross-entropy -----------------------------------------------------------------------------------------------------


# Not compiled: torch.compile would spend minutes unrolling the loop over chunks, and its log_softmax is slower.
@torch.compiler.disable
def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    chunk: int | None = None,
    z_loss: float = 0.0,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(sum of -log p(target) in nats as fp32, number of targets).

    `hidden` [N, width], `weight` [vocabulary, width], `targets` [N] int64; targets of IGNORED (-100) do not count.

    The logits of a batch are the largest tensor in the training of a small model, but only needed for two smaller
    ones: the gradients of `hidden` and of `weight`. So the forward pass computes the logits chunk by chunk in a small
    buffer, with the loss and the gradients of each chunk; the backward pass only scales them. (As in Liger Kernel, Hsu
    et al. 2024, and torch's `F.linear_cross_entropy`, which has neither the count nor the z-loss.)

    chunk: rows at a time; 0 = all at once, through autograd; None = `rows_at_once`. z_loss: adds z_loss x log(Z)^2 for
    each target, which keeps logits from drifting (PaLM, Chowdhery et al. 2022, section 5: 1e-4). weights: [N], by which
    the terms of the sum are multiplied.
    """
    included = targets != IGNORED
    if chunk == 0:
        logits = F.linear(hidden, weight).float()
        counted = included if weights is None else included * weights
        if weights is None:
            total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        else:
            total = (F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none") * weights).sum()
        if z_loss:
            total = total + z_loss * (logits.logsumexp(-1).square() * counted).sum()
        return total, included.sum()
    rows = chunk or rows_at_once(weight.shape[0], hidden.device.type)
    return _LinearCrossEntropy.apply(hidden, weight, targets, rows, z_loss, weights), included.sum()


def rows_at_once(vocabulary: int, device: str) -> int:
    """Rows whose logits are computed at once: 2^22 logits on a CPU, 2^25 elsewhere, but at least 512 rows.

    Every chunk reads and writes the full matrix [vocabulary, width] and its gradient. Chunks of 131 rows instead of 512
    made the loss of 32,000 tokens 15 % slower in fp32 and 75 % in bf16 (docs/results/training-speed.md).
    """
    return max(512, (2**22 if device == "cpu" else 2**25) // vocabulary)


def logits_into(buffer: Tensor, part: Tensor, low: Tensor) -> Tensor:
    """Logits of some rows in fp32, in the first rows of `buffer`; `part` and `low` are of the type to multiply in."""
    logits = buffer[: len(part)]
    if low.dtype == torch.float32:
        torch.mm(part, low.t(), out=logits)
    else:
        logits.copy_(part @ low.t())
    return logits


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        rows: int,
        z_loss: float,
        weights: Tensor | None = None,
    ) -> Tensor:
        kind = hidden.device.type
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        # Matrix products use autocast's type, everything else fp32, in one buffer for all chunks.
        low_type = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        low, low_hidden = weight.to(low_type), hidden.to(low_type)
        buffer = torch.empty(min(rows, len(hidden)), len(weight), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(hidden), rows):
            part, target = low_hidden[start : start + rows], targets[start : start + rows, None]
            included = target != IGNORED
            if weights is not None:
                included = included * weights[start : start + rows, None]
            target = target.clamp_min(0)
            logits = logits_into(buffer, part, low)
            logit_of_target = logits.gather(1, target)
            # In place on a CPU, whose kernel has read a row before it writes to it (a test checks this).
            log_p = torch.log_softmax(logits, -1, out=logits if kind == "cpu" else None)
            log_p_target = log_p.gather(1, target)
            log_z = logit_of_target - log_p_target
            total += ((z_loss * log_z.square() - log_p_target) * included).sum()
            if grad_hidden is None and grad_weight is None:
                continue
            # The derivative by the logits: softmax x (1 + 2 z_loss log Z) - onehot(target); 0 for ignored targets.
            grad = log_p.exp_()
            if z_loss:
                grad.mul_(1 + 2 * z_loss * log_z)
            grad.scatter_add_(1, target, grad.new_full((), -1.0).expand_as(target)).mul_(included)
            grad = grad.to(low_type)
            if grad_hidden is not None and grad_hidden.dtype == low_type:
                torch.mm(grad, low, out=grad_hidden[start : start + rows])
            elif grad_hidden is not None:
                grad_hidden[start : start + rows] = grad @ low
            if grad_weight is not None and grad_weight.dtype == low_type:
                grad_weight.addmm_(grad.t(), part)
            elif grad_weight is not None:
                grad_weight += grad.t() @ part
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * grads[0],
            None if grad_weight is None else grad_weight * grads[0],
            None,
            None,
            None,
            None,
        )


# -- log-probabilities -------------------------------------------------------------------------------------------------


@torch.compiler.disable
def linear_log_probabilities(hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int | None = None) -> Tensor:
    """log p(target) in nats for each row, [N] in fp32; 0 for targets of IGNORED.

    Arguments are those of `linear_cross_entropy`. Here the gradients depend on what is made of the values, so the
    forward pass cannot compute them: the backward pass computes the logits of a chunk once more, unless all rows fit
    into one. On a CPU, rows that do not count are left out; elsewhere finding them would wait for the device, and give
    another shape each time.
    """
    included = targets != IGNORED
    counted = torch.nonzero(included)[:, 0] if hidden.device.type == "cpu" else None
    if counted is not None:
        found = _log_probabilities(hidden.index_select(0, counted), weight, targets.index_select(0, counted), chunk)
        return found.new_zeros(len(targets)).index_copy(0, counted, found)
    found = _log_probabilities(hidden, weight, targets.clamp_min(0), chunk)
    return torch.where(included, found, 0.0)


def _log_probabilities(hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int | None) -> Tensor:
    if chunk == 0:
        logits = F.linear(hidden, weight).float()
        return logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(-1)
    rows = chunk or rows_at_once(weight.shape[0], hidden.device.type)
    return _LinearLogProbabilities.apply(hidden, weight, targets, rows)


class _LinearLogProbabilities(torch.autograd.Function):
    """log p(target); its derivative by the logits is onehot(target) - softmax."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, rows: int) -> Tensor:
        kind = hidden.device.type
        ctx.rows = rows
        ctx.low_type = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        found = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        log_p = None
        for start, log_p in _in_chunks(hidden, weight, rows, ctx.low_type):
            found[start : start + rows] = log_p.gather(1, targets[start : start + rows, None])[:, 0]
        ctx.save_for_backward(hidden, weight, targets, log_p if len(hidden) <= rows else None)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, kept = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        low, low_hidden = weight.to(ctx.low_type), hidden.to(ctx.low_type)
        chunks = _in_chunks(hidden, weight, ctx.rows, ctx.low_type) if kept is None else [(0, kept.clone())]
        for start, log_p in chunks:
            part = slice(start, start + ctx.rows)
            factor = grads[0][part, None]
            grad = log_p.exp_().mul_(-factor).scatter_add_(1, targets[part, None], factor).to(ctx.low_type)
            if grad_hidden is not None:
                grad_hidden[part] = grad @ low
            if grad_weight is not None:
                grad_weight += grad.t() @ low_hidden[part]
        return grad_hidden, grad_weight, None, None


def _in_chunks(hidden: Tensor, weight: Tensor, rows: int, low_type: torch.dtype) -> Iterator[tuple[int, Tensor]]:
    """(number of the first row, log-probabilities [rows, vocabulary] in fp32) of one chunk after another."""
    kind = hidden.device.type
    low, low_hidden = weight.to(low_type), hidden.to(low_type)
    buffer = torch.empty(min(rows, len(hidden)), len(weight), dtype=torch.float32, device=hidden.device)
    for start in range(0, len(hidden), rows):
        logits = logits_into(buffer, low_hidden[start : start + rows], low)
        yield start, torch.log_softmax(logits, -1, out=logits if kind == "cpu" else None)
