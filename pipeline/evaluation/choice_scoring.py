"""The log-likelihood of every choice of every item: prompts are computed once, whatever follows them.

A row of a batch is an item: its prompt, then each of its choices, which see the prompt and themselves but not each
other, at the positions that they would have alone (a tree of two levels as an attention mask). What all prompts of a
task begin with, such as the examples of a few-shot prompt, is computed once and its keys and values stand before every
row. The figures are those of one row a choice but for rounding.

How text becomes ids is as in EleutherAI's lm-evaluation-harness (`api/model.py`, `_encode_pair`), so that figures can
be compared: the spaces at a prompt's end belong to the choice, and the choice's ids are those of the whole less as
many as the prompt has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from model.scoring import Fork
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer

LEAST_SHARED = 16  # tokens: a shorter common beginning is not worth a computation of its own
# Tokens of a batch on a CPU, at most: what fits into its cache is computed 10 to 15 % faster than batches of 4,096
# (docs/results/evaluation.md), and rows of nearly the same length need no padding.
MOST_ON_A_CPU = 1024


@dataclass(frozen=True)
class EncodedItem:
    """One prompt and what may follow it, as ids. All of it lies in the context of the model."""

    item: int  # which item, and which of its choices the first one here is
    first: int
    prompt: np.ndarray  # int64, at least one
    choices: list[np.ndarray]  # int64, each at least one

    @property
    def length(self) -> int:
        """Tokens of its row: the last of each choice is only predicted."""
        return len(self.prompt) + sum(len(choice) - 1 for choice in self.choices)


@dataclass(frozen=True)
class ChoiceScore:
    """One choice of an item."""

    log_likelihood: float  # nats, the sum over its tokens
    tokens: int
    greedy: bool  # whether each of its tokens is the likeliest


def encode_items(
    prompts: Sequence[str], choices: Sequence[Sequence[str]], tokenizer: Tokenizer, context: int
) -> tuple[list[EncodedItem], int]:
    """The items as ids, and how many choices were too long for the context, so that their prompts lost their beginning.

    choices: of each prompt, with what separates them from it. A prompt without characters becomes `<eos>`, after which
    every document began in training. Raises ValueError for a choice without tokens.
    """
    moved = [len(prompt) - len(prompt.rstrip()) for prompt in prompts]
    before = [prompt[: len(prompt) - spaces] for prompt, spaces in zip(prompts, moved, strict=True)]
    starts = tokenizer.encode(before)
    texts = [prompt + choice for prompt, offered in zip(prompts, choices, strict=True) for choice in offered]
    wholes = iter(tokenizer.encode(texts))
    items, cut = [], 0
    for number, (start, offered) in enumerate(zip(starts, choices, strict=True)):
        prompt = start.astype(np.int64)
        endings = [next(wholes)[len(prompt) :].astype(np.int64) for _ in offered]
        if not all(map(len, endings)):
            raise ValueError(f"item {number} has a choice without tokens")
        if not len(prompt):
            prompt = np.array([tokenizer.ids["<eos>"]], dtype=np.int64)
        if len(prompt) + max(map(len, endings)) - 1 <= context:
            items.append(EncodedItem(number, 0, prompt, endings))
            continue
        place = 0
        for length, alike in groupby(endings, key=len):  # endings of one length leave the same of the prompt
            here = list(alike)
            room = context + 1 - length
            cut += len(here) * (room < len(prompt))
            if room > 0:
                items.append(EncodedItem(number, place, prompt[-room:], here))
            else:
                items += [
                    EncodedItem(number, place + i, ending[-context - 1 :][:1], [ending[-context:]])
                    for i, ending in enumerate(here)
                ]
            place += len(here)
    return items, cut


def shared_beginning(items: Sequence[EncodedItem]) -> int:
    """How many tokens all prompts begin with, fewer than the shortest prompt has; 0 if too few to matter."""
    if len(items) < 2:
        return 0
    most = min(len(item.prompt) for item in items) - 1
    first = items[0].prompt[:most]
    for item in items[1:]:
        differ = np.flatnonzero(first != item.prompt[: len(first)])
        if len(differ):
            first = first[: differ[0]]
    return len(first) if len(first) >= LEAST_SHARED else 0


def score_choices(
    model: Transformer,
    items: Sequence[EncodedItem],
    batch_tokens: int,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[list[ChoiceScore]]:
    """The score of each choice, by item and choice; rows of similar length are computed together.

    batch_tokens: tokens of a batch, padding included; on a CPU at most MOST_ON_A_CPU.
    """
    import torch

    from model.scoring import fork

    model.eval()
    beginning = shared_beginning(items)
    if device.type == "cpu":
        batch_tokens = min(batch_tokens, MOST_ON_A_CPU)
    with torch.inference_mode():
        ids = torch.from_numpy(items[0].prompt[:beginning]).to(device) if beginning else None
        before = None if ids is None else fork(model, ids)
    order = sorted(range(len(items)), key=lambda i: (-items[i].length, i))
    scores: dict[tuple[int, int], ChoiceScore] = {}
    at = 0
    while at < len(order):
        longest = max(items[order[at]].length - beginning, 1)
        rows = [items[i] for i in order[at : at + max(batch_tokens // longest, 1)]]
        at += len(rows)
        scores.update(_score_rows(model, rows, beginning, before, device))
        progress(at, len(order))
    found: list[list[ChoiceScore]] = [[] for _ in range(1 + max((item.item for item in items), default=-1))]
    for item, choice in sorted(scores):
        found[item].append(scores[item, choice])
    return found


@dataclass(frozen=True)
class _Batch:
    """Rows of one batch as arrays, and the tokens to score: where among `wanted` each is predicted, and its id."""

    tokens: np.ndarray  # int64 [B, T]
    positions: np.ndarray  # int64 [B, T]
    part: np.ndarray  # int32 [B, T]: 0 in the prompt, 1, 2 ... in the choices, -1 in padding
    wanted: np.ndarray  # int64 [B, W]: the columns of the prompt's last token and of the choices; the last one again
    place: np.ndarray  # row x W + number among the row's wanted columns
    target: np.ndarray
    ends: np.ndarray  # where the tokens of each choice end among the targets
    names: list[tuple[int, int]]  # (item, choice) of each


def _laid_out(rows: Sequence[EncodedItem], beginning: int) -> _Batch:
    longest = max(item.length for item in rows) - beginning
    most = max(item.length - len(item.prompt) for item in rows) + 1
    tokens = np.zeros((len(rows), longest), dtype=np.int64)
    positions = np.zeros_like(tokens)
    part = np.full_like(tokens, -1, dtype=np.int32)
    wanted = np.empty((len(rows), most), dtype=np.int64)
    place, target, ends, names = [], [], [], []
    for line, item in enumerate(rows):
        prompt = item.prompt[beginning:]
        at = start = len(prompt)
        tokens[line, :at], part[line, :at] = prompt, 0
        positions[line, :at] = np.arange(beginning, beginning + at)
        wanted[line] = np.minimum(np.arange(start - 1, start - 1 + most), item.length - beginning - 1)
        for number, choice in enumerate(item.choices):
            inner = len(choice) - 1
            tokens[line, at : at + inner], part[line, at : at + inner] = choice[:-1], number + 1
            positions[line, at : at + inner] = np.arange(len(item.prompt), len(item.prompt) + inner)
            first = line * most
            place.append(np.concatenate(([first], np.arange(at, at + inner) - (start - 1) + first)))
            target.append(choice)
            ends.append(len(choice))
            names.append((item.item, item.first + number))
            at += inner
    return _Batch(
        tokens, positions, part, wanted, np.concatenate(place), np.concatenate(target), np.cumsum(ends), names
    )


def _score_rows(
    model: Transformer, rows: Sequence[EncodedItem], beginning: int, before: Fork | None, device: torch.device
) -> dict[tuple[int, int], ChoiceScore]:
    import torch

    from model.scoring import hidden_at, targets

    batch = _laid_out(rows, beginning)
    arrays = (batch.tokens, batch.positions, batch.part, batch.wanted)
    tokens, positions, part, wanted = (torch.from_numpy(array).to(device) for array in arrays)
    length = tokens.shape[1]
    # Logits are computed once for each place: scored by place, and put back into the order of the choices.
    order = np.argsort(batch.place, kind="stable")
    places, ids = np.unique(batch.place[order], return_inverse=True)
    with torch.inference_mode():
        own = (part[:, None, :] == 0) | (part[:, None, :] == part[:, :, None])
        own &= torch.ones(length, length, dtype=torch.bool, device=device).tril()
        seen = torch.cat((own.new_ones(len(rows), length, beginning), own), dim=2)
        hidden = hidden_at(model, tokens, positions, seen, wanted, before).flatten(0, 1)
        row, target, used = (torch.from_numpy(array).to(device) for array in (ids, batch.target[order], places))
        found, best = targets(model, hidden[used], row, target)
    likelihoods, greedy = np.empty(len(order)), np.empty(len(order), dtype=bool)
    likelihoods[order], greedy[order] = found.double().cpu().numpy(), best.cpu().numpy()
    starts = np.concatenate(([0], batch.ends[:-1]))
    sums, all_greedy = np.add.reduceat(likelihoods, starts), np.logical_and.reduceat(greedy, starts)
    counts = batch.ends - starts
    return {
        name: ChoiceScore(float(total), int(count), bool(best))
        for name, total, count, best in zip(batch.names, sums, counts, all_greedy, strict=True)
    }
