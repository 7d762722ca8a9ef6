"""Text generation, token by token.

The same seed and prompt give the same text whatever else the process does, since sampling uses a generator of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from model.decoding import Decoding, arranged
from model.sampling import GREEDY, Sampling, penalise, sample_token, subtract
from model.transformer import Cache, Transformer

PIECE = 256  # tokens of a prompt at once, where generation can be stopped: some 0.5 s of a core at 110 M parameters


def generate(
    model: Transformer,
    tokens: Sequence[int],
    max_new: int = 128,
    sampling: Sampling = GREEDY,
    stop_ids: Collection[int] = (),
    stopped: Callable[[], bool] | None = None,
) -> Iterator[int]:
    """Yield up to `max_new` ids that continue `tokens`, as they are generated.

    Ends before an id of `stop_ids`, or when the context is full. A repetition penalty applies to the ids of `tokens`
    and to generated ones, as in transformers, but not to `stop_ids`: the end of a turn occurs in every conversation,
    and with a penalty on it answers would not end. `stopped` is asked before each token, and before each PIECE tokens
    of the prompt; generation ends when it says so. Raises ValueError, before the first id, for an empty prompt or one
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
    return _continue(model, list(map(int, tokens)), room, sampling, frozenset(stop_ids), stopped)


@torch.inference_mode()
def _continue(
    model: Transformer,
    tokens: list[int],
    room: int,
    sampling: Sampling,
    stop_ids: frozenset[int],
    stopped: Callable[[], bool] | None,
) -> Iterator[int]:
    generator = torch.Generator().manual_seed(sampling.seed)
    seen = set(tokens) - stop_ids
    counts: Counter[int] = Counter()
    training = model.training
    model.eval()
    try:
        forward = _forward(model, len(tokens), room)
        steps = [tokens]
        if stopped is not None:
            steps = [tokens[start : start + PIECE] for start in range(0, len(tokens), PIECE)]
        for _ in range(room - len(tokens)):
            for step in steps:
                if stopped is not None and stopped():
                    return
                # In the format of the weights: converting them for each token takes longer than multiplying by them.
                with torch.autocast(model.output_weight.device.type, enabled=False):
                    logits = forward(step)
            logits = subtract(penalise(logits, seen, sampling.repetition_penalty), counts, sampling)
            token = sample_token(logits, sampling, generator)
            if token in stop_ids:
                return
            yield token
            seen.add(token)
            counts[token] += 1
            steps = [[token]]
    finally:
        model.train(training)


def _forward(model: Transformer, prompt: int, room: int) -> Callable[[list[int]], Tensor]:
    """A function that takes the prompt, whole or in parts, then each token alone, and returns logits [vocab_size].

    prompt: the number of its tokens; room: for how many tokens in all.
    """
    device, fast = model.output_weight.device, arranged(model)
    cache = Cache(model.config, 1, prompt if fast else room, device, model.output_weight.dtype)
    decoding: Decoding | None = None

    def forward(tokens: list[int]) -> Tensor:
        nonlocal decoding
        if fast and cache.length == prompt:
            decoding = decoding or Decoding(fast, cache, room)
            return decoding.step(tokens[0])
        ids = torch.tensor([tokens]).to(device, non_blocking=True)  # a GPU is waited for once, for the logits
        hidden = model.hidden(ids, cache=cache)
        return model.logits(hidden[0, -1]).float().cpu()

    return forward
