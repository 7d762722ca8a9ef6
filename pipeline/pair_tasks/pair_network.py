"""A network that reads two texts together, and a head that says something of them.

A row is `<eos> first <eos> second <eos>`. From the mean hidden states u and v of both texts the head sees u, v, |u - v|
and u v (Conneau et al. 2017, section 3.1). The head is trained with the network, or alone on a network that stays as it
is: a linear probe, which is solved rather than trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.transformer import Transformer
from pipeline.training.data.by_length import ROUND_TO, like_lengths
from pipeline.training.objectives.body_with_head import BodyWithHead

Row = tuple[np.ndarray, np.ndarray]  # ids; part of each: 1 and 2 the texts, 3 what stands between them
AT_ONCE = 64  # rows
PENALTY = 1e-2  # of the probe's weights, on features of unit spread


def row_of(first: np.ndarray, second: np.ndarray, separator: int, context: int) -> Row:
    """One row; of texts that do not fit, the longer one loses its end first."""
    room = context - 3
    over = len(first) + len(second) - room
    if over > 0:
        half = room // 2
        keep = max(half, room - len(second)), max(room - half, room - len(first))
        first, second = first[: keep[0]], second[: keep[1]]
    ids = np.concatenate([[separator], first, [separator], second, [separator]]).astype(np.int64)
    parts = np.full(len(ids), 3, np.int64)
    parts[1 : 1 + len(first)], parts[2 + len(first) : -1] = 1, 2
    return ids, parts


def batch_of(rows: Sequence[Row]) -> dict[str, Tensor]:
    """Rows padded to a common length: `tokens` and `parts` [B, T] int64, 0 where there is nothing."""
    longest = math.ceil(max(len(ids) for ids, _ in rows) / ROUND_TO) * ROUND_TO
    tokens, parts = (np.zeros((len(rows), longest), np.int64) for _ in range(2))
    for number, (ids, own) in enumerate(rows):
        tokens[number, : len(ids)], parts[number, : len(ids)] = ids, own
    return {"tokens": torch.from_numpy(tokens), "parts": torch.from_numpy(parts)}


class PairNetwork(BodyWithHead):
    """A network with a head of `outputs` figures. both_ways: a causal network reads the pair from both sides."""

    def __init__(self, body: Transformer, outputs: int, both_ways: bool = False) -> None:
        super().__init__(body)
        self.both_ways = both_ways
        self.head = nn.Linear(4 * body.config.width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if body.lm_head is not None:  # no token is predicted
            body.lm_head.requires_grad_(False)

    def features(self, tokens: Tensor, parts: Tensor) -> Tensor:
        """What the head sees of each pair, [B, 4 x width] in fp32."""
        both_ways = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device) if self.both_ways else None
        documents = (parts == 0).long()  # what fills a row up is a document of its own
        hidden = self.body.hidden(tokens, documents=documents, both_ways=both_ways).float()
        u, v = (mean_over(hidden, parts == part) for part in (1, 2))
        return torch.cat([u, v, (u - v).abs(), u * v], dim=1)

    def forward(self, tokens: Tensor, parts: Tensor) -> Tensor:
        """The head's figures, [B, outputs]."""
        with torch.autocast(tokens.device.type, enabled=False):
            return self.head(self.features(tokens, parts))


def mean_over(hidden: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the hidden states [B, T, width] where `chosen` [B, T]; 0 where there is none."""
    share = chosen / chosen.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("btw,bt->bw", hidden, share.to(hidden.dtype))


@torch.no_grad()
def computed(network: PairNetwork, rows: Sequence[Row], device: str, features: bool = False) -> Tensor:
    """The head's figures of all rows, or what it sees of them, on the CPU."""
    network.eval()
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    for numbers in like_lengths(np.array([len(ids) for ids, _ in rows]), AT_ONCE):
        batch = {name: tensor.to(device) for name, tensor in batch_of([rows[number] for number in numbers]).items()}
        figures = (network.features(**batch) if features else network(**batch)).float().cpu()
        for number, figure in zip(numbers, figures, strict=True):
            found[number] = figure
    return torch.stack(found)


def probed(learned: Tensor, labels: Tensor, asked: Tensor, classes: int) -> Tensor:
    """What the best linear head on features [n, f] says of others [m, f]: logits [m, classes], or scores [m, 1].

    labels [n]: classes, or scores where `classes` is 0. Ridge regression, or logistic regression by L-BFGS, both with
    PENALTY and in fp64, on features of mean 0 and spread 1.
    """
    learned, asked = learned.double(), asked.double()
    middle, spread = learned.mean(0), learned.std(0).clamp(min=1e-6)
    x, y = ((one - middle) / spread for one in (learned, asked))
    if not classes:
        target = labels.double()
        gram = x.T @ x / len(x) + PENALTY * torch.eye(x.shape[1], dtype=torch.float64)
        return (y @ torch.linalg.solve(gram, x.T @ (target - target.mean()) / len(x)) + target.mean())[:, None]
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), labels) + PENALTY / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)  # type: ignore[arg-type]
    return F.linear(y, weight.detach(), bias.detach())
