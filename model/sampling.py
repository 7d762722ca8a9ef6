"""How the next token is drawn from the network's logits.

The one idea: all limits (top-k, top-p, min-p) keep a beginning of the list of ids in the order of their probability,
and one random number, laid along that list, chooses among what they keep. So only the likeliest ids have to be put in
order, a few of a vocabulary of tens of thousands, and each token costs one random number, whatever the limits are.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Ids are put in order down to these shares of the likeliest one's probability, one after the other, until enough are:
# mostly a few dozen, then some hundreds, at last all.
FLOORS = (1e-2, 1e-4, 0.0)
COLDEST = 1e-6  # a lower temperature draws the same, and a division by it would overflow


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. The limits apply in the order in which they stand here. Raises ValueError out of range."""

    temperature: float = 0.8  # divides the logits; 0: always the likeliest
    top_k: int = 0  # keeps the k likeliest (Fan et al. 2018); 0: all
    top_p: float = 1.0  # keeps the fewest likeliest whose probabilities sum to it (Holtzman et al. 2020)
    min_p: float = 0.0  # keeps those at least this share as likely as the likeliest (Nguyen et al. 2024)
    repetition_penalty: float = 1.0  # divides the scores of what was there before (Keskar et al. 2019); 1: none
    seed: int = 0  # of a generator that nothing else draws from

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (0 <= self.temperature < math.inf, "at least 0"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (0 <= self.min_p <= 1, "at least 0 and at most 1"),
            "repetition_penalty": (0 < self.repetition_penalty < math.inf, "above 0"),
            "seed": (0 <= self.seed < 2**63, "at least 0 and below 2^63"),
        }
        for name, (right, words) in ranges.items():
            if not right:
                raise ValueError(f"{name} has to be {words}, not {getattr(self, name)}.")


GREEDY = Sampling(temperature=0.0)


def penalised(logits: Tensor, seen: Collection[int], penalty: float) -> Tensor:
    """`logits` [vocab_size] with those of `seen` made less likely: divided by `penalty`, or multiplied if negative.

    Keskar et al. 2019, section 4.1, which says nothing of negative scores; multiplying those is what transformers does.
    """
    if penalty == 1 or not seen:
        return logits
    ids = torch.tensor(sorted(seen), device=logits.device)
    scores = logits[ids]
    return logits.index_copy(0, ids, torch.where(scores > 0, scores / penalty, scores * penalty))


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """One id drawn from `logits` [vocab_size]; with temperature 0 the likeliest, and no random number is taken.

    The rule: ids in the order of their probability, the likeliest first, equal ones by id; the limits keep a beginning
    of that list; with u uniform in [0, 1), the first id at which the sum of probabilities passes u times the sum over
    all that is kept (inverse transform sampling).
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits.float()
    heat = max(sampling.temperature, COLDEST)
    weights = torch.exp((logits - logits.max()) / heat)  # probabilities, but for a common factor
    whole = float(weights.sum(dtype=torch.float64))
    u = float(torch.rand((), dtype=torch.float64, generator=generator))
    for floor in FLOORS:
        ids = (weights >= floor).nonzero()[:, 0]
        found, order = weights[ids].sort(descending=True, stable=True)
        sums = found.numpy().cumsum(dtype=np.float64)
        kept = _kept(found.numpy(), sums, whole, floor, sampling)
        if kept is None:
            continue
        wanted = u * (whole if kept > len(sums) else sums[kept - 1])
        place = int(np.searchsorted(sums, wanted, side="right"))
        if place < len(sums) or floor == 0:
            return int(ids[order[min(place, kept - 1)]])
    raise ValueError("the network's logits are not finite: its weights are damaged.")


def _kept(weights: np.ndarray, sums: np.ndarray, whole: float, floor: float, sampling: Sampling) -> int | None:
    """How many ids the limits keep; None if more of the list is needed to know it.

    weights: all of `floor` or more, the largest first; sums: their running sums; whole: the sum over the vocabulary.
    More than there are weights: the limits keep all ids, of which the list holds only the likeliest.
    """
    count, all_there = len(weights), floor == 0
    if not count or (not all_there and (count < sampling.top_k or 0 < sampling.min_p < floor)):
        return None
    kept = count if all_there else count + 1
    if sampling.top_k:
        kept = min(kept, sampling.top_k)
    if sampling.top_p < 1:
        total = sums[kept - 1] if kept <= count else whole
        inside = 1 + int(np.searchsorted(sums, sampling.top_p * total, side="left"))  # the last one passes the share
        if inside > count and not all_there and not sampling.min_p:
            return None
        kept = min(kept, inside)
    if sampling.min_p:
        kept = min(kept, int((weights >= sampling.min_p).sum()))
    return max(1, kept)
