"""Texts cut into lines or words, flat: all pieces of all texts in one column, and for each the text that it is of.

Everything that the heuristics count is a sum over a text's pieces, so one flat column and one histogram answer for all
texts at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Pieces:
    """Pieces of a column of `texts` texts, in order."""

    items: pl.Series  # strings
    of: np.ndarray  # int64, for each piece the index of its text
    texts: int

    def total(self, values: np.ndarray | pl.Series | None = None) -> np.ndarray:
        """Sum of one value a piece (default: their number) over each text, float64."""
        weights = None if values is None else np.asarray(values, dtype=np.float64)
        return np.bincount(self.of, weights=weights, minlength=self.texts).astype(np.float64)

    def share(self, values: np.ndarray | pl.Series) -> np.ndarray:
        """The same, divided by the number of the text's pieces; 0 where it has none."""
        return self.total(values) / np.maximum(self.total(), 1)


def lines(texts: pl.Series) -> Pieces:
    """The lines that are not blank, without white space around them."""
    return _flat(texts.str.split("\n"), blank=True)


def paragraphs(texts: pl.Series) -> Pieces:
    """What stands between blank lines."""
    return _flat(texts.str.replace_all(r"\n[ \t]*\n\s*", "\u0000").str.split("\u0000"), blank=True)


def words(texts: pl.Series) -> Pieces:
    """What stands between white space: words of English, eojeol of Korean."""
    return _flat(texts.str.extract_all(r"\S+"), blank=False)


def _flat(lists: pl.Series, blank: bool) -> Pieces:
    items = lists.explode(empty_as_null=False, keep_nulls=False)
    of = np.repeat(np.arange(len(lists)), lists.list.len().fill_null(0).to_numpy())
    if blank:
        items = items.str.strip_chars()
        there = items.str.len_bytes() > 0
        items, of = items.filter(there), of[there.to_numpy()]
    return Pieces(items, of, len(lists))
