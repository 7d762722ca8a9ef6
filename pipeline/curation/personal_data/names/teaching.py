"""Teaches the tagger of names: a conditional random field, fitted with Adagrad, rounded to whole numbers.

Lafferty, McCallum and Pereira 2001. Only this file imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.curation.personal_data.names.features import ROWS, hash_of, rows_of
from pipeline.curation.personal_data.names.tagger import BEGIN, IMPOSSIBLE, INSIDE, OUTSIDE, UNIT, Tagger, labelled

if TYPE_CHECKING:
    import torch


# How much likelier (in nats) a name is taken to begin than the field says. Text without names makes it cautious; this
# gives recall back (docs/results/personal-data.md has the curve).
LEAN = 1.0


@dataclass(frozen=True)
class Example:
    """A text and its names: start and end in code points. `others`: what is named there and is nobody, by kind."""

    text: str
    names: tuple[tuple[int, int], ...] = ()
    others: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class Teaching:
    """How the field is fitted; the values were chosen on held-out sentences (docs/results/personal-data.md)."""

    epochs: int = 6
    rate: float = 0.15
    decay: float = 2e-5  # of the squared weights, a batch
    dropped: float = 0.15  # share of features left out, anew in each batch
    batch: int = 128  # segments
    seed: int = 0


def usually_small(texts: Sequence[str], least: int = 5) -> NDArray[np.uint64]:
    """Sorted hashes of Latin words written in small letters `least` times, and four times as often as otherwise."""
    import re
    from collections import Counter

    small: Counter[str] = Counter()
    capital: Counter[str] = Counter()
    for text in texts:
        for word in re.findall(r"[^\W\d_]+", text):
            if word[0].isupper():
                capital[word.lower()] += 1
            elif word.isascii():
                small[word] += 1
    words = [word for word, count in small.items() if count >= least and count >= 4 * capital[word]]
    return np.sort(np.array([hash_of(word) for word in words], dtype=np.uint64))


def teach(examples: Sequence[Example], plain: Sequence[str], how: Teaching | None = None) -> Tagger:
    """The tagger that agrees best with `examples`; `plain` is text in which words in small letters are counted."""
    import torch

    how = how or Teaching()
    lowercase = usually_small(plain)
    tokens, tags = labelled([example.text for example in examples], [example.names for example in examples])
    rows, wanted = torch.from_numpy(rows_of(tokens, lowercase)), torch.from_numpy(tags.astype(np.int64))
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
    for _ in range(how.epochs):
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
    return _rounded(weights, moves, start, lowercase)


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


def _rounded(weights: torch.Tensor, moves: torch.Tensor, start: torch.Tensor, lowercase: NDArray[np.uint64]) -> Tagger:
    small = np.clip(np.rint(weights.detach().numpy() * UNIT), -127, 127).astype(np.int8)
    between = np.rint(moves.detach().numpy() * UNIT).astype(np.int32)
    between[:, BEGIN] += round(LEAN * UNIT)
    between[OUTSIDE, INSIDE] = IMPOSSIBLE
    first = np.rint(start.detach().numpy() * UNIT).astype(np.int32)
    first[BEGIN] += round(LEAN * UNIT)
    first[INSIDE] = IMPOSSIBLE
    return Tagger(small, between, first, lowercase)


def agreement(found: Sequence[set[tuple[int, int]]], wanted: Sequence[set[tuple[int, int]]]) -> tuple[float, float]:
    """Recall and precision by whole names: a name counts if both its ends are right."""
    right = sum(len(one & other) for one, other in zip(found, wanted, strict=True))
    return right / max(1, sum(map(len, wanted))), right / max(1, sum(map(len, found)))
