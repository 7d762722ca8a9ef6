"""Text generation, token by token.

The same seed and prompt give the same text whatever else the process does, since sampling uses a generator of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import torch
from torch import Tensor

from model.choosing import Chooser
from model.config import ModelConfig
from model.decoding import Decoding, arranged
from model.llama import attached
from model.sampling import GREEDY, Sampling
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

    Ends before an id of `stop_ids`, or when the context is full. Penalties are those of `Chooser`. `stopped` is asked
    before each token, and before each PIECE tokens of the prompt; generation ends when it says so. Raises ValueError,
    before the first id, as `check_prompt` does.
    """
    check_prompt(model.config, len(tokens))
    tokens = list(map(int, tokens))
    room = min(model.config.context, len(tokens) + max_new)
    return _continue(model, tokens, room, Chooser(tokens, sampling, stop_ids), stopped)


def check_prompt(config: ModelConfig, tokens: int) -> None:
    """Raises ValueError for an empty prompt, one that fills the context, and a network that is not causal."""
    if not config.causal:
        raise ValueError("this model was trained to fill gaps (causal: false) and cannot generate text.")
    if not tokens:
        raise ValueError("the prompt has no tokens: give at least one, such as the one that starts a document.")
    if tokens >= config.context:
        raise ValueError(f"the prompt has {tokens} tokens and the context holds {config.context}: shorten it.")


@torch.inference_mode()
def _continue(
    model: Transformer,
    tokens: list[int],
    room: int,
    chooser: Chooser,
    stopped: Callable[[], bool] | None,
) -> Iterator[int]:
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
            choice = chooser.choose(logits)
            if choice is None:
                return
            yield choice.token
            steps = [[choice.token]]
    finally:
        model.train(training)


def _forward(model: Transformer, prompt: int, room: int) -> Callable[[list[int]], Tensor]:
    """A function that takes the prompt, whole or in parts, then each token alone, and returns logits [vocab_size].

    prompt: the number of its tokens; room: for how many tokens in all.
    """
    llama = attached(model)
    if llama is not None:
        text = llama.begin(prompt)
        return lambda tokens: llama.read(text, tokens)
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
