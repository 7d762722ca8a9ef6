"""Heads that predict tokens further ahead: a training signal of their own, gone from the finished model.

Gloeckle et al. 2024, "Better & Faster Large Language Models via Multi-token Prediction" (arXiv 2404.19737), section 2:
the blocks but for the last are shared, the last one predicts the next token, and for each token further ahead there is
another block beside it. All share the last norm and the output matrix. Without these blocks the network is the plain
`Transformer`, in the same layout and with the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from model.config import IGNORED, ModelConfig
from model.operations import linear_cross_entropy
from model.transformer import Block, Transformer, initialise

PREFIX = "ahead."  # of the names of their parameters


def network(config: ModelConfig, ahead: int = 0) -> Transformer:
    """A network to train, which also predicts `ahead` tokens after the next one."""
    return LookingAhead(config, ahead) if ahead else Transformer(config)


class LookingAhead(Transformer):
    """A `Transformer` with `ahead` further blocks beside its last one.

    The weights of the network itself are drawn first, so they start as they would without the others.
    """

    def __init__(self, config: ModelConfig, ahead: int) -> None:
        super().__init__(config)
        self.ahead = nn.ModuleList(Block(self.config, self.config.layers + number) for number in range(ahead))
        initialise(self.ahead.named_parameters(), self.config)

    def forward(self, tokens: Tensor, targets: Tensor | None = None, *, further: bool = False, **given: Any) -> Any:
        """What `Transformer` returns or, with `further`, the result of `losses`; a call, for what wraps it."""
        if further:
            assert targets is not None
            return self.losses(tokens, targets, **given)
        return super().forward(tokens, targets, **given)

    def losses(
        self,
        tokens: Tensor,
        targets: Tensor,
        documents: Tensor | None = None,
        positions: Tensor | None = None,
        chunk: int | None = None,
        z_loss: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Sums of -log p in nats: (of the next tokens, of all tokens further ahead); arguments as in `loss`."""
        x, around = self.entered(tokens, positions, documents)
        *shared, last = self.model.layers
        x = self.through(shared, x, around)
        sums = []
        for distance, block in enumerate([last, *self.ahead]):
            hidden = self.model.norm(self.through([block], x, around)).flatten(0, 1)
            wanted = further_ahead(targets, documents, distance).flatten()
            sums.append(linear_cross_entropy(hidden, self.output_weight, wanted, chunk, z_loss)[0])
        return sums[0], torch.stack(sums[1:]).sum()

    def drop_heads(self) -> Transformer:
        """Remove what looks further ahead, in place."""
        self.ahead = nn.ModuleList()
        return self


def further_ahead(targets: Tensor, documents: Tensor | None, distance: int) -> Tensor:
    """The targets [B, T] of a head that predicts `distance` tokens after the next one.

    Nothing is predicted from where the next token is none of the targets, nor from one of `documents` [B, T] into
    another (but for what begins the next one, as for the next token), nor beyond the row.
    """
    if not distance:
        return targets
    ahead = torch.full_like(targets, IGNORED)
    ahead[:, :-distance] = targets[:, distance:]
    if documents is not None:
        ahead[:, :-distance][documents[:, distance:] != documents[:, :-distance]] = IGNORED
    return torch.where(targets == IGNORED, targets, ahead)


def of_the_model(weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Those of the named weights that the finished model has."""
    return ((name, weight) for name, weight in weights if not name.startswith(PREFIX))
