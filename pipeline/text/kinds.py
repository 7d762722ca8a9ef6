"""What kind of text a document is, as far as filters have to know: code, Korean, other spaced writing, or unspaced.

Told from the text alone and cheaply, so that a stage need not be handed another stage's signals.
"""

from __future__ import annotations

import polars as pl

from pipeline.text.characters import SCRIPTS
from pipeline.text.code_lines import code_columns, is_code

HANGUL_WEIGHT = 2.5  # letters of Latin that a syllable of Hangul says as much as
KOREAN = 0.3  # share of Hangul among the letters, so weighted, from which on a text is counted as Korean
MIXED = 0.03  # share of Hangul below which a text is free of Korean
UNSPACED = 0.5  # share of kana, Han and Thai letters

# Of the weighted letters counted by `characters.count_kinds`.
HANGUL_SHARE = (
    HANGUL_WEIGHT
    * pl.col("hangul")
    / (pl.sum_horizontal(list(SCRIPTS)) + (HANGUL_WEIGHT - 1) * pl.col("hangul").cast(pl.Float64)).clip(1)
)


def code_or_not(documents: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """Whether each document is code, and whether it holds blocks of code set apart. Needs `text` and `lang`."""
    columns = code_columns(documents["text"])
    return columns.select(is_code(documents["lang"]).fill_null(False).alias("code")).to_series(), columns["fenced"]


def kinds_of_prose(counts: pl.DataFrame) -> pl.Series:
    """`ko`, `unspaced` or `spaced`, from `characters.count_kinds`."""
    unspaced = pl.sum_horizontal("kana", "han", "thai") / pl.sum_horizontal(list(SCRIPTS)).clip(1)
    kind = (
        pl.when(HANGUL_SHARE >= KOREAN)
        .then(pl.lit("ko"))
        .when(unspaced >= UNSPACED)
        .then(pl.lit("unspaced"))
        .otherwise(pl.lit("spaced"))
    )
    return counts.select(kind.alias("kind")).to_series()


def mixed(counts: pl.DataFrame) -> pl.Series:
    """Whether Hangul stands among other letters, too much of it for the one and too little for the other."""
    return counts.select(((HANGUL_SHARE >= MIXED) & (HANGUL_SHARE < KOREAN)).alias("mixed")).to_series()
