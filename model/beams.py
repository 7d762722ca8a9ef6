"""Beam search: of many texts that continue a prompt, the likeliest that is found by following several at once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from model.generate import check_prompt
from model.transformer import Cache, Transformer


class Found(NamedTuple):
    """A text that ended: its log probability over its length to the power of a penalty, and its ids."""

    score: float
    tokens: tuple[int, ...]


@torch.inference_mode()
def beam_search(
    model: Transformer,
    prompt: Sequence[int],
    max_new: int,
    beams: int = 4,
    length_penalty: float = 1.0,
    stop_ids: Collection[int] = (),
) -> list[Found]:
    """Up to `beams` texts that continue `prompt` by up to `max_new` ids, the best first, without the id of a stop.

    Each step keeps the `beams` likeliest texts that go on. One that ends among the likeliest is kept by its log
    probability (nats) over length ** length_penalty, the stop counted (Wu et al. 2016, section 7, without its
    constant), until none that goes on has a better one. This is transformers' `generate(num_beams=…)`, step by step.
    Raises ValueError as `check_prompt` does, and for fewer than one beam.
    """
    check_prompt(model.config, len(prompt))
    if beams < 1:
        raise ValueError(f"beam search follows at least one text, not {beams}.")
    room = min(model.config.context, len(prompt) + max_new)
    stops = frozenset(stop_ids)
    training = model.training
    model.eval()
    try:
        device = model.output_weight.device
        cache = Cache(model.config, 1, room, device, model.output_weight.dtype)
        hidden = model.hidden(torch.tensor([list(prompt)], device=device), cache=cache)
        logits = model.logits(hidden[:, -1]).float().cpu()
        running: list[Found] = [Found(0.0, ())]  # with plain sums of log probabilities
        ended: list[Found] = []
        for length in range(1, room - len(prompt) + 1):
            last = length == room - len(prompt)
            candidates = _likeliest(running, logits, max(2, 1 + len(stops)) * beams)
            going: list[tuple[int, Found]] = []
            for rank, (row, candidate) in enumerate(candidates):
                stopped = candidate.tokens[-1] in stops
                if rank < beams and (stopped or last):
                    tokens = candidate.tokens[:-1] if stopped else candidate.tokens
                    ended.append(Found(candidate.score / length**length_penalty, tokens))
                elif not stopped and len(going) < beams:
                    going.append((row, candidate))
            ended = sorted(ended, key=lambda one: -one.score)[:beams]
            running = [candidate for _, candidate in going]
            hopeless = len(ended) == beams and running[0].score / length**length_penalty <= ended[-1].score
            if last or hopeless:
                break
            cache.layers = cache.layers[:, :, [row for row, _ in going]]
            step = torch.tensor([[one.tokens[-1]] for one in running], device=device)
            logits = model.logits(model.hidden(step, cache=cache)[:, -1]).float().cpu()
        return ended
    finally:
        model.train(training)


def _likeliest(running: Sequence[Found], logits: torch.Tensor, number: int) -> list[tuple[int, Found]]:
    """(row, text) of the likeliest texts that are one token longer. logits: [texts, vocab_size]."""
    sums = logits.log_softmax(-1) + torch.tensor([[one.score] for one in running])
    best = sums.flatten().topk(min(number, sums.numel()))
    found = []
    for score, place in zip(best.values.tolist(), best.indices.tolist()):
        row, token = divmod(place, logits.shape[-1])
        found.append((row, Found(score, (*running[row].tokens, token))))
    return found
