"""The input of the trained filters: the order of sampling, cross-validation folds, and text as words.

No document is judged by a model that was trained on it. Documents are split into two folds by their id; a model is
trained on each fold and judges the other. So a model may be trained on the same corpus that it filters, which may be
the only one there is.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from pipeline.documents.document import SAMPLE_DIGIT, id_fraction
from pipeline.text.characters import count_kinds
from pipeline.text.code_lines import BLOCK_BEGINS, without_blocks
from pipeline.text.kinds import detect_code, kinds_of_prose, mixed
from pipeline.text.prose import prose_of
from pipeline.text.words import MULTIPLIER, mix

# Kinds of text that have a model of their own: Korean, English (`spaced`), and each other language by its code.
KINDS = ("ko", "spaced")
NOT_MODELLED = ("code", "mixed", "unspaced")  # they have no words to count
UNIT = "\x1f"  # stands between the words of a text
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
    """What documents (doc_id, text, lang) are judged by: `kind`, `fold` and `words` (see `as_words`), row for row.

    shuffled: also `shuffled`, the same words in another order.
    """
    texts = prose_to_model(documents["text"])
    length = pl.col("text").str.len_chars()
    start = pl.col("text").str.slice(0, JUDGED)
    middle = pl.col("text").str.slice(pl.max_horizontal(length // 2, JUDGED), JUDGED)
    excerpts = texts.alias("text").to_frame().select(pl.concat_str([start, middle], separator="\n")).to_series()
    units = as_units(excerpts)
    columns = [
        kinds(documents, texts),
        fold_of(documents["doc_id"]).alias("fold"),
        tidied(units).alias("words"),
    ]
    if shuffled:
        columns.append(tidied(in_another_order(units, documents["doc_id"])).alias("shuffled"))
    return pl.DataFrame(columns)


def in_another_order(units: pl.Series, doc_ids: pl.Series) -> pl.Series:
    """The units of each text (see `as_units`) in an order that depends on nothing but its id and their number."""
    lists = units.str.split(UNIT)
    counts = lists.list.len().to_numpy().astype(np.int64)
    owner = np.repeat(np.arange(len(lists), dtype=np.uint64), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    seeds = doc_ids.str.slice(-15).str.to_integer(base=16, dtype=pl.Int64).to_numpy().astype(np.uint64)
    keys = mix(seeds[owner.astype(np.int64)] + place.astype(np.uint64) * MULTIPLIER)
    order = np.argsort(owner << np.uint64(40) | keys >> np.uint64(24), kind="stable")
    moved = lists.explode(empty_as_null=False, keep_nulls=False).gather(order)
    frame = moved.alias("unit").to_frame().with_columns(text=pl.Series(owner)).group_by("text", maintain_order=True)
    return frame.agg(pl.col("unit").str.join(UNIT))["unit"]


def kinds(documents: pl.DataFrame, texts: pl.Series) -> pl.Series:
    """`kind` of each document, given its prose `texts`: `ko`, `spaced` (English, or in an unknown language), the
    code of another language, or one of NOT_MODELLED."""
    code, _ = detect_code(documents)
    counts = count_kinds(texts)
    kind = (
        pl.when(code).then(pl.lit("code")).when(mixed(counts)).then(pl.lit("mixed")).otherwise(kinds_of_prose(counts))
    )
    lang = documents["lang"]
    another = (kind == "spaced") & lang.is_not_null() & ~lang.is_in(["en", "ko", "ja", "zh", "code", "und"])
    return pl.select(pl.when(another).then(lang).otherwise(kind).alias("kind")).to_series()


def prose_to_model(texts: pl.Series) -> pl.Series:
    """The prose of each text, without code, tags and layout marks."""
    texts = texts.fill_null("").str.slice(0, MAX_DOCUMENT_CHARACTERS)
    return prose_of(without_blocks(texts, texts.str.contains(BLOCK_BEGINS)))


def as_words(texts: pl.Series) -> pl.Series:
    """Texts as words separated by spaces: lower case, digits as 0, addresses as one word, punctuation split off.

    Hangul is split into syllables, the first one of a word marked: Korean words carry particles and endings, so most
    are rare, while syllables are not and need no learned vocabulary. Follows the preprocessing of CCNet (Wenzek et al.
    2020), but keeps punctuation.
    """
    return tidied(as_units(texts))


def as_units(texts: pl.Series) -> pl.Series:
    """The same with UNIT where the text has white space, so that each word keeps its marks beside it."""
    texts = texts.str.to_lowercase()
    addresses = texts.str.contains("http", literal=True)
    if addresses.any():
        named = texts.filter(addresses).str.replace_all(r"https?://\S+", " url ")
        texts = texts.clone().scatter(addresses.arg_true(), named)
    texts = (
        texts.str.replace_all(r"[0-9]", "0")
        .str.replace_all(r"[\s\x00-\x1f]+", UNIT)
        .str.replace_all(r"([^\p{L}\p{N}\s\x1f]+)", " $1 ")
    )
    korean = texts.str.contains("[가-힣]")
    if korean.any():
        syllables = (
            texts.filter(korean)
            .str.replace_all(r"(^|[^가-힣])([가-힣])", "$1 ▁$2")
            .str.replace_all(r"([가-힣])", "$1 ")
        )
        texts = texts.clone().scatter(korean.arg_true(), syllables)
    return texts.str.strip_chars(f" {UNIT}")


def tidied(units: pl.Series) -> pl.Series:
    """Units as words with one space between them."""
    return units.str.replace_all(f"[ {UNIT}]+", " ").str.strip_chars(" ")
