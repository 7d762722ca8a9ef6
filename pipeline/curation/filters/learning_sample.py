"""The documents that a trained filter learns from, as an artifact that changes only if one of them changes.

Documents are sampled in a random order that depends on nothing but their ids. So each fragment's candidates, a small
table, depend on that fragment alone and are remembered by its contents. The sample is the first part of all candidates
in that order, and a model is made from the sample alone: if any other document changes, the model stays up to date.

    candidates/<fragment>.parquet   the first documents of each fragment in the order: no text
    chosen.parquet                  the sample: the identity of each document; the model is made from this file
    places.parquet                  row for row, where the text of each document is
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from pipeline.context import RunContext
from pipeline.curation.filters.model_text import (
    FOLDS,
    MAX_DOCUMENT_CHARACTERS,
    NOT_MODELLED,
    fold_of,
    kinds_and_prose,
    sample_order,
)
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.fragment_tables import fragment_task, make_tables
from pipeline.documents.view import Documents
from pipeline.store.artifact import Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import gather_texts, scan_tables, write_table

VERSION = "2"  # each language is a kind of its own
OVERSAMPLING = 1 / 100  # documents to read per character of the sample: enough if each has a hundred characters
CHOSEN, PLACES = "chosen", "places"
# What a model can depend on of a document; `content` is the hash of its text.
IDENTITY = ("group", "doc_id", "content", "source", "lang", "kind", "fold", "kept")
_CANDIDATE = {
    "row": pl.UInt32, "doc_id": pl.String, "content": pl.UInt64, "lang": pl.String, "kind": pl.String,
    "fold": pl.Int64, "length": pl.UInt32, "kept": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A sample and the documents that it was drawn from."""

    artifact: Artifact
    documents: Documents

    @property
    def identity(self) -> Artifact:
        """What a model is made from: the sample, without the places of its texts and the other candidates."""
        return self.artifact.only(CHOSEN)

    def chosen(self) -> pl.DataFrame:
        """One row per document: IDENTITY, without text."""
        return pl.read_parquet(self.artifact.table(CHOSEN))

    def read(self) -> pl.DataFrame:
        """IDENTITY and `text` (truncated) of each document, in the sample's order; only its fragments are read."""
        places = pl.read_parquet(self.artifact.table(PLACES))
        return self.chosen().with_columns(gather_texts(places, self._cut))

    def _cut(self, fragment: str) -> pl.Series:
        return self.documents.read(fragment, ["text"])["text"].str.slice(0, MAX_DOCUMENT_CHARACTERS)


def make(
    context: RunContext, asset: str, documents: Documents, groups: Mapping[str, Collection[str]], characters: int
) -> Sample:
    """A sample of about `characters` characters from each group of sources and each kind of text."""
    fragments = {
        name: [fragment for fragment in documents.fragments if documents.source(fragment) in sources]
        for name, sources in groups.items()
    }
    inputs: dict[str, Artifact | str] = {"raw_documents": documents.raw}
    if documents.previous is not None:
        inputs[documents.previous.asset] = documents.previous

    def build(draft: Draft) -> None:
        parts = [
            select_group(draft, documents, name, fragments[name], characters, context.execution)
            for name in sorted(groups)
            if fragments[name]
        ]
        empty = pl.DataFrame(schema={"fragment": pl.String, "group": pl.String, "source": pl.String, **_CANDIDATE})
        found = pl.concat([empty, *(part.select(empty.columns) for part in parts)])
        write_table(found.select(IDENTITY), draft.path(f"{CHOSEN}.parquet"))
        write_table(found.select("fragment", "row"), draft.path(f"{PLACES}.parquet"))
        draft.facts = {"documents": found.height, "characters": int(found["length"].sum())}

    settings = {"characters": characters, "groups": {name: sorted(sources) for name, sources in groups.items()}}
    artifact = context.store.make(
        asset, code_version=VERSION, settings=settings, inputs=inputs, build=build, log=context.log
    )
    return Sample(artifact, documents)


def select_group(
    draft: Draft, documents: Documents, group: str, fragments: list[str], characters: int, execution: ExecutionSettings
) -> pl.DataFrame:
    """The sampled documents of one group, in their random order."""
    # In a large corpus, only a generous share of documents is examined. The share is a power of two, so that it stays
    # the same if the corpus grows a little.
    share = 1.0
    wanted = OVERSAMPLING * characters / max(sum(documents.rows(fragment) for fragment in fragments), 1)
    while share / 2 >= wanted:
        share /= 2
    about = {"characters": characters, "share": share, "version": VERSION}
    candidates = [
        fragment_task(documents, fragment, f"candidates/{fragment}", about, share, characters) for fragment in fragments
    ]
    make_tables(draft, candidates, write_candidates, execution, "sample")
    tables = {fragment: draft.path(f"candidates/{fragment}.parquet") for fragment in fragments}
    found = scan_tables(tables).collect()
    sources = {fragment: documents.source(fragment) for fragment in fragments}
    found = found.with_columns(
        pl.col("fragment").replace_strict(sources, return_dtype=pl.String).alias("source"),
        pl.lit(group).alias("group"),
    )
    found = found.sort("fragment", "row").unique("doc_id", keep="first", maintain_order=True)
    return take_characters(found.sort(sample_order(), "doc_id"), characters)


def write_candidates(
    documents: Documents, fragment: str, share: float, characters: int, target: Path
) -> tuple[int, dict[str, Any]]:
    """Write the table of a fragment's candidates for the sample; returns (rows, no facts). Runs in a worker."""
    frame = documents.read(fragment, ["doc_id", "text", "lang"]).with_row_index("row").filter(sample_order() < share)
    frame = frame.unique("doc_id", keep="first", maintain_order=True)
    frame = frame.with_columns(kinds_and_prose(frame)[0], fold_of(frame["doc_id"]).alias("fold"))
    frame = frame.filter(~pl.col("kind").is_in(NOT_MODELLED)).with_columns(
        pl.col("text").str.slice(0, MAX_DOCUMENT_CHARACTERS)
    )
    frame = frame.with_columns(pl.col("text").str.len_chars().alias("length"))
    # No more than the size of the whole sample: documents after that cannot be in it.
    frame = take_characters(frame.sort(sample_order(), "doc_id"), characters)
    content = [xxhash.xxh3_64_intdigest(raw) for raw in frame["text"].cast(pl.Binary).to_list()]
    table = frame.with_columns(pl.Series("content", content, dtype=pl.UInt64)).select(
        pl.col(name).cast(dtype) for name, dtype in _CANDIDATE.items()
    )
    write_table(table, target)
    return table.height, {}


def take_characters(documents: pl.DataFrame, characters: int) -> pl.DataFrame:
    """The first documents (kind, fold, length) up to `characters` of each kind, half of them from each fold."""
    length = pl.col("length").cast(pl.Int64)
    before = length.cum_sum().over("kind", "fold") - length
    return documents.filter(before < characters / FOLDS)


def identity_of(rows: pl.DataFrame) -> dict[str, Any]:
    """A key for whatever is made from these rows of `Sample.chosen()`, in their order."""
    return {"documents": digest({name: rows[name].to_list() for name in IDENTITY})}
