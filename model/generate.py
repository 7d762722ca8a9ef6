"""Text generation, token by token.

The same seed and prompt give the same text whatever else the process does, since sampling uses a generator of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from model.transformer import Cache, Transformer


def sample_token(logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator) -> int:
    """An id sampled from `logits` [vocab_size]; with temperature 0, the likeliest.

    `top_k` > 0 keeps the k likeliest ids (Fan et al. 2018); then `top_p` < 1 keeps the smallest set of likeliest ids
    whose probabilities sum to at least top_p (Holtzman et al. 2020).
    """
    if temperature == 0:
        return int(logits.argmax())
    probabilities, ids = torch.softmax(logits.double() / temperature, -1).sort(descending=True, stable=True)
    if top_k:
        probabilities = probabilities[:top_k]
    if top_p < 1:
        before = probabilities.cumsum(0) - probabilities
        probabilities = probabilities[before < top_p * probabilities.sum()]
    return int(ids[torch.multinomial(probabilities, 1, generator=generator)])


def generate(
    model: Transformer,
    tokens: Sequence[int],
    max_new: int = 128,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stop_ids: Collection[int] = (),
) -> Iterator[int]:
    """Yield up to `max_new` ids that continue `tokens`, as they are generated.

    Ends before an id of `stop_ids`, or when the context is full. Raises ValueError, before the first id, for an empty
    prompt or one that fills the context, settings out of range, and a network that is not causal.
    """
    config = model.config
    if not config.causal:
        raise ValueError("this model was trained to fill gaps (causal: false) and cannot generate text.")
    if not len(tokens):
        raise ValueError("the prompt has no tokens: give at least one, such as the one that starts a document.")
    if len(tokens) >= config.context:
        raise ValueError(f"the prompt has {len(tokens)} tokens and the context holds {config.context}: shorten it.")
    if not (0 <= temperature < float("inf") and 0 < top_p <= 1 and top_k >= 0):
        raise ValueError("temperature must be at least 0, top_p above 0 and at most 1, top_k at least 0.")
    room = min(config.context, len(tokens) + max_new)
    return _continue(model, list(map(int, tokens)), room, temperature, top_k, top_p, seed, stop_ids)


@torch.inference_mode()
def _continue(
    model: Transformer,
    tokens: list[int],
    room: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int,
    stop_ids: Collection[int],
) -> Iterator[int]:
    device = model.output_weight.device
    generator = torch.Generator().manual_seed(seed)
    cache = Cache(model.config, 1, room, device, model.output_weight.dtype)
    training = model.training
    model.eval()
    try:
        step = tokens
        for _ in range(room - len(tokens)):
            hidden = model.hidden(torch.tensor([step], device=device), cache=cache)
            token = sample_token(model.logits(hidden[0, -1]).float().cpu(), temperature, top_k, top_p, generator)
            if token in stop_ids:
                return
            yield token
            step = [token]
    finally:
        model.train(training)
