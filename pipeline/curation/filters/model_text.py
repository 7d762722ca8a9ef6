"""The input of the trained filters: the order of sampling, cross-validation folds, and text as words.

No document is judged by a model that was trained on it. Documents are split into two folds by their id; a model is
trained on each fold and judges the other. So a model may be trained on the same corpus that it filters, which may be
the only one there is.
"""

from __future__ import annotations

import polars as pl

from pipeline.curation.filters.model_words import as_words, in_both_orders
from pipeline.documents.document import SAMPLE_DIGIT, id_fraction
from pipeline.text.characters import count_kinds
from pipeline.text.code_lines import holds_blocks, without_blocks
from pipeline.text.kinds import detect_code, kinds_of_prose, mixed
from pipeline.text.prose import prose_of

# Kinds of text that have a model of their own: Korean, English (`spaced`), and each other language by its code.
KINDS = ("ko", "spaced")
NOT_MODELLED = ("code", "mixed", "unspaced")  # they have no words to count
FOLDS = 2
MAX_DOCUMENT_CHARACTERS = 20_000  # most characters read of a document, so that a few long ones do not fill a sample
JUDGED = 800  # characters of each of the two excerpts, from start and middle, that a document is judged by


def fold_of(doc_ids: pl.Series) -> pl.Series:
    """The cross-validation fold of each document, 0 or 1, by the last digit of its id (equal texts share a fold)."""
    return doc_ids.str.slice(-1).str.to_integer(base=16, dtype=pl.Int64) % FOLDS


def sample_order() -> pl.Expr:
    """A document's position in the random order of sampling, in [0, 1): independent of its fragment and its fold."""
    return id_fraction(pl.col("doc_id"), SAMPLE_DIGIT)


def model_input(documents: pl.DataFrame, shuffled: bool = False) -> pl.DataFrame:
    """What documents (doc_id, text, lang) are judged by: `kind`, `fold` and `words` (see `model_words`), row for row.

    `words` is empty where the kind is not modelled. shuffled: also `shuffled`, the same words in another order.
    """
    kind, texts = kinds_and_prose(documents)
    length = pl.col("text").str.len_chars()
    start = pl.col("text").str.slice(0, JUDGED)
    middle = pl.col("text").str.slice(pl.max_horizontal(length // 2, JUDGED), JUDGED)
    rows = (~kind.is_in(NOT_MODELLED)).arg_true()
    judged = texts.gather(rows).alias("text").to_frame()
    excerpts = judged.select(pl.concat_str([start, middle], separator="\n")).to_series()
    if shuffled:
        words, moved = in_both_orders(excerpts, documents["doc_id"].gather(rows))
        columns = {"words": words, "shuffled": moved}
    else:
        columns = {"words": as_words(excerpts)}
    empty = pl.repeat("", documents.height, dtype=pl.String, eager=True)
    spread = [(empty.scatter(rows, column) if len(rows) else empty).alias(name) for name, column in columns.items()]
    return pl.DataFrame([kind, fold_of(documents["doc_id"]).alias("fold"), *spread])


def kinds_and_prose(documents: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """`kind` of each document, and its prose (empty for code).

    Kinds are `ko`, `spaced` (English, or in an unknown language), the code of another language, or one of NOT_MODELLED.
    """
    code, _ = detect_code(documents)
    texts = prose_to_model(pl.select(pl.when(~code).then(documents["text"])).to_series())
    counts = count_kinds(texts)
    kind = (
        pl.when(code).then(pl.lit("code")).when(mixed(counts)).then(pl.lit("mixed")).otherwise(kinds_of_prose(counts))
    )
    lang = documents["lang"]
    another = (kind == "spaced") & lang.is_not_null() & ~lang.is_in(["en", "ko", "ja", "zh", "code", "und"])
    return pl.select(pl.when(another).then(lang).otherwise(kind).alias("kind")).to_series(), texts


def prose_to_model(texts: pl.Series) -> pl.Series:
    """The prose of each text, without code, tags and layout marks."""
    texts = texts.fill_null("").str.slice(0, MAX_DOCUMENT_CHARACTERS)
    return prose_of(without_blocks(texts, holds_blocks(texts)))
