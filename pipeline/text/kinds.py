"""The kind of text of a document, as far as filters need it: code, Korean, other text with spaces, text without spaces.

It is determined from the text alone and at little cost, so that no stage needs the signals of another one.
"""

from __future__ import annotations

import polars as pl

from pipeline.text.characters import SCRIPTS
from pipeline.text.code_lines import READ, code_columns, holds_blocks, is_code

HANGUL_WEIGHT = 2.5  # Latin letters that carry as much information as one Hangul syllable
KOREAN = 0.3  # weighted share of Hangul among the letters from which a text counts as Korean
MIXED = 0.03  # share of Hangul below which a text counts as free of Korean
UNSPACED = 0.5  # share of kana, Han, Thai and similar letters from which a text counts as written without spaces

UNMARKED = ("thai", "other_unspaced")  # scripts in which a sentence ends without a mark, or with one of their own

# Over the columns of `characters.count_kinds`.
HANGUL_SHARE = (
    HANGUL_WEIGHT
    * pl.col("hangul")
    / (pl.sum_horizontal(list(SCRIPTS)) + (HANGUL_WEIGHT - 1) * pl.col("hangul").cast(pl.Float64)).clip(1)
)


def detect_code(documents: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Whether each document (`text`, `lang`) is code, and whether it holds fenced or indented code blocks.

    Where the language of all documents was found (`lang_found`), which answers the first, only blocks are looked for.
    """
    if "lang_found" in documents.columns and documents["lang_found"].all():
        blocks = holds_blocks(documents["text"].str.slice(0, READ))
        return (documents["lang"] == "code").fill_null(False).alias("code"), blocks
    columns = code_columns(documents["text"])
    return columns.select(is_code(documents["lang"]).fill_null(False).alias("code")).to_series(), columns["fenced"]


def kinds_of_prose(counts: pl.DataFrame) -> pl.Series:
    """`ko`, `unspaced` or `spaced`, from `characters.count_kinds`."""
    unspaced = pl.sum_horizontal("kana", "han", *UNMARKED) / pl.sum_horizontal(list(SCRIPTS)).clip(1)
    kind = (
        pl.when(HANGUL_SHARE >= KOREAN)
        .then(pl.lit("ko"))
        .when(unspaced >= UNSPACED)
        .then(pl.lit("unspaced"))
        .otherwise(pl.lit("spaced"))
    )
    return counts.select(kind.alias("kind")).to_series()


def mixed(counts: pl.DataFrame) -> pl.Series:
    """Whether a text mixes Hangul with other letters: too much to count as free of Korean, too little for Korean."""
    return counts.select(((HANGUL_SHARE >= MIXED) & (HANGUL_SHARE < KOREAN)).alias("mixed")).to_series()
