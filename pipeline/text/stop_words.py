"""The most frequent words of a language, without which its prose cannot be: articles, pronouns, prepositions.

The lists are those of spaCy, which Presidio brings along. Each is a file with one set in it, which is read without
importing spaCy (that would take seconds and load its tokenisers).
"""

from __future__ import annotations

import runpy
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import regex

# lid.176 calls these languages otherwise than spaCy; those of one standard language share its list.
SAME = {"no": "nb", "nn": "nb", "bs": "hr", "sh": "hr", "gsw": "de", "als": "de", "ku": "kmr"}

FEWEST = 40  # words of a list: good prose may hold none of a shorter one
WORD = r"[\p{L}\p{M}]+"
ONE_WORD = regex.compile(WORD)


@lru_cache(maxsize=64)
def stop_words_of(lang: str) -> frozenset[str]:
    """The stop words of a language (ISO 639-1), in lower case; empty where there is no list."""
    found = find_spec("spacy")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "lang" / SAME.get(lang, lang) / "stop_words.py"
        if lang.isalpha() and path.exists():
            words = runpy.run_path(str(path)).get("STOP_WORDS", ())
            known = frozenset(word.lower() for word in words if ONE_WORD.fullmatch(word))
            return known if len(known) >= FEWEST else frozenset()
    return frozenset()


def count_stop_words(texts: pl.Series, langs: pl.Series) -> pl.Series:
    """The number of distinct stop words of its language in each text (u8, at most 255); null where there is no list."""
    counts: list[int | None] = [None] * len(texts)
    for lang in langs.drop_nulls().unique().sort():
        known = stop_words_of(lang)
        rows = (langs == lang).fill_null(False).arg_true().to_list() if known else []
        if not rows:
            continue
        words = texts.gather(rows).str.to_lowercase().str.extract_all(WORD).to_frame("words")
        found = words.select(pl.col("words").list.unique().list.set_intersection(sorted(known)).list.len())
        for row, count in zip(rows, found.to_series(), strict=True):
            counts[row] = min(int(count or 0), 255)
    return pl.Series("stop_words", counts, dtype=pl.UInt8)
