"""Held-back questions: which of them to use, and how to encode them.

Questions are encoded exactly as in training (with the tokenizer's chat template, up to the assistant's turn) and
selected by hash, so that every model is asked the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer


def sample_questions(held_back: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most `most` rows of `held_back`, shared evenly between sources: the first by id (a hash), a fixed sample."""
    if not held_back.height or not most:
        return held_back.clear()
    place = pl.int_range(pl.len()).over("source")
    return held_back.sort("source", "id").with_columns(place=place).sort("place", "source").head(most).drop("place")


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Token ids of the conversation up to the start of the assistant's turn, as a separate document."""
    ids, _ = tokenizer.encode_chat(messages, answer_next=True)
    return [tokenizer.document_start, *map(int, ids)]
