"""The figures of the rules for source code, after StarCoder (Li et al. 2023, section 3.2)."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.text.classes import letters_and_numbers
from pipeline.text.segments import Segments

# Searched for at the start of a file, as in StarCoder ("auto-generated", "automatically generated" and the like).
GENERATED = (
    r"(?i-u:auto-?generated|automatically[ -]generated|generated automatically|machine[ -]generated|@generated"
    r"|(?:code|file) (?:is|was|has been) generated|do not edit)"
)
HEAD = 500


def code_rule_columns(texts: pl.Series, lines: Segments) -> pl.DataFrame:
    """`lines`, `longest_line` (u32), `mean_line` (f32), `alnum` (f32, share of letters and digits), `generated`."""
    length = lines.items.str.len_chars().to_numpy()
    longest = np.zeros(lines.texts, np.int64)
    np.maximum.at(longest, lines.text_index, length)
    alnum = pl.Series(letters_and_numbers(texts)) / texts.str.len_chars().clip(1)
    return pl.DataFrame(
        {
            "lines": lines.total().astype(np.uint32),
            "longest_line": longest.astype(np.uint32),
            "mean_line": (lines.total(length) / np.maximum(lines.total(), 1)).astype(np.float32),
            "alnum": alnum.cast(pl.Float32),
            "generated": texts.str.slice(0, HEAD).str.contains(GENERATED),
        }
    )
