"""The figures of FineWeb's and C4's rules: line ends, line lengths, sentences, phrases.

FineWeb: Penedo et al. 2024, section 3.6. C4: Raffel et al. 2020, section 2.2. As in FineWeb, C4's rule that drops every
line without terminal punctuation is left out: it removed 30 % of the text, and all headings and lists.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.text.prose import without_tags
from pipeline.text.segments import Segments

# Ends of sentences in the scripts that the other rules cover, followed by closing quotes and brackets.
# Korean notes end sentences without a full stop, with a predicate: -다, -요, -음, -함.
TERMINAL = r"[.!?。！？…:;：；।॥۔؟։።][\"'”’»)\]*_`」』〉》]*$|[”」』]$|[가-힣][다요음함됨임까죠][)\]*_`]*$"
LINE_OF_WORDS = r"^\S+(?:\s+\S+){4}"
SENTENCE_END = r"(?m)(?:[.!?…]+[\"'”’)\]*_]*(?:\s|$)|[。！？।॥۔؟։።]|[가-힣][다요음함됨임까죠][)\]*_`]*[ \t]*$)"


def web_columns(texts: pl.Series, lines: Segments, pieces: pl.Series) -> pl.DataFrame:
    """One row per text. pieces: the number of strings between spaces of each text.

    `ended_lines` (f32, share of the lines that end like a sentence), `ends` (f32, sentence ends per line), `sentences`
    (u32, sentence ends plus lines of five and more words that do not end like a sentence, as C4 counts),
    `short_lines_15` and `short_lines_30` (f32, shares of the lines of at most this many characters), `newlines` (f32,
    non-blank lines per word), `lorem_ipsum`, `braces` (bool).
    """
    length = lines.items.str.len_chars().to_numpy()
    ended = lines.items.str.contains(TERMINAL)
    unended = lines.total(lines.items.str.contains(LINE_OF_WORDS) & ~ended)
    found = (
        pl.DataFrame({"text": texts})
        .select(
            ends=pl.col("text").str.count_matches(SENTENCE_END),
            lorem_ipsum=pl.col("text").str.contains("(?i-u:lorem ipsum)"),
            braces=pl.col("text").str.contains("{", literal=True),
        )
        .with_columns(pieces.alias("pieces"))
    )
    return found.select(
        (pl.col("ends") / pl.Series(np.maximum(lines.total(), 1))).cast(pl.Float32).alias("ends"),
        (pl.col("ends") + pl.Series(unended)).cast(pl.UInt32).alias("sentences"),
        "lorem_ipsum",
        "braces",
        (pl.Series(lines.total()) / pl.col("pieces").clip(1)).cast(pl.Float32).alias("newlines"),
    ).with_columns(
        ended_lines=pl.Series(lines.share(ended).astype(np.float32)),
        short_lines_15=pl.Series(lines.share(length <= 15).astype(np.float32)),
        short_lines_30=pl.Series(lines.share(length <= 30).astype(np.float32)),
    )


def markup_share(texts: pl.Series) -> pl.Series:
    """`markup` (f32): share of bytes in tags, scripts and styles, for texts without their code blocks."""
    size = texts.str.len_bytes()
    rest = without_tags(texts, texts.str.contains("</", literal=True)).str.len_bytes()
    return (1 - rest / size.clip(1)).cast(pl.Float32).alias("markup")
