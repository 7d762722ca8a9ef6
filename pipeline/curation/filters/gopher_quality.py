"""The figures of Gopher's quality rules (Rae et al. 2021, appendix A1.1): words, symbols, lines, stop words."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.text.segments import Segments

# "at least two of the following English words"; for Korean, particles and endings that occur in all prose instead of
# stop words: a list of names or links has hardly any.
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
KOREAN_ENDINGS = ("은", "는", "이", "가", "을", "를", "에", "의", "도", "로", "고", "다", "서", "한", "며", "요")
# Dashes and stars at the margin are bullets in Markdown; datatrove counts `•` and `-`.
BULLET = r"^(?:[•‣◦▪●■○*·+–-]|\d{1,3}[.)])[ \t]"
ELLIPSIS = r"\.\.\.|…"
ELLIPSIS_AT_END = r"(?:\.\.\.|…)[\]\)]?$"


def quality_columns(texts: pl.Series, lines: Segments, counts: pl.DataFrame, characters: pl.Series) -> pl.DataFrame:
    """One row per text. counts: of `classes.pieces_of`; characters: the number of letters and digits of each text.

    `words` (u32, strings between spaces with a letter or a digit), `word_length` (f32, mean length of runs of letters
    and digits, so that a web address counts as the words in it), `hashes` and `ellipses` (f32, per string between
    spaces), `bullet_lines`, `ellipsis_lines` (f32, shares of the non-blank lines), `alpha_words` (f32, share of the
    words), `stop_words` (u8, number of distinct ones), `korean_endings` (u8, the same).
    """
    found = pl.DataFrame({"text": texts}).select(
        hashes=pl.col("text").str.count_matches("#", literal=True),
        ellipses=pl.col("text").str.count_matches(ELLIPSIS),
        stop_words=distinct_stop_words(pl.col("text")),
        korean_endings=pl.sum_horizontal(
            pl.col("text").str.contains(rf"[가-힣]{ending}[\s.,?!]").cast(pl.UInt8) for ending in KOREAN_ENDINGS
        ),
    )
    pieces = pl.col("pieces").clip(1)
    return (
        found.hstack(counts)
        .select(
            pl.col("words").cast(pl.UInt32),
            (characters / pl.col("runs").clip(1)).cast(pl.Float32).alias("word_length"),
            (pl.col("hashes") / pieces).cast(pl.Float32).alias("hashes"),
            (pl.col("ellipses") / pieces).cast(pl.Float32).alias("ellipses"),
            (pl.col("with_letter") / pl.col("words").clip(1)).cast(pl.Float32).alias("alpha_words"),
            pl.col("stop_words").cast(pl.UInt8),
            pl.col("korean_endings").cast(pl.UInt8),
        )
        .with_columns(
            bullet_lines=pl.Series(lines.share(lines.items.str.contains(BULLET)).astype(np.float32)),
            ellipsis_lines=pl.Series(lines.share(lines.items.str.contains(ELLIPSIS_AT_END)).astype(np.float32)),
        )
    )


def distinct_stop_words(text: pl.Expr) -> pl.Expr:
    """How many of the eight English STOP_WORDS stand in a text (u8)."""
    return pl.sum_horizontal(text.str.contains(rf"(?i-u:\b{word}\b)").cast(pl.UInt8) for word in STOP_WORDS)
