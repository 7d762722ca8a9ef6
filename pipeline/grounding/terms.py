"""What is looked up of a text: Korean by pairs of syllables, everything else by words without their English endings.

A Korean word has its particles and endings attached to it, so a whole word is found again too rarely. Pairs of
neighbouring syllables need no dictionary, and served Korean retrieval as well as the stems of a morphological analysis
(Lee, Cho and Park 1999, "n-gram indexing"; Lucene's CJKAnalyzer does the same).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import polars as pl
import xxhash

WORD = r"\p{Hangul}+|[\p{L}\p{M}--\p{Hangul}]+|\p{N}+"
FIRST, LAST = "\uac00", "\ud7a3"  # Hangul syllables


def terms_of(texts: pl.Series) -> pl.DataFrame:
    """How often each term is in each text: `row` (index into texts), `term` (a hash of 64 bits), `count`.

    Sorted by row and term.
    """
    words = texts.fill_null("").str.normalize("NFKC").str.to_lowercase().str.extract_all(WORD)
    frame = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True), "word": words})
    frame = frame.explode("word", empty_as_null=True).drop_nulls("word")
    distinct = frame["word"].unique()
    spelt = pl.Series("term", [list(terms_of_word(word)) for word in distinct], dtype=pl.List(pl.UInt64))
    found = frame.join(pl.DataFrame({"word": distinct, "term": spelt}), on="word").explode("term", empty_as_null=True)
    return found.group_by("row", "term").agg(count=pl.len().clip(0, 65535).cast(pl.UInt16)).sort("row", "term")


def terms_of_text(text: str) -> np.ndarray:
    """The distinct terms of one text, uint64, sorted."""
    return np.unique(terms_of(pl.Series([text]))["term"].to_numpy())


@functools.lru_cache(maxsize=1 << 17)
def terms_of_word(word: str) -> tuple[int, ...]:
    """The hashes of the terms of a word in lower case."""
    return tuple(xxhash.xxh3_64_intdigest(term.encode()) for term in _spelt(word))


def _spelt(word: str) -> Iterator[str]:
    if not FIRST <= word[0] <= LAST:
        yield _stem(word)
    elif len(word) == 1:
        yield word
    else:
        yield from (word[place : place + 2] for place in range(len(word) - 1))


def _stem(word: str) -> str:
    """A word without its English ending (Porter's second stemmer); others stay as they are."""
    return _stemmer().stem(word) if word.isascii() and word.isalpha() and len(word) > 3 else word


@functools.cache
def _stemmer():  # type: ignore[no-untyped-def]
    from nltk.stem.snowball import EnglishStemmer

    return EnglishStemmer()
