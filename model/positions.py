"""Positions of tokens, and the tables by which a network knows them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rotary_table(positions: int, head_width: int, base: float, device: torch.device | None = None) -> Tensor:
    """Cosines and sines, [2, positions, head_width] in fp32: pair i is rotated by position x base^(-2i / head_width).

    Su et al. 2021, section 3.2.2. Pair i is in columns i and i + head_width / 2.
    """
    frequency = 1.0 / base ** (torch.arange(0, head_width, 2, dtype=torch.float32, device=device) / head_width)
    angle = torch.outer(torch.arange(positions, dtype=torch.float32, device=device), frequency)
    return torch.stack([angle.cos(), angle.sin()]).repeat(1, 1, 2)


def sinusoidal_table(positions: int, width: int, device: torch.device | None = None) -> Tensor:
    """[positions, width] in fp32: sines in even columns, cosines in odd ones (Vaswani et al. 2017, section 3.5)."""
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device=device) * (-math.log(10_000.0) / width))
    angle = torch.outer(torch.arange(positions, dtype=torch.float32, device=device), frequency)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def positions_in_documents(documents: Tensor) -> Tensor:
    """Position of each token in its document, [B, T] int64; a document is a run of equal ids in `documents` [B, T]."""
    columns = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    starts = torch.ones_like(documents, dtype=torch.bool)
    starts[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return columns - torch.where(starts, columns, 0).cummax(dim=1).values
