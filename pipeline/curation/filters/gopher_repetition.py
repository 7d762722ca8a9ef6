"""Repetition inside a document, after Gopher (Rae et al. 2021, appendix A1.1, table A1).

Duplicate n-grams are found from short to long: an n-gram that occurs twice contains two (n-1)-grams that occur twice,
so each length examines only the duplicates of the previous one. Words are 64-bit hashes. An n-gram's key is mixed from
the key of its first n-1 words, its last word and the document, so all documents are searched at once.

The paper counts the characters within duplicate n-grams, each once. Here that means: within an n-gram that occurred
earlier in the document. If the first occurrence counted as well, a sentence that occurs twice would count as two
repeated sentences. Datatrove does the same (but skips overlapping n-grams, so it finds fewer).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.text.classes import Pieces
from pipeline.text.segments import Segments
from pipeline.text.words import repeated_places

TOP = (2, 3, 4)
DUPLICATE = (5, 6, 7, 8, 9, 10)
# Shorter repeated lines are headings, cells and labels (`Example`); only their characters count.
LABEL = 20
_ODD = np.uint64(0x9E3779B97F4A7C15)


def repetition_columns(lines: Segments, paragraphs: Segments, words: Pieces) -> pl.DataFrame:
    """Shares (f32, 0 to 1), one row per text.

    `dup_lines`, `dup_paragraphs`: segments that occurred before; `dup_line_chars`, `dup_paragraph_chars`: characters in
    them; `top_2` to `top_4`: characters in the most frequent n-gram; `dup_5` to `dup_10`: characters in n-grams that
    occurred before. Characters are those of words, without white space. A text of fewer than n words has 0.
    """
    columns: dict[str, np.ndarray] = {}
    for name, pieces in (("line", lines), ("paragraph", paragraphs)):
        again = occurred_before(pieces.items.hash().to_numpy(), pieces.text_index)
        chars = pieces.items.str.len_chars().to_numpy().astype(np.float64)
        columns[f"dup_{name}s"] = pieces.share(again & (chars > LABEL))
        columns[f"dup_{name}_chars"] = pieces.total(chars * again) / np.maximum(pieces.total(chars), 1)
    columns |= _n_grams(words)
    return pl.DataFrame({name: values.astype(np.float32) for name, values in columns.items()})


def occurred_before(keys: np.ndarray, of: np.ndarray) -> np.ndarray:
    """For each segment, whether the same one occurred earlier in its text."""
    return ~pl.Series(_mix(keys, of.astype(np.uint64))).is_first_distinct().to_numpy()


def _mix(keys: np.ndarray, more: np.ndarray) -> np.ndarray:
    """One 64-bit key from two; different inputs give different keys except by chance."""
    mixed = (keys ^ (more * _ODD)) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)


def _n_grams(words: Pieces) -> dict[str, np.ndarray]:
    hashes, chars, of, texts = words
    total = np.maximum(np.bincount(of, weights=chars, minlength=texts), 1)
    ends = np.concatenate([[0], np.cumsum(chars)])  # characters before each word
    columns: dict[str, np.ndarray] = {}
    # Single words, most of which occur twice; the text is mixed into their keys.
    at = np.arange(len(of))
    keys = _mix(hashes, of.astype(np.uint64))
    for n in range(2, max(DUPLICATE) + 1):
        # Longer by one word: both parts occur twice, and the last word belongs to the same text.
        stood = np.zeros(len(of) + 1, bool)
        stood[at] = True
        last = at + n - 1
        longer = stood[at + 1] & (last < len(of))
        at, keys, last = at[longer], keys[longer], last[longer]
        same = of[at] == of[last]
        at, keys = at[same], _mix(keys[same], hashes[last[same]])
        some = repeated_places(keys)
        some = some[pl.Series(keys[some]).is_duplicated().to_numpy()]
        at, keys = at[some], keys[some]
        if n in TOP:
            columns[f"top_{n}"] = _most_frequent(keys, of[at], ends[at + n] - ends[at], texts) / total
        if n in DUPLICATE:
            again = at[~pl.Series(keys).is_first_distinct().to_numpy()]
            inside = np.zeros(len(of), bool)
            for step in range(n):
                inside[again + step] = True
            place = np.flatnonzero(inside)
            columns[f"dup_{n}"] = np.bincount(of[place], weights=chars[place], minlength=texts) / total
    return columns


def _most_frequent(keys: np.ndarray, of: np.ndarray, chars: np.ndarray, texts: int) -> np.ndarray:
    """Characters in each text's most frequent n-gram; of equally frequent ones, in the longest."""
    grams = (
        pl.DataFrame({"key": keys, "of": of, "chars": chars})
        .group_by("key")
        .agg(pl.len().alias("times"), pl.col("of").first(), pl.col("chars").first())
    )
    most = grams.group_by("of").agg(
        (pl.col("times") * pl.col("chars")).filter(pl.col("times") == pl.col("times").max()).max().alias("taken")
    )
    taken = np.zeros(texts)
    taken[most["of"].to_numpy()] = most["taken"].to_numpy()
    return taken
