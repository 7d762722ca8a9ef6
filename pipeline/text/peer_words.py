"""Words as datatrove counts them: spaCy's tokens, and for Korean the morphemes of Kiwi (datatrove 0.10).

Published thresholds were chosen on this count, in which a comma is a word. spaCy splits a text at white space and then
each piece by itself, so each distinct piece is split once; one of letters alone is a word unless spaCy has a rule for
it. Kiwi reads a text as a whole.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import UserError
from pipeline.text.segments import Segments

PIECE = r"[^\s\x1c-\x1f]+"  # what Python's `str.isspace` does not count, and with it spaCy
NO_SKIP_BIGRAMS = (0, 22)  # from here on Kiwi leaves out the model that datatrove names
LONG_NUMBER = re.compile("[0-9,]{20,}")  # cut out before Kiwi reads a text, as datatrove does
# What spaCy splits at its ends alone, unless it has a rule for a part of it.
PLAIN = r"""^([("]?)([A-Za-z]+|[0-9]+)([,;:!?)"]?)$"""
SENTENCE_ENDS = r"^\p{Sentence_Terminal}$"
PUNCTUATION = r"^\p{P}+$"


def spacy_words(texts: pl.Series) -> Segments:
    """The tokens of spaCy's English rules, without white space."""
    lists = texts.str.extract_all(PIECE)
    pieces = lists.explode(empty_as_null=False, keep_nulls=False).alias("piece")
    of = np.repeat(np.arange(len(texts)), lists.list.len().fill_null(0).to_numpy())
    distinct = pieces.unique(maintain_order=True)
    tokens = pl.DataFrame({"piece": distinct, "tokens": _split(distinct)})
    joined = pieces.to_frame().with_columns(of=pl.Series(of)).join(tokens, on="piece", maintain_order="left")
    flat = joined.select("of", "tokens").explode("tokens", empty_as_null=False, keep_nulls=False)
    return Segments(flat["tokens"], flat["of"].to_numpy(), len(texts))


def _split(pieces: pl.Series) -> pl.Series:
    """The tokens of each piece of text without white space, as lists."""
    known = _spacy().rules
    parts = pieces.str.extract_groups(PLAIN).struct.unnest()
    tokens: list[list[str]] = []
    with _spacy().vocab.memory_zone():  # else the vocabulary would grow with the corpus
        for piece, (before, word, after) in zip(pieces.to_list(), parts.iter_rows(), strict=True):
            plain = word is not None and not {word, before + word, word + after, piece} & known.keys()
            own = [part for part in (before, word, after) if part] if plain else _spacy()(piece)
            tokens.append(own if plain else [token.text for token in own])
    return pl.Series(tokens, dtype=pl.List(pl.String))


@cache
def _spacy() -> Any:
    import spacy

    return spacy.blank("en").tokenizer


def kiwi_words(texts: pl.Series) -> Segments:
    """The morphemes of Kiwi, each as the text that it stands for, without white space. Raises UserError without it.

    As in datatrove, places in the text without its long numbers are looked up in the text with them.
    """
    items: list[str] = []
    of: list[int] = []
    for row, text in enumerate(texts.to_list()):
        found = [text[token.start : token.end].strip() for token in _kiwi().tokenize(LONG_NUMBER.sub("", text))]
        words = [word for word in found if word]
        items += words
        of += [row] * len(words)
    return Segments(pl.Series(items, dtype=pl.String), np.array(of, dtype=np.int64), len(texts))


@cache
def _kiwi() -> Any:
    try:
        from kiwipiepy import Kiwi

        if tuple(map(int, version("kiwipiepy").split(".")[:2])) >= NO_SKIP_BIGRAMS:
            raise ImportError
    except ImportError:
        raise UserError(
            "The presets of `curation.heuristics` count Korean words as datatrove does, with Kiwi below 0.22, which is "
            "not installed: `pip install 'kiwipiepy<0.22'` (or the extra `korean`), or use `preset: ours`."
        ) from None
    return Kiwi(model_type="sbg", num_workers=1)


# -- sentences ---------------------------------------------------------------------------------------------------------


def spacy_sentences(lines: pl.Series) -> np.ndarray:
    """The number of sentences of each line, by spaCy's rule: a word after a sentence's end begins another one."""
    words = spacy_words(lines)
    ends = words.items.str.contains(SENTENCE_ENDS).to_numpy()
    others = ~(ends | words.items.str.contains(PUNCTUATION).to_numpy())
    ended = np.cumsum(ends)  # ends up to each word, over all lines
    first = np.searchsorted(words.text_index, np.arange(len(lines)))
    before = np.concatenate([[0], ended])[first]  # ends before each line
    own = ended[others] - before[words.text_index[others]]
    of = words.text_index[others]
    earlier = np.concatenate([[0], own[:-1]]) if len(own) else own
    earlier[np.concatenate([[True], of[1:] != of[:-1]]) if len(of) else []] = 0
    begun = np.bincount(of, weights=own > earlier, minlength=len(lines))
    counts: np.ndarray = (begun + (words.total() > 0)).astype(np.int64)
    return counts


def kiwi_sentences(lines: pl.Series) -> np.ndarray:
    """The number of sentences of each line, by Kiwi. Raises UserError without it."""
    found = [_kiwi().split_into_sents(LONG_NUMBER.sub("", line)) for line in lines.to_list()]
    return np.array([sum(bool(sentence.text.strip()) for sentence in sentences) for sentences in found], dtype=np.int64)
