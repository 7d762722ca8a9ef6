"""Preference pairs as token ids: one prompt, two answers, and what is wrong with those that teach nothing.

Common silent errors are caught here, before the first step: pairs of identical answers, prompts whose tokens differ
between the two answers, prompts that are scored as part of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from model.config import IGNORED
from pipeline.training.data.by_length import ROUND_TO

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer
    from pipeline.training.objectives.objective import Batch

KEPT = "kept"  # of a batch: which of its pairs count; absent where all do

REASONS = {
    "same_answer": "chosen and rejected are the same",
    "same_tokens": "chosen and rejected are the same tokens once truncated to the context",
    "prompt_differs": "the prompt's tokens differ between the two answers",
}


@dataclass(frozen=True)
class Pair:
    """The token ids of a prompt with each of its two answers, and the index at which the answers start.

    row: of the table that it was read from; -1 where it is of none.
    """

    chosen: np.ndarray
    rejected: np.ndarray
    start: int
    row: int = -1


@dataclass
class Pairs:
    """Usable pairs, and counts of the others."""

    pairs: list[Pair]
    left_out: dict[str, int]
    cut: int
    # float32 [pairs, 2]: log-probability of (chosen, rejected) under the reference model; NaN where it is not needed,
    # so that a pair that was forgotten cannot pass unseen.
    reference: np.ndarray
    empty: np.ndarray | None = field(default=None, kw_only=True)  # bool [pairs]: slots that are left empty

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of the longer answer of each pair with its prompt, int64 [pairs]: what a batch is padded to."""
        return np.array([max(len(pair.chosen), len(pair.rejected)) for pair in self.pairs], dtype=np.int64)

    def tokens(self, numbers: np.ndarray) -> int:
        """Tokens of these pairs: both answers, each with its prompt."""
        return sum(len(self.pairs[number].chosen) + len(self.pairs[number].rejected) for number in numbers)

    def first(self, most: int) -> Pairs:
        """The same with at most the first `most` pairs."""
        empty = None if self.empty is None else self.empty[:most]
        return replace(self, pairs=self.pairs[:most], reference=self.reference[:most], empty=empty)

    def leaving_empty(self, rows: np.ndarray) -> Pairs:
        """The same with the pairs of these rows of the table as empty slots: of their tokens, only the number stays.

        Both of their answers become equally long runs of token 0, which the loss leaves out (`kept` of a batch).
        """
        empty = np.isin([pair.row for pair in self.pairs], rows)
        pairs = [
            replace(pair, chosen=np.zeros_like(pair.chosen), rejected=np.zeros_like(pair.rejected)) if gone else pair
            for pair, gone in zip(self.pairs, empty.tolist(), strict=True)
        ]
        return replace(self, pairs=pairs, empty=empty)

    def facts(self) -> dict[str, Any]:
        return {"pairs": len(self.pairs), "left_out": self.left_out, "cut": self.cut}


def encode_pairs(rows: pl.DataFrame, tokenizer: Tokenizer, context: int) -> Pairs:
    """Token ids of every usable pair. A pair that teaches nothing is excluded and counted under its reason."""
    prompts, chosen, rejected = (rows[name].to_list() for name in ("prompt", "chosen", "rejected"))
    heads = tokenizer.encode_chats(prompts, answer_next=True)
    answers = [
        tokenizer.encode_chats(
            [[*prompt, {"role": "assistant", "content": text}] for prompt, text in zip(prompts, texts)]
        )
        for texts in (chosen, rejected)
    ]
    pairs, cut = [], 0
    left_out = dict.fromkeys(REASONS, 0)
    for number, (head, _) in enumerate(heads):
        # Up to <|im_end|>: fine-tuning does not train on the line break after it, either.
        good, bad = (
            ids[: np.flatnonzero(learned)[-1] + 1] for ids, learned in (answers[0][number], answers[1][number])
        )
        start = len(head)
        if chosen[number].strip() == rejected[number].strip():
            left_out["same_answer"] += 1
            continue
        if not (np.array_equal(good[:start], head) and np.array_equal(bad[:start], head)):
            left_out["prompt_differs"] += 1
            continue
        # A pair that is too long loses the start of its prompt, the same for both answers, as long as half a context of
        # prompt remains; then the ends of its answers.
        excess = max(len(good), len(bad)) - context
        if excess > 0:
            cut += 1
            drop = min(excess, max(0, start - context // 2))
            good, bad, start = good[drop:][:context], bad[drop:][:context], start - drop
            if start >= context or np.array_equal(good, bad):
                left_out["same_tokens"] += 1
                continue
        pairs.append(Pair(good, bad, start, number))
    return Pairs(pairs, left_out, cut, np.full((len(pairs), 2), np.nan, np.float32))


def exclusions(pairs: Pairs, meanings: Mapping[str, str] = REASONS) -> str:
    """How many pairs were excluded, with the reasons, and how many were truncated."""
    reasons = [f"{count} excluded because {meanings[reason]}" for reason, count in pairs.left_out.items() if count]
    return ", ".join([*reasons, f"{pairs.cut} truncated to the context"])


def batch_of(pairs: Pairs, numbers: np.ndarray, lengths: np.ndarray | None = None) -> Batch:
    """The pairs of these numbers: all chosen answers first, then all rejected ones; targets on the answers only.

    Where slots are left empty, `kept` says which pairs count, bool [pairs].

    Rows are padded to the next of `lengths` (ascending), or to the next multiple of ROUND_TO.
    """
    import torch

    members = [pairs.pairs[number] for number in numbers]
    rows = [(pair.chosen, pair.start) for pair in members] + [(pair.rejected, pair.start) for pair in members]
    longest = max(len(ids) for ids, _ in rows) - 1
    length = math.ceil(longest / ROUND_TO) * ROUND_TO
    if lengths is not None:
        length = int(lengths[np.searchsorted(lengths, longest)])
    tokens = np.zeros((len(rows), length), np.int64)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    for row, (ids, start) in enumerate(rows):
        tokens[row, : len(ids) - 1] = ids[:-1]
        targets[row, start - 1 : len(ids) - 1] = ids[start:]
    kept = {} if pairs.empty is None else {KEPT: torch.from_numpy(~pairs.empty[numbers])}
    return {
        "tokens": torch.from_numpy(tokens),
        "targets": torch.from_numpy(targets),
        "reference": torch.from_numpy(pairs.reference[numbers]),
        **kept,
    }
