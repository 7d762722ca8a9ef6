"""Generation for many prompts at once: what an evaluation needs, where one text after the other takes minutes.

A step multiplies the weights by one vector of each text, so a batch of 64 costs a small network little more than one
text. Prompts need not be equally long: all texts advance together, and one whose prompt goes on takes its next token
from there. So there is no padding, and every token sees exactly its own text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch

from model.choosing import Chooser
from model.sampling import GREEDY, Sampling
from model.transformer import Cache, Transformer

AT_ONCE = 64  # texts in a batch


@torch.inference_mode()
def generate_together(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    sampling: Sampling = GREEDY,
    stop_ids: Collection[int] = (),
    progress: Callable[[int], None] = lambda done: None,
) -> list[list[int]]:
    """Up to `max_new` ids that continue each prompt, in the order of the prompts; each ends before an id of `stop_ids`.

    With a temperature, prompt number i is sampled with the seed `sampling.seed + i`. progress: called with the number
    of texts that are finished. Raises ValueError for an empty prompt, one that fills the context, and a network that
    is not causal.
    """
    context = model.config.context
    if not model.config.causal:
        raise ValueError("this model was trained to fill gaps (causal: false) and cannot generate text.")
    for prompt in prompts:
        if not 0 < len(prompt) < context:
            raise ValueError(f"a prompt has {len(prompt)} tokens: it needs at least 1, and fewer than {context}.")
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    found: list[list[int]] = [[] for _ in prompts]
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), AT_ONCE):
            numbers = order[start : start + AT_ONCE]
            texts = _batch(model, [prompts[number] for number in numbers], numbers, max_new, sampling, stop_ids)
            for number, text in zip(numbers, texts, strict=True):
                found[number] = text
            progress(start + len(numbers))
    finally:
        model.train(training)
    return found


def _batch(
    model: Transformer,
    prompts: list[Sequence[int]],
    numbers: list[int],
    max_new: int,
    sampling: Sampling,
    stop_ids: Collection[int],
) -> list[list[int]]:
    """The continuations of some prompts, the shortest first. numbers: of the prompts among all, for their seeds."""
    device, context = model.output_weight.device, model.config.context
    rooms = [min(context, len(prompt) + max_new) for prompt in prompts]
    texts = [list(map(int, prompt)) for prompt in prompts]
    seeds = [replace(sampling, seed=(sampling.seed + number) % 2**63) for number in numbers]
    choosers = [Chooser(text, seeded, stop_ids) for text, seeded in zip(texts, seeds, strict=True)]
    plain = sampling.temperature == 0 and not sampling.penalises
    going = [True] * len(texts)
    at = len(prompts[0])  # tokens that the cache will hold after the next step
    cache = Cache(model.config, len(texts), max(rooms), device, model.output_weight.dtype)
    step = torch.tensor([text[:at] for text in texts])
    while any(going):
        with torch.autocast(device.type, enabled=False):
            hidden = model.hidden(step.to(device), cache=cache)
            logits = model.logits(hidden[:, -1]).float().cpu()
        likeliest = logits.argmax(-1).tolist() if plain else None
        for row, text in enumerate(texts):
            if not going[row] or len(text) > at:
                continue  # ended, or its prompt goes on
            if likeliest:
                token = None if likeliest[row] in stop_ids else likeliest[row]
            else:
                choice = choosers[row].choose(logits[row])
                token = choice.token if choice else None
            going[row] = token is not None and len(text) < rooms[row]
            if token is not None and going[row]:
                text.append(token)
                going[row] = len(text) < rooms[row]
        at += 1
        step = torch.tensor([[text[at - 1] if len(text) >= at else 0] for text in texts])
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
