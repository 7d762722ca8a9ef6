"""The next token of one text: penalties for what it says already, a grammar that it has to keep to, and sampling.

Whoever generates (`generate.py`, `generate_together.py`, `batch.py`) has logits and asks a `Chooser` of the text for a
token, so that the same text is generated whichever of them does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from model.sampling import Sampling, penalise, sample_token, subtract


class Grammar(Protocol):
    """What a text has to keep to, token by token."""

    def masked(self, logits: Tensor) -> Tensor:
        """`logits` [vocab_size] with those of tokens that must not follow at minus infinity."""

    def take(self, token: int) -> bool:
        """Take the token that follows; returns whether the text is complete with it."""


class Choice(NamedTuple):
    """A token of a text; with the log probability (in nats) by the network alone, where that is asked for."""

    token: int
    log_probability: float = 0.0
    likeliest: tuple[tuple[int, float], ...] = ()  # (token, log probability), the likeliest first


class Chooser:
    """Chooses the tokens of one text, and knows what was chosen.

    A repetition penalty applies to the ids of the prompt and to generated ones, as in transformers, but not to
    `stop_ids`: the end of a turn occurs in every conversation, and with a penalty on it answers would not end.
    likeliest: how many tokens a choice names with their log probabilities; None: a choice has none, not even its own.
    """

    def __init__(
        self,
        prompt: Iterable[int],
        sampling: Sampling,
        stop_ids: Collection[int] = (),
        grammar: Grammar | None = None,
        likeliest: int | None = None,
    ) -> None:
        self.sampling, self.grammar, self.likeliest = sampling, grammar, likeliest
        self.stop_ids = frozenset(stop_ids)
        self.complete = False  # by its grammar, so that nothing may follow
        self._generator = torch.Generator().manual_seed(sampling.seed)
        self._seen = set(prompt) - self.stop_ids if sampling.repetition_penalty != 1 else set()
        self._counts: Counter[int] = Counter()

    def choose(self, logits: Tensor) -> Choice | None:
        """The token that follows, by its `logits` [vocab_size] in fp32 on the CPU; None where the text ends.

        Raises ValueError if a logit is not a number.
        """
        if self.complete:
            return None
        sampling = self.sampling
        scores = subtract(penalise(logits, self._seen, sampling.repetition_penalty), self._counts, sampling)
        if self.grammar is not None:
            scores = self.grammar.masked(scores)
        token = sample_token(scores, sampling, self._generator)
        if token in self.stop_ids:
            return None
        if sampling.repetition_penalty != 1:
            self._seen.add(token)
        if sampling.presence_penalty or sampling.frequency_penalty:
            self._counts[token] += 1
        if self.grammar is not None:
            self.complete = self.grammar.take(token)
        return self._described(token, logits)

    def _described(self, token: int, logits: Tensor) -> Choice:
        if self.likeliest is None:
            return Choice(token)
        found = torch.log_softmax(logits.double(), -1)
        best = found.topk(min(self.likeliest, len(found)))
        likeliest = tuple(zip(best.indices.tolist(), best.values.tolist()))
        return Choice(token, float(found[token]), likeliest)
