"""Questions that were held back from training: which of them are asked, and how they are put to the model.

The one idea: the questions are prepared exactly as in training (`model/conversation.py`, up to where the assistant's
turn begins), and the choice is by hash, so that every model is asked the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from pipeline.tokens.tokenizer import Tokenizer


def chosen_questions(held_back: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most `most` rows of `held_back`, shared evenly between sources, by id (a hash): a fixed random sample."""
    if not held_back.height or not most:
        return held_back.clear()
    place = pl.int_range(pl.len()).over("source")
    return held_back.sort("source", "id").with_columns(place=place).sort("place", "source").head(most).drop("place")


def prompt_ids(tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """Token ids of the conversation up to where the assistant starts to speak."""
    ids, _ = tokenizer.encode_chat(messages, answer_next=True)
    return ids.tolist()
