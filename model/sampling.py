"""Sampling the next token from the network's logits.

Top-k, top-p and min-p each keep a prefix of the ids in the order of their probability, and one random number selects an
id from what they all keep. So only the likeliest ids need to be sorted, mostly a few dozen of a vocabulary of tens of
thousands, and every token takes one random number, whatever the limits are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The ids that are sorted: those with at least this share of the highest probability. The next floor is tried if the
# limits or the random number reach further.
FLOORS = (1e-2, 1e-4, 0.0)
MIN_TEMPERATURE = 1e-6  # lower ones give the same ids, and a division by them would overflow


@dataclass(frozen=True)
class Sampling:
    """How to sample tokens. The settings apply in this order, but for the penalty, which comes first.

    Raises ValueError for a value out of range.
    """

    temperature: float = 0.8  # divides the logits; 0: always the likeliest id
    top_k: int = 0  # keeps the k likeliest ids (Fan et al. 2018); 0: all
    top_p: float = 1.0  # keeps the smallest set of likeliest ids with at least this probability (Holtzman et al. 2020)
    min_p: float = 0.0  # keeps ids with at least this share of the highest probability (Nguyen et al. 2024)
    repetition_penalty: float = 1.0  # makes earlier ids less likely (Keskar et al. 2019: 1.2); 1: none
    seed: int = 0
    presence_penalty: float = 0.0  # subtracted from the logits of ids that were generated (OpenAI's API)
    frequency_penalty: float = 0.0  # the same, once for each time that they were

    def __post_init__(self) -> None:
        ranges = {
            "temperature": (0 <= self.temperature < math.inf, "at least 0"),
            "top_k": (self.top_k >= 0, "at least 0"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "min_p": (0 <= self.min_p <= 1, "at least 0 and at most 1"),
            "repetition_penalty": (0 < self.repetition_penalty < math.inf, "above 0"),
            "seed": (0 <= self.seed < 2**63, "at least 0 and below 2^63"),
            "presence_penalty": (-2 <= self.presence_penalty <= 2, "from -2 to 2"),
            "frequency_penalty": (-2 <= self.frequency_penalty <= 2, "from -2 to 2"),
        }
        for name, (right, words) in ranges.items():
            if not right:
                raise ValueError(f"{name} must be {words}, not {getattr(self, name)}.")

    @property
    def penalises(self) -> bool:
        """Whether what a text says already changes what may follow."""
        return self.repetition_penalty != 1 or self.presence_penalty != 0 or self.frequency_penalty != 0


GREEDY = Sampling(temperature=0.0)


def penalise(logits: Tensor, ids: Collection[int], penalty: float) -> Tensor:
    """`logits` [vocab_size] with those of `ids` divided by `penalty`, or multiplied by it if they are negative.

    Keskar et al. 2019, section 4.1, divide all; multiplying negative ones, as transformers does, makes them less likely
    too.
    """
    if penalty == 1 or not ids:
        return logits
    index = torch.tensor(sorted(ids), device=logits.device)
    scores = logits[index]
    return logits.index_copy(0, index, torch.where(scores > 0, scores / penalty, scores * penalty))


def subtract(logits: Tensor, counts: Mapping[int, int], sampling: Sampling) -> Tensor:
    """`logits` [vocab_size] less the penalties of the ids that were generated, by how often each was.

    OpenAI's API reference, "frequency and presence penalties": count times one, and the other where it is not 0. As in
    vLLM, the prompt does not count.
    """
    if not counts or not (sampling.presence_penalty or sampling.frequency_penalty):
        return logits
    index = torch.tensor(list(counts), device=logits.device)
    often = torch.tensor(list(counts.values()), device=logits.device, dtype=logits.dtype)
    return logits.index_add(0, index, -(often * sampling.frequency_penalty + sampling.presence_penalty))


def sample_token(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """An id sampled from `logits` [vocab_size]; with temperature 0 the likeliest, without a random number.

    Ids are sorted by probability, the likeliest first, and equal ones by id; the limits keep a prefix of them. With u
    uniform in [0, 1), the result is the first id at which the sum of probabilities exceeds u times the sum over the
    prefix (inverse transform sampling). Raises ValueError if a logit is not a number.
    """
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits.float()
    temperature = max(sampling.temperature, MIN_TEMPERATURE)
    weights = torch.exp((logits - logits.max()) / temperature)  # probabilities, but for a common factor
    whole = float(weights.sum(dtype=torch.float64))
    u = float(torch.rand((), dtype=torch.float64, generator=generator))
    reach = sampling.top_p if sampling.top_p < 1 else u  # the share of all probability that has to be sorted
    for floor in FLOORS:
        ids = np.flatnonzero(weights.numpy() >= floor)
        likely = weights[torch.from_numpy(ids)]
        if floor and not (sampling.top_k or sampling.min_p) and float(likely.sum()) < reach * whole:
            continue
        sorted_weights, order = likely.sort(descending=True, stable=True)
        sums = sorted_weights.numpy().cumsum(dtype=np.float64)
        kept = _prefix(sorted_weights.numpy(), sums, whole, floor, sampling)
        if kept is None:
            continue
        target = u * (whole if kept > len(sums) else sums[kept - 1])
        position = int(np.searchsorted(sums, target, side="right"))
        if position < len(sums) or floor == 0:
            return int(ids[order[min(position, kept - 1)]])
    raise ValueError("the network's logits are not numbers: its weights are damaged.")


def _prefix(weights: np.ndarray, sums: np.ndarray, whole: float, floor: float, sampling: Sampling) -> int | None:
    """How many ids the limits keep; None if that depends on ids below `floor`.

    weights: all of at least `floor`, the largest (1) first; sums: their running sums; whole: the sum of all weights. A
    result of more than len(weights) means that the limits keep every id.
    """
    count, complete = len(weights), floor == 0
    if not count or (not complete and (count < sampling.top_k or 0 < sampling.min_p < floor)):
        return None
    kept = count if complete else count + 1
    if sampling.top_k:
        kept = min(kept, sampling.top_k)
    if sampling.top_p < 1:
        total = sums[kept - 1] if kept <= count else whole
        inside = 1 + int(np.searchsorted(sums, sampling.top_p * total, side="left"))  # with the one that reaches it
        if inside > count and not complete and not sampling.min_p:
            return None
        kept = min(kept, inside)
    if sampling.min_p:
        kept = min(kept, int((weights >= sampling.min_p).sum()))
    return max(1, kept)
