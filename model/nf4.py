"""Weights in four bits: NormalFloat with double quantisation (QLoRA, Dettmers et al. 2023), in plain torch.

A matrix is cut into blocks of 64 weights. Each weight becomes one of 16 levels, which are quantiles of the normal
distribution (appendix E), times the largest absolute weight of its block. Those maxima become 8-bit floats in blocks of
256, after their mean was taken off (section 3). So a weight takes 4 + 8/64 + 32/(64 x 256) = 4.127 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

BLOCK, BLOCK_OF_SCALES = 64, 256
LARGEST = 448.0  # that an 8-bit float (e4m3) holds
LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
PARTS = ("codes", "scales", "second", "mean")  # what stands for a matrix


@torch.no_grad()
def quantise(weight: Tensor) -> dict[str, Tensor]:
    """The parts that stand for a matrix: codes uint8 (two weights a byte), scales float8, second fp32, mean fp32."""
    flat = weight.detach().float().flatten()
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % (2 * BLOCK))).view(-1, BLOCK)
    largest = blocks.abs().amax(1)
    levels = torch.tensor(LEVELS, device=weight.device)
    code = torch.bucketize(blocks / largest.clamp_min(1e-30)[:, None], (levels[1:] + levels[:-1]) / 2)
    pairs = code.to(torch.uint8).view(-1, 2)
    mean = largest.mean()
    around = torch.nn.functional.pad(largest - mean, (0, -len(largest) % BLOCK_OF_SCALES)).view(-1, BLOCK_OF_SCALES)
    second = around.abs().amax(1).clamp_min(1e-30) / LARGEST
    scales = (around / second[:, None]).to(torch.float8_e4m3fn).flatten()[: len(largest)]
    return {"codes": pairs[:, 0] * 16 + pairs[:, 1], "scales": scales.clone(), "second": second, "mean": mean}


@torch.no_grad()
def dequantise(parts: Mapping[str, Tensor], shape: tuple[int, ...], kind: torch.dtype = torch.float32) -> Tensor:
    """The matrix that the parts stand for."""
    codes, scales = parts["codes"], parts["scales"].float()
    levels = torch.tensor(LEVELS, device=codes.device)
    table = torch.stack([levels.repeat_interleave(16), levels.repeat(16)], 1)  # of both weights in a byte
    second = parts["second"].repeat_interleave(BLOCK_OF_SCALES)[: len(scales)]
    largest = scales * second + parts["mean"]
    found = table.index_select(0, codes.int()).view(-1, BLOCK).mul_(largest[:, None])
    count = 1
    for size in shape:
        count *= size
    return found.flatten()[:count].view(shape).to(kind)


class QuantisedWeight(nn.Module):
    """A frozen matrix [out, in] in four bits."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        for name, part in quantise(weight).items():
            self.register_buffer(name, part, persistent=False)

    def parts(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in PARTS}

    def full(self, kind: torch.dtype = torch.float32) -> Tensor:
        return dequantise(self.parts(), self.shape, kind)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T; of the matrix, only the four bits are kept for the backward pass."""
        found: Tensor = _Multiply.apply(x, self.shape, *self.parts().values())
        return found


class BitsandbytesWeight(nn.Module):
    """A frozen matrix [out, in] in four bits by the library bitsandbytes, whose kernels for GPUs do not write it out.

    Its codes are those of `quantise`; its 8-bit scales are on a grid of their own, so that the matrix that comes back
    differs by about 0.4 % of its length. Needs the package `bitsandbytes`.
    """

    codes: Tensor

    def __init__(self, weight: Tensor) -> None:
        from bitsandbytes import functional

        super().__init__()
        self.shape = tuple(weight.shape)
        codes, self.state = functional.quantize_4bit(
            weight.detach(), blocksize=BLOCK, compress_statistics=True, quant_type="nf4"
        )
        self.register_buffer("codes", codes, persistent=False)

    def _apply(self, *given: Any, **named: Any) -> BitsandbytesWeight:
        super()._apply(*given, **named)
        self.state.to(self.codes.device)  # the scales are no buffers of the module
        return self

    def full(self, kind: torch.dtype = torch.float32) -> Tensor:
        from bitsandbytes import functional

        found: Tensor = functional.dequantize_4bit(self.codes, self.state)
        return found.to(kind)

    def forward(self, x: Tensor) -> Tensor:
        import bitsandbytes

        kind = x.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        found: Tensor = bitsandbytes.matmul_4bit(x.to(low), self.codes.t(), quant_state=self.state)
        return found


KERNELS: dict[str, type[QuantisedWeight] | type[BitsandbytesWeight]] = {
    "torch": QuantisedWeight, "bitsandbytes": BitsandbytesWeight,
}  # fmt: skip


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...], *parts: Tensor) -> Tensor:
        kind = x.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        ctx.save_for_backward(*parts)
        ctx.shape, ctx.low, ctx.kind = shape, low, x.dtype
        return x.to(low) @ dequantise(dict(zip(PARTS, parts, strict=True)), shape, low).t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        parts = dict(zip(PARTS, ctx.saved_tensors, strict=True))
        found = grads[0].to(ctx.low) @ dequantise(parts, ctx.shape, ctx.low)
        return found.to(ctx.kind), None, *(None for _ in PARTS)
