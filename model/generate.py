"""Text generation, token by token.

The same seed and prompt give the same text whatever else the process does, since sampling uses a generator of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch

from model.sampling import GREEDY, Sampling, penalise, sample_token
from model.transformer import Cache, Transformer


def generate(
    model: Transformer,
    tokens: Sequence[int],
    max_new: int = 128,
    sampling: Sampling = GREEDY,
    stop_ids: Collection[int] = (),
) -> Iterator[int]:
    """Yield up to `max_new` ids that continue `tokens`, as they are generated.

    Ends before an id of `stop_ids`, or when the context is full. A repetition penalty applies to the ids of `tokens`
    and to generated ones, as in transformers, but not to `stop_ids`: the end of a turn occurs in every conversation,
    and with a penalty on it answers would not end. Raises ValueError, before the first id, for an empty prompt or one
    that fills the context, and for a network that is not causal.
    """
    config = model.config
    if not config.causal:
        raise ValueError("this model was trained to fill gaps (causal: false) and cannot generate text.")
    if not len(tokens):
        raise ValueError("the prompt has no tokens: give at least one, such as the one that starts a document.")
    if len(tokens) >= config.context:
        raise ValueError(f"the prompt has {len(tokens)} tokens and the context holds {config.context}: shorten it.")
    room = min(config.context, len(tokens) + max_new)
    return _continue(model, list(map(int, tokens)), room, sampling, frozenset(stop_ids))


@torch.inference_mode()
def _continue(
    model: Transformer, tokens: list[int], room: int, sampling: Sampling, stop_ids: frozenset[int]
) -> Iterator[int]:
    device = model.output_weight.device
    generator = torch.Generator().manual_seed(sampling.seed)
    cache = Cache(model.config, 1, room, device, model.output_weight.dtype)
    seen = set(tokens) - stop_ids
    training = model.training
    model.eval()
    try:
        step = tokens
        for _ in range(room - len(tokens)):
            # In the format of the weights: converting them for each token takes longer than multiplying by them.
            with torch.autocast(device.type, enabled=False):
                ids = torch.tensor([step]).to(device, non_blocking=True)  # the logits are waited for, and no more
                hidden = model.hidden(ids, cache=cache)
                logits = model.logits(hidden[0, -1]).float().cpu()
            token = sample_token(penalise(logits, seen, sampling.repetition_penalty), sampling, generator)
            if token in stop_ids:
                return
            yield token
            seen.add(token)
            step = [token]
    finally:
        model.train(training)
