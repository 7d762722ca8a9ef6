"""How fast a model generates on this machine, beside what its memory allows: a step has to read every weight once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from model.batch import Batch, Text
from model.choosing import Chooser
from model.decoding import arrange, arranged
from model.generate import generate
from model.sampling import GREEDY
from model.transformer import Transformer

BUFFER = 256 * 2**20  # bytes that are read to measure the memory: more than any cache holds


class Speed(NamedTuple):
    """Medians over the rounds: tokens by the second, and bytes by the second of the memory in the same rounds."""

    prompt: float
    answer: float
    together: float  # of all texts at once
    bandwidth: float
    weights: int  # bytes that a step reads

    @property
    def share(self) -> float:
        """Of the tokens by the second that the memory would allow one text."""
        return self.answer * self.weights / self.bandwidth


def measure(model: Transformer, prompt: int, tokens: int, together: int, rounds: int) -> Speed:
    """The speed of a model in `rounds`, each of which measures everything in turn, after one that does not count.

    prompt, tokens: how long a text is. Raises ValueError where both do not fit into the context.
    """
    if prompt + tokens > model.config.context:
        raise ValueError(
            f"{prompt} and {tokens} tokens do not fit into the context of {model.config.context}: ask for fewer."
        )
    ids = torch.randint(model.config.vocab_size, (prompt,), generator=torch.Generator().manual_seed(0)).tolist()
    buffer = torch.ones(BUFFER // 4)
    found: list[tuple[float, float, float, float]] = []
    for number in range(rounds + 1):
        if arranged(model) is None:  # a batch of many in fp32 has its own arrangement in its place
            arrange(model)
        once = _seconds(lambda: buffer.amax())
        # What comes before the first token is the prompt, and each of the others is a step.
        steps = _timed(generate(model, ids, tokens, GREEDY))
        all_of_them = _seconds(lambda: _all_at_once(model, ids[:16], tokens, together))
        if number:
            rate = (tokens - 1) / sum(steps[1:]) if tokens > 1 else 0.0
            found.append((prompt / steps[0], rate, together * tokens / all_of_them, BUFFER / once))
    made = arranged(model)
    size = 1 if made is not None and made.int8 else model.output_weight.element_size()
    bytes_read = size * sum(weight.numel() for weight in _read_by_a_step(model))
    read, step, many, memory = (statistics.median(column) for column in zip(*found))
    return Speed(read, step, many, memory, bytes_read)


def _read_by_a_step(model: Transformer) -> Iterator[torch.Tensor]:
    """The matrices; embeddings are read by a step only where they are the output, too."""
    for name, weight in model.named_parameters():
        if weight.dim() >= 2 and (not name.startswith("model.embed") or weight is model.output_weight):
            yield weight


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _timed(tokens: Iterator[int]) -> list[float]:
    """Seconds until each token."""
    found, before = [], time.perf_counter()
    for _ in tokens:
        now = time.perf_counter()
        found.append(now - before)
        before = now
    return found


def _all_at_once(model: Transformer, ids: list[int], tokens: int, together: int) -> None:
    batch = Batch(model)
    texts = [Text(Chooser(ids, GREEDY), tokens, lambda choice: True, lambda error: None) for _ in range(together)]
    batch.add(ids, texts)
    while batch.busy:
        batch.advance()
