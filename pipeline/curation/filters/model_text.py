"""What the trained filters read: which documents stand first in line, and text as words between spaces.

No document is judged by a model that has seen it. The documents fall into two folds by their id, a model is trained on
each, and the other fold is judged by it; so a model may be trained on the very text that it filters, which is what
a person with one folder of text has.
"""

from __future__ import annotations

import polars as pl

from pipeline.curation.filters.kneser_ney import BLANK
from pipeline.text.characters import count_kinds
from pipeline.text.code_lines import BLOCK_BEGINS, without_blocks
from pipeline.text.kinds import detect_code, kinds_of_prose, mixed
from pipeline.text.prose import prose_of

KINDS = ("ko", "spaced")  # of text that is modelled: code and text without spaces have no words to count
FOLDS = 2
MAX_DOCUMENT_CHARACTERS = (
    20_000  # characters of a document that are read, so that a few long ones are not all of a sample
)
JUDGED = 800  # characters of each of the two pieces, start and middle, that a document is judged by


def fold(doc_ids: pl.Series) -> pl.Series:
    """0 or 1 for each document, by the last digit of its id (equal texts fall together)."""
    return doc_ids.str.slice(-1).str.to_integer(base=16, dtype=pl.Int64) % FOLDS


def turn() -> pl.Expr:
    """Where a document stands in line, 0 to 1: by a part of its id that tells neither its fragment nor its fold."""
    return pl.col("doc_id").str.slice(16, 8).str.to_integer(base=16, dtype=pl.Int64) / 2**32


def judged(documents: pl.DataFrame) -> pl.DataFrame:
    """What documents (doc_id, text, lang) are judged by: `kind`, `fold` and `words` (see `as_words`), row for row."""
    texts = prose(documents["text"])
    length = pl.col("text").str.len_chars()
    start = pl.col("text").str.slice(0, JUDGED)
    middle = pl.col("text").str.slice(pl.max_horizontal(length // 2, JUDGED), JUDGED)
    pieces = texts.alias("text").to_frame().select(pl.concat_str([start, middle], separator="\n")).to_series()
    return pl.DataFrame(
        [
            kinds(documents, texts),
            fold(documents["doc_id"]).alias("fold"),
            as_words(pieces).alias("words"),
        ]
    )


def kinds(documents: pl.DataFrame, texts: pl.Series) -> pl.Series:
    """`kind` of each document, by its prose `texts`: one of KINDS, or what no model is for: code, mixed, unspaced."""
    code, _ = detect_code(documents)
    counts = count_kinds(texts)
    kind = (
        pl.when(code).then(pl.lit("code")).when(mixed(counts)).then(pl.lit("mixed")).otherwise(kinds_of_prose(counts))
    )
    return pl.select(kind.alias("kind")).to_series()


def prose(texts: pl.Series) -> pl.Series:
    """What the models read of each text: its prose, without code, tags and layout."""
    texts = texts.fill_null("").str.slice(0, MAX_DOCUMENT_CHARACTERS)
    return prose_of(without_blocks(texts, texts.str.contains(BLOCK_BEGINS)))


def as_words(texts: pl.Series) -> pl.Series:
    """Lower case, digits as 0, addresses as one word, marks apart, and Hangul by syllables with the first one marked.

    Korean words carry particles and endings, so that most are rare; their syllables are not, and need no vocabulary
    to be learned first. Follows what CCNet does before its language model (Wenzek et al. 2020), marks kept.
    """
    return (
        texts.str.to_lowercase()
        .str.replace_all(r"https?://\S+", " url ")
        .str.replace_all(r"[0-9]", "0")
        .str.replace_all(r"([^\p{L}\p{N}\s]+)", " $1 ")
        .str.replace_all(r"(^|[^가-힣])([가-힣])", "$1 ▁$2")
        .str.replace_all(r"([가-힣])", "$1 ")
        .str.replace_all(BLANK, " ")
        .str.strip_chars(" ")
    )
