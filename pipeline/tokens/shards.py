"""The asset `token_shards`: the token ids of every curated document, with the document's id.

There is one table per fragment, remembered by the fragment's contents and by what encoding depends on, so new text
costs only its own encoding. Within a table, rows are grouped by split and language, and a row group never mixes two
groups: training reads and shuffles whole row groups, and skips those that it does not draw from.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from model.files import whole
from pipeline.context import Inputs, RunContext
from pipeline.documents.document import source_of
from pipeline.documents.fragment_tables import TableTask, make_tables
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.tokens import near_validation
from pipeline.tokens.encoding import list_series, smallest_unsigned
from pipeline.tokens.sampling import held_out_fraction, language
from pipeline.tokens.token_settings import ShardSettings
from pipeline.tokens.tokenizer import ABOUT, Tokenizer, load
from pipeline.tokens.training import encoding_digest

ASSET = "token_shards"
VERSION = "1"
TRAIN, VALIDATION = "train", "validation"
ZSTD_LEVEL = 3
# The columns of `groups` in the facts of an entry.
GROUP = ("split", "lang", "rows", "tokens", "bytes")


def make(context: RunContext, inputs: Inputs, settings: ShardSettings) -> Artifact:
    """Token shards of all curated documents. inputs: curated_documents, tokenizer.

    Columns: doc_id, source, lang, split ("train" or "validation"), tokens (smallest unsigned type), length (tokens of
    the document), bytes (of its UTF-8), sketch (see near_validation.py).
    """
    curated, tokenizer = inputs["curated_documents"], inputs["tokenizer"]
    encoding = encoding_digest(tokenizer)

    def build(draft: Draft) -> None:
        def table_task(fragment: str) -> TableTask:
            entry = curated.entry(fragment)
            key = {
                "curated": entry["sha256"],
                "encoding": encoding,
                "validation": settings.validation,
                "row_group_tokens": settings.row_group_tokens,
                "version": VERSION,
            }

            def arguments(target: Path) -> tuple[Any, ...]:
                # The curated table is only opened here, so that a remote one is downloaded only if its shard is
                # missing.
                return curated.table(fragment), tokenizer.local_directory(), settings, target

            return TableTask(fragment, key, 4 * entry["bytes"], arguments)

        filled = [fragment for fragment in curated.fragments if curated.entry(fragment)["rows"]]
        make_tables(draft, map(table_task, filled), shard_fragment, context.execution, ASSET)
        finish(draft, tokenizer, encoding, settings)

    return context.store.make(
        ASSET,
        code_version=VERSION,
        settings=settings.model_dump(mode="json"),
        inputs={"curated_documents": curated, "tokenizer": tokenizer},
        build=build,
        log=context.log,
    )


def shard_fragment(source: Path, tokenizer: Path, settings: ShardSettings, target: Path) -> tuple[int, dict[str, Any]]:
    """Encode one fragment and write its table; returns (rows, facts). Runs in a worker."""
    documents = pl.read_parquet(source, columns=["doc_id", "text", "source", "lang"])
    encoder = cached_tokenizer(tokenizer)
    ids, lengths = encoder.encode_joined(documents["text"])
    validation = held_out_fraction(pl.col("doc_id")) < settings.validation
    table = documents.select(
        "doc_id",
        "source",
        language(),
        pl.when(validation).then(pl.lit(VALIDATION)).otherwise(pl.lit(TRAIN)).alias("split"),
        list_series("tokens", ids, lengths, encoder.dtype),
        pl.Series("length", lengths, dtype=pl.UInt32),
        pl.col("text").str.len_bytes().alias("bytes"),
        near_validation.sketches(ids, lengths),
    ).sort("split", "lang", maintain_order=True)
    groups = list(row_groups(table, settings.row_group_tokens))
    write_shard(table, groups, target)
    facts = {
        "source": source_of(target.stem),
        "groups": [
            [part["split"][0], part["lang"][0], part.height, int(part["length"].sum()), int(part["bytes"].sum())]
            for part in (table[start:end] for start, end in groups)
        ],
    }
    return table.height, facts


@functools.lru_cache(1)
def cached_tokenizer(tokenizer: Path) -> Tokenizer:
    """The tokenizer, loaded once per process so that its cache of pre-tokens serves all fragments."""
    return load(tokenizer)


def row_groups(table: pl.DataFrame, tokens: int) -> Iterator[tuple[int, int]]:
    """The (start, end) rows of each row group: cut where split or language changes, and after about `tokens` tokens."""
    place = table.select(
        pl.struct("split", "lang").rle_id().alias("part"),
        (pl.col("length").cast(pl.Int64).cum_sum() - 1).over("split", "lang") // tokens,
    )
    cuts = np.flatnonzero(place.select(pl.struct(pl.all()).rle_id().diff()).to_series().fill_null(0).to_numpy())
    yield from itertools.pairwise([0, *cuts.tolist(), table.height])


def write_shard(table: pl.DataFrame, groups: list[tuple[int, int]], path: Path) -> None:
    """Write the table with exactly these row groups, atomically.

    Token ids use the encoding BYTE_STREAM_SPLIT: as small as with a dictionary, and one and a half times as fast to
    read.
    """
    import pyarrow.parquet as pq

    arrow = table.to_arrow()
    arrays, fields = [], []
    for name in table.columns:
        array = arrow.column(name).combine_chunks()
        if isinstance(table.schema[name], pl.List):
            # Nothing here is null, and a reader that knows this is faster.
            inner = pa.field("element", array.type.value_type, nullable=False)
            array = pa.LargeListArray.from_arrays(array.offsets, array.values, type=pa.large_list(inner))
        fields.append(pa.field(name, array.type, nullable=False))
        arrays.append(array)
    arrow = pa.table(arrays, schema=pa.schema(fields))
    how: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "use_dictionary": ["source", "lang", "split"],
        "column_encoding": {"tokens.list.element": "BYTE_STREAM_SPLIT"},
        "write_statistics": ["tokens.list.element", "length", "bytes"],
        "store_schema": False,
    }
    with whole(path) as unfinished, pq.ParquetWriter(unfinished, arrow.schema, **how) as writer:
        for start, end in groups:
            writer.write_table(arrow.slice(start, end - start), row_group_size=end - start)


def finish(draft: Draft, tokenizer: Artifact, encoding: str, settings: ShardSettings) -> None:
    """What concerns all shards: the documents left out of training, and the counts."""
    entries = {name.removesuffix(".parquet"): entry for name, entry in sorted(draft.entries.items())}
    paths = {fragment: draft.path(f"{fragment}.parquet") for fragment in entries}
    rows_of = {fragment: entry["rows"] for fragment, entry in entries.items()}
    left_out = near_validation.find(paths, rows_of, settings.near_duplicate)
    write_table(left_out, draft.path(near_validation.TABLE))
    rows = [(entry["facts"]["source"], *group) for entry in entries.values() for group in entry["facts"]["groups"]]
    groups = pl.DataFrame(rows, schema=["source", *GROUP], orient="row")
    negated = left_out.select(
        pl.col("fragment").map_elements(source_of, return_dtype=pl.String).alias("source"),
        pl.lit(TRAIN).alias("split"),
        "lang",
        pl.lit(-1, dtype=pl.Int64).alias("rows"),
        (-pl.col("length")).alias("tokens"),
    )
    documents_left = pl.concat([groups.select(negated.columns), negated])
    total = _counts(documents_left)
    if not total["documents"].get(TRAIN):
        raise UserError("There is no document to train on: lower `shards.validation`, or add text.")
    about = json.loads(tokenizer.file(ABOUT).read_text())
    by_source = _tokens_by(documents_left, "source")
    draft.facts |= {
        "tokens": {TRAIN: 0, VALIDATION: 0, **total["tokens"]},
        "documents": {TRAIN: 0, VALIDATION: 0, **total["documents"]},
        "bytes": int(groups["bytes"].sum()),
        "by_source": by_source,
        "by_language": _tokens_by(documents_left, "lang"),
        "tokens_by_source": {source: tokens.get(TRAIN, 0) for source, tokens in by_source.items()},
        "near_validation": {"documents": left_out.height, "tokens": int(left_out["length"].sum())},
        "tokenizer": {
            "version": tokenizer.version,
            "encoding": encoding,
            "vocab_size": about["vocab_size"],
            "document_start": about["special_tokens"]["<eos>"],
            "pad": about["special_tokens"]["<pad>"],
        },
        "dtype": str(smallest_unsigned(about["vocab_size"])),
    }
    draft.counts |= {"in": int(groups["rows"].sum()), "kept": int(documents_left["rows"].sum())}
    draft.counts["removed"] = {near_validation.NEAR_VALIDATION.name: left_out.height} if left_out.height else {}


def _tokens_by(documents_left: pl.DataFrame, column: str) -> dict[str, dict[str, int]]:
    """Tokens by split, for each value of a column."""
    return {
        str(name): _counts(part)["tokens"]
        for (name,), part in documents_left.sort(column).group_by(column, maintain_order=True)
    }


def _counts(documents_left: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Tokens and documents by split."""
    sums = documents_left.group_by("split").agg(pl.col("tokens", "rows").sum()).sort("split")
    return {"tokens": dict(zip(sums["split"], sums["tokens"])), "documents": dict(zip(sums["split"], sums["rows"]))}


def validation_documents(shards: Artifact) -> pl.LazyFrame:
    """The validation documents, in the order of the tables: doc_id, source, lang, tokens, length, bytes."""
    tables = [pl.scan_parquet(shards.table(fragment)) for fragment in shards.fragments]
    documents = pl.concat(tables).filter(pl.col("split") == VALIDATION)
    return documents.select("doc_id", "source", "lang", "tokens", "length", "bytes")
