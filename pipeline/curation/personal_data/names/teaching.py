"""Teaches the tagger of names: a conditional random field, fitted with Adagrad, rounded to whole numbers.

Lafferty, McCallum and Pereira 2001. Only this file imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.curation.personal_data.names.features import ROWS, rows_of
from pipeline.curation.personal_data.names.tagger import IMPOSSIBLE, INSIDE, OUTSIDE, UNIT, Tagger, labelled
from pipeline.curation.personal_data.names.words import Usual, usual

if TYPE_CHECKING:
    import torch


# How much likelier (in nats) a name is taken to begin than the field says. Text without names makes it cautious; this
# gives recall back (docs/results/personal-data.md has the curve). At Latin words, and at Hangul.
LEAN = (0.75, 1.0)


@dataclass(frozen=True)
class Example:
    """A text and its names: start and end in code points. `others`: what is named there and is nobody, by kind."""

    text: str
    names: tuple[tuple[int, int], ...] = ()
    others: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class Teaching:
    """How the field is fitted; the values were chosen on held-out sentences (docs/results/personal-data.md)."""

    epochs: int = 5
    averaged: int = 2  # last epochs whose weights are averaged (Collins 2002)
    rate: float = 0.15
    decay: float = 2e-5  # of the squared weights, a batch
    dropped: float = 0.15  # share of features left out, anew in each batch
    batch: int = 128  # segments
    seed: int = 0


def teach(examples: Sequence[Example], plain: Sequence[str], how: Teaching | None = None) -> Tagger:
    """The tagger that agrees best with `examples`; `plain` is text in which it is counted how words are written.

    One thread, so that the same texts give the same bytes however many cores the machine has.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _taught(examples, plain, how or Teaching())
    finally:
        torch.set_num_threads(threads)


def _taught(examples: Sequence[Example], plain: Sequence[str], how: Teaching) -> Tagger:
    import torch

    known = usual(plain)
    tokens, tags = labelled([example.text for example in examples], [example.names for example in examples])
    rows, wanted = torch.from_numpy(rows_of(tokens, known)), torch.from_numpy(tags.astype(np.int64))
    first = np.flatnonzero(np.diff(tokens.segment, prepend=-1))
    lengths = np.diff(np.append(first, len(tags)))
    keep = lengths > 1  # the margins of texts are segments of one sign
    first, lengths = first[keep], lengths[keep]

    draw = torch.Generator().manual_seed(how.seed)
    weights = torch.zeros(ROWS, 2, requires_grad=True)
    moves, start = torch.zeros(3, 3, requires_grad=True), torch.zeros(3, requires_grad=True)
    fit = torch.optim.Adagrad([weights, moves, start], lr=how.rate)
    # Segments of about one length together; the order of batches is drawn.
    order = np.argsort(lengths, kind="stable")
    batches = [order[at : at + how.batch] for at in range(0, len(order), how.batch)]
    mean = [torch.zeros_like(part) for part in (weights, moves, start)]
    for epoch in range(how.epochs):
        for number in torch.randperm(len(batches), generator=draw).tolist():
            chosen = batches[number]
            longest = int(lengths[chosen].max())
            inside = torch.from_numpy(np.arange(longest) < lengths[chosen][:, None])
            places = torch.from_numpy(np.minimum(first[chosen][:, None] + np.arange(longest), len(tags) - 1))
            scores = _scores(weights, rows[places], how.dropped, draw)
            loss = _loss(scores, wanted[places], inside, moves, start)
            loss = loss + how.decay * len(batches) * weights.square().sum() * len(chosen) / how.batch
            fit.zero_grad()
            loss.backward()
            fit.step()
        if epoch >= how.epochs - how.averaged:
            for total, part in zip(mean, (weights, moves, start), strict=True):
                total += part.detach() / min(how.averaged, how.epochs)
    return _rounded(mean[0], mean[1], mean[2], known)


def _scores(weights: torch.Tensor, rows: torch.Tensor, dropped: float, draw: torch.Generator) -> torch.Tensor:
    """[segments, tokens, 3]; a share of the features is left out and the rest weighs more."""
    import torch
    import torch.nn.functional as F

    count, length, features = rows.shape
    kept = (torch.rand(count * length, features, generator=draw) >= dropped) / (1 - dropped)
    summed = F.embedding_bag(rows.view(-1, features).long(), weights, mode="sum", per_sample_weights=kept)
    return F.pad(summed.view(count, length, 2), (1, 0))


def _loss(
    scores: torch.Tensor, wanted: torch.Tensor, inside: torch.Tensor, moves: torch.Tensor, start: torch.Tensor
) -> torch.Tensor:
    """Minus the log-probability of the wanted tags, summed over all segments."""
    import torch

    barred = torch.zeros(3, 3)
    barred[OUTSIDE, INSIDE] = IMPOSSIBLE
    moves = moves + barred
    first = start + torch.tensor([0.0, 0.0, float(IMPOSSIBLE)])
    alpha = scores[:, 0] + first
    right = scores.gather(2, wanted[:, :, None])[:, :, 0]
    total = right[:, 0] + first[wanted[:, 0]]
    for step in range(1, scores.shape[1]):
        here = inside[:, step]
        ahead = torch.logsumexp(alpha[:, :, None] + moves, dim=1) + scores[:, step]
        alpha = torch.where(here[:, None], ahead, alpha)
        gained = right[:, step] + moves[wanted[:, step - 1], wanted[:, step]]
        total = total + torch.where(here, gained, torch.zeros(()))
    return (torch.logsumexp(alpha, dim=1) - total).sum()


def _rounded(weights: torch.Tensor, moves: torch.Tensor, start: torch.Tensor, known: Usual) -> Tagger:
    small = np.clip(np.rint(weights.numpy() * UNIT), -127, 127).astype(np.int8)
    between = np.rint(moves.numpy() * UNIT).astype(np.int32)
    between[OUTSIDE, INSIDE] = IMPOSSIBLE
    first = np.rint(start.numpy() * UNIT).astype(np.int32)
    first[INSIDE] = IMPOSSIBLE
    lean = np.array([round(value * UNIT) for value in LEAN], dtype=np.int32)
    return Tagger(small, between, first, lean, known)


def agreement(found: Sequence[set[tuple[int, int]]], wanted: Sequence[set[tuple[int, int]]]) -> tuple[float, float]:
    """Recall and precision by whole names: a name counts if both its ends are right."""
    right = sum(len(one & other) for one, other in zip(found, wanted, strict=True))
    return right / max(1, sum(map(len, wanted))), right / max(1, sum(map(len, found)))
