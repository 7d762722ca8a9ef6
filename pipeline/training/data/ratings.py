"""Rated answers as token ids: a prompt, one answer, and whether people want such answers (KTO).

For its estimate of the KL, KTO scores each prompt with an answer that belongs to another one (Ethayarajh et al. 2024,
section 4.1). So a rated answer is held like a pair, of the answer itself and of that other one, and batches, orders by
length and log-probabilities of the reference model are those of pairs. Which other answer stays the same in all passes,
so that the reference model has to score it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.training.data.pairs import Pair, Pairs, batch_of

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.objectives.objective import Batch

REASONS = {
    "prompt_differs": "the prompt's tokens differ with the answer behind it",
    "no_room": "the prompt fills the context",
}


@dataclass
class Ratings(Pairs):
    """Rated answers: pairs of (prompt with its answer, the same prompt with another one's)."""

    desirable: np.ndarray  # bool [answers]

    def facts(self) -> dict[str, Any]:
        desirable = int(self.desirable.sum())
        return {"answers": len(self.pairs), "desirable": desirable, "left_out": self.left_out, "cut": self.cut}

    def first(self, most: int) -> Ratings:
        return Ratings(self.pairs[:most], self.left_out, self.cut, self.reference[:most], self.desirable[:most])


def ratings_of_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    """Two rated answers (id, prompt, answer, desirable) of each pair: the chosen one is good, the rejected one bad."""
    sides = [
        pairs.select(
            id=pl.col("id") + f"/{side}", prompt="prompt", answer=side, desirable=pl.lit(side == "chosen"),
        )
        for side in ("chosen", "rejected")
    ]  # fmt: skip
    return pl.concat(sides).sort("id")  # ids are hashes: the first rows are a random sample


def encode_ratings(rows: pl.DataFrame, tokenizer: Tokenizer, context: int, seed: int) -> Ratings:
    """Token ids of every usable row (prompt, answer, desirable); the others are counted under their reason.

    Like pairs, what is too long loses the start of its prompt as long as half a context of it remains, then the end of
    its answer. seed: of the order in which each prompt gets the answer of the next.
    """
    prompts, answers = rows["prompt"].to_list(), rows["answer"].to_list()
    heads = [ids for ids, _ in tokenizer.encode_chats(prompts, answer_next=True)]
    whole = tokenizer.encode_chats(
        [[*prompt, {"role": "assistant", "content": text}] for prompt, text in zip(prompts, answers)]
    )
    usable, cut = [], 0
    left_out = dict.fromkeys(REASONS, 0)
    for number, (head, (ids, learned)) in enumerate(zip(heads, whole, strict=True)):
        ids = ids[: np.flatnonzero(learned)[-1] + 1]  # up to <|im_end|>, as in pairs
        if not np.array_equal(ids[: len(head)], head):
            left_out["prompt_differs"] += 1
            continue
        drop = min(max(0, len(ids) - context), max(0, len(head) - context // 2))
        if len(head) - drop >= context:
            left_out["no_room"] += 1
            continue
        cut += len(ids) > context
        usable.append((number, head[drop:], ids[len(head) :][: context - len(head) + drop]))
    order = np.random.default_rng(seed).permutation(len(usable))
    following = dict(zip(order.tolist(), np.roll(order, -1).tolist(), strict=True))
    pairs = []
    for at, (_, head, answer) in enumerate(usable):
        other = usable[following[at]][2][: context - len(head)]
        pairs.append(Pair(np.concatenate([head, answer]), np.concatenate([head, other]), len(head)))
    desirable = rows["desirable"].to_numpy()[[number for number, _, _ in usable]].astype(bool)
    return Ratings(pairs, left_out, cut, np.full((len(pairs), 2), np.nan, np.float32), desirable)


def batch_of_ratings(ratings: Ratings, numbers: np.ndarray, lengths: np.ndarray | None = None) -> Batch:
    """These rated answers as a batch of pairs (`batch_of`), and which of them are good (`desirable`)."""
    import torch

    return {**batch_of(ratings, numbers, lengths), "desirable": torch.from_numpy(ratings.desirable[numbers])}
