"""Which training documents are near-duplicates of a validation document.

The stage `duplicate_decisions` removes near-duplicates, but it can be switched off and does not find all of them. A
validation document measures nothing if the model has seen a near-copy of it, so near-copies are left out of training.

Similarity is the Jaccard index of the sets of all n-grams of `NGRAM` tokens. Each shard holds a sketch of every
document: the n-gram hashes whose highest bits are zero (Broder 1997, "mod m"), and the smallest hash. Documents whose
sketches are similar are compared exactly. So a new document costs only its own sketch, and no old document is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.documents.reasons import Reason
from pipeline.store.tables import in_batches, scan_tables
from pipeline.tokens.encoding import list_series

NGRAM = 8  # tokens; some 5 or 6 words
SKETCH_BITS = 6  # one n-gram in 64 is kept: an eighth of a byte per token
TOKENS_AT_ONCE = 2**20  # tokens hashed at once
DOCUMENTS_AT_ONCE = 2**16  # whose sketches are compared at once
NO_TOKEN = 2**32 - 1

NEAR_VALIDATION = Reason(
    "near_validation", "shares at least `near_duplicate` of all token n-grams with a validation document (Jaccard)"
)

TABLE = "checks/near_validation.parquet"  # in the shards' artifact: the documents left out of training
SCHEMA = {
    "doc_id": pl.String,
    "fragment": pl.String,
    "row": pl.Int64,  # of the fragment's table
    "lang": pl.String,
    "length": pl.Int64,  # tokens
    "validation_id": pl.String,  # the most similar validation document
    "jaccard": pl.Float64,
}


def ngram_hashes(tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (uint64) of all n-grams, and the row of each, in order. A shorter document is a single n-gram.

    tokens: concatenated ids; lengths: number of ids of each document.
    """
    lengths = lengths.astype(np.int64)
    width = np.maximum(lengths, NGRAM)
    end = np.cumsum(width)
    # Documents shorter than an n-gram are padded with a value that is not an id.
    padded = np.full(int(width.sum()), NO_TOKEN, dtype=np.uint64)
    padded[np.repeat(end - width - (np.cumsum(lengths) - lengths), lengths) + np.arange(len(tokens))] = tokens
    if not len(padded):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    count = len(padded) - NGRAM + 1
    value = np.zeros(count, dtype=np.uint64)
    for offset in range(NGRAM):
        value += padded[offset : offset + count]
        value *= np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing (Knuth, vol. 3, 6.4)
        value ^= value >> np.uint64(29)
    row = np.repeat(np.arange(len(lengths)), width)
    last = np.repeat(end - NGRAM, width)  # where the last n-gram of each document starts
    within_document = (np.arange(len(padded)) <= last)[:count]
    return value[within_document], row[:count][within_document]


def sketches(tokens: np.ndarray, lengths: np.ndarray) -> pl.Series:
    """The sketch of each document: a list of distinct hashes in ascending order."""
    edges = np.concatenate(([0], np.cumsum(lengths)))
    cuts = np.flatnonzero(np.diff(edges[1:] // TOKENS_AT_ONCE)) + 1
    parts = []
    for rows in np.split(np.arange(len(lengths)), cuts):
        if len(rows):
            parts.append(_sketches(tokens[edges[rows[0]] : edges[rows[-1] + 1]], lengths[rows]))
    return pl.concat(parts) if parts else pl.Series(dtype=pl.List(pl.UInt64))


def _sketches(tokens: np.ndarray, lengths: np.ndarray) -> pl.Series:
    values, rows = ngram_hashes(tokens, lengths)
    first = np.searchsorted(rows, np.arange(len(lengths)))
    smallest = np.minimum.reduceat(values, first)
    chosen = (values >> np.uint64(64 - SKETCH_BITS)) == 0
    values = np.concatenate((values[chosen], smallest))
    rows = np.concatenate((rows[chosen], np.arange(len(lengths))))
    order = np.lexsort((values, rows))
    values, rows = values[order], rows[order]
    new = np.ones(len(values), dtype=bool)
    new[1:] = (values[1:] != values[:-1]) | (rows[1:] != rows[:-1])
    return list_series("sketch", values[new], np.bincount(rows[new], minlength=len(lengths)), np.dtype(np.uint64))


def find(shards: Mapping[str, Path], rows: Mapping[str, int], threshold: float) -> pl.DataFrame:
    """Training documents that are similar to a validation document, each with the most similar one (see SCHEMA).

    shards: name -> path of each shard's table (doc_id, split, lang, length, tokens, sketch); rows: its number of rows.
    """
    batches = list(in_batches(shards, rows, DOCUMENTS_AT_ONCE))
    kept = [_sketched(batch, "validation") for batch in batches]
    validation = pl.concat(kept) if kept else pl.DataFrame()
    if not validation.height:
        return pl.DataFrame(schema=SCHEMA)
    validation = validation.with_row_index("validation")
    index = validation.select("validation", pl.col("sketch").list.len().alias("size"), pl.col("sketch").alias("ngram"))
    index = index.explode("ngram")
    candidates = [_candidates(_sketched(batch, "train"), index, threshold) for batch in batches]
    pairs = pl.concat(candidates)
    if not pairs.height:
        return pl.DataFrame(schema=SCHEMA)
    theirs = validation.join(pairs.select("validation").unique(), on="validation", how="semi", maintain_order="left")
    ours = pairs.select("fragment", "row").unique(maintain_order=True)
    tokens = _tokens(shards, pl.concat([theirs.select("fragment", "row"), ours]).unique(maintain_order=True))
    place = dict(zip(validation["validation"], validation.select("fragment", "row").iter_rows(), strict=True))
    similar = [
        jaccard(tokens[fragment, row], tokens[place[other]])
        for fragment, row, other in pairs.select("fragment", "row", "validation").iter_rows()
    ]
    found = pairs.with_columns(pl.Series("jaccard", similar, dtype=pl.Float64)).filter(pl.col("jaccard") >= threshold)
    named = found.join(validation.select("validation", pl.col("doc_id").alias("validation_id")), on="validation")
    best = named.sort("fragment", "row", pl.col("jaccard") * -1, "validation_id")
    return best.unique(["fragment", "row"], keep="first", maintain_order=True).select(
        pl.col(name).cast(kind) for name, kind in SCHEMA.items()
    )


def _sketched(shards: Mapping[str, Path], split: str) -> pl.DataFrame:
    """The documents of a split in some shards: fragment, row, doc_id, lang, length, sketch."""
    row = pl.int_range(pl.len()).over("fragment").alias("row")
    frame = scan_tables(shards).select("fragment", row, "doc_id", "lang", "length", "split", "sketch")
    return frame.filter(pl.col("split") == split).drop("split").collect()


def _candidates(documents: pl.DataFrame, validation: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Pairs that may be similar judging by their sketches: the documents' columns and `validation`.

    validation: `ngram`, `validation`, `size`. The error of the estimate from n sampled n-grams is at most 1/sqrt(n) in
    about 95 % of cases (two standard deviations of a binomial proportion).
    """
    numbered = documents.with_row_index("document")
    own = numbered.select("document", pl.col("sketch").list.len().alias("own"), pl.col("sketch").alias("ngram"))
    matches = own.explode("ngram").join(validation, on="ngram")
    shared = matches.group_by("document", "validation", "own", "size").len("shared")
    union = pl.col("own") + pl.col("size") - pl.col("shared")
    likely = shared.filter(pl.col("shared") / union >= threshold - 1 / union.sqrt())
    pairs = likely.select("document", "validation").sort("document", "validation")
    return numbered.drop("sketch").join(pairs, on="document", maintain_order="left_right").drop("document")


def _tokens(shards: Mapping[str, Path], rows: pl.DataFrame) -> dict[tuple[str, int], np.ndarray]:
    """Token ids of the documents given by `fragment` and `row`."""
    found = {}
    for (fragment,), group in rows.group_by("fragment", maintain_order=True):
        table = pl.scan_parquet(shards[fragment]).select("tokens").with_row_index("row")
        chosen = table.filter(pl.col("row").is_in(group["row"].to_list())).collect()
        for row, tokens in zip(chosen["row"], chosen["tokens"], strict=True):
            found[fragment, row] = tokens.to_numpy()
    return found


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Exact similarity of two documents given as token ids."""
    left, right = (np.unique(ngram_hashes(ids, np.array([len(ids)]))[0]) for ids in (one, other))
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)
