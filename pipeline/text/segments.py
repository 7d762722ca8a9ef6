"""Texts split into lines or paragraphs: the segments of all texts in one flat column, with the text of each.

Everything that the heuristics count is a sum over the segments of a text, so one flat column and one histogram serve
all texts at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Segments:
    """The segments of a column of texts, in order."""

    items: pl.Series  # strings
    text_index: np.ndarray  # int64, the index of each segment's text
    texts: int  # number of texts

    def total(self, values: np.ndarray | pl.Series | None = None) -> np.ndarray:
        """Sum of one value per segment (default: 1) over each text, float64."""
        weights = None if values is None else np.asarray(values, dtype=np.float64)
        return np.bincount(self.text_index, weights=weights, minlength=self.texts).astype(np.float64)

    def share(self, values: np.ndarray | pl.Series) -> np.ndarray:
        """The same divided by the number of segments of the text; 0 for a text without segments."""
        shares: np.ndarray = self.total(values) / np.maximum(self.total(), 1)
        return shares


def lines(texts: pl.Series) -> Segments:
    """The non-blank lines, without surrounding white space."""
    return _flatten(texts.str.split("\n"))


def paragraphs(texts: pl.Series) -> Segments:
    """The paragraphs: text between blank lines."""
    return _flatten(texts.str.replace_all(r"\n[ \t]*\n\s*", "\u0000").str.split("\u0000"))


def _flatten(lists: pl.Series) -> Segments:
    items = lists.explode(empty_as_null=False, keep_nulls=False).str.strip_chars()
    text_index = np.repeat(np.arange(len(lists)), lists.list.len().fill_null(0).to_numpy())
    not_blank = items.str.len_bytes() > 0
    return Segments(items.filter(not_blank), text_index[not_blank.to_numpy()], len(lists))
