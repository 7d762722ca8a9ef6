"""The documents that a trained filter learns from, as an artifact that stays as it is while none of them changes.

A document is in the sample by the place of its id in a line, and by nothing else. So each fragment knows by itself
which of its documents may come into question: a small table, remembered by the fragment's contents. The sample is the
beginning of all those tables together, and what is trained on it is made of the sample alone: a document elsewhere may
change, and the model is up to date.

    candidates/<fragment>.parquet   of each fragment, the documents that stand first in line: no text
    chosen.parquet                  the sample: what each document is, by hash; the model is made of this file
    places.parquet                  row for row, where each document's text lies
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from pipeline.context import RunContext
from pipeline.curation.filters.model_text import FOLDS, KINDS, MAX_DOCUMENT_CHARACTERS, fold, kinds, prose, turn
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.fragment_tables import fragment_task, make_tables
from pipeline.documents.view import Documents
from pipeline.store.artifact import Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import gather_texts, scan_tables, write_table

VERSION = "1"
GENEROUS = 1 / 100  # documents read for each character wanted: enough where they are of a hundred characters each
CHOSEN, PLACES = "chosen", "places"
# What a model can learn from a document; `content` is the hash of its text.
IDENTITY = ("group", "doc_id", "content", "source", "lang", "kind", "fold", "kept")
_CANDIDATE = {
    "row": pl.UInt32, "doc_id": pl.String, "content": pl.UInt64, "lang": pl.String, "kind": pl.String,
    "fold": pl.Int64, "length": pl.UInt32, "kept": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A sample and the documents that it is of."""

    artifact: Artifact
    documents: Documents

    @property
    def identity(self) -> Artifact:
        """What a model is made of: the sample without where it lies and without what else might have been chosen."""
        return self.artifact.only(CHOSEN)

    def chosen(self) -> pl.DataFrame:
        """One row a document: IDENTITY, without any text."""
        return pl.read_parquet(self.artifact.table(CHOSEN))

    def read(self) -> pl.DataFrame:
        """IDENTITY and `text` (cut) of each document, in the sample's order; only its fragments are read."""
        places = pl.read_parquet(self.artifact.table(PLACES))
        return self.chosen().with_columns(gather_texts(places, self._cut))

    def _cut(self, fragment: str) -> pl.Series:
        return self.documents.read(fragment, ["text"])["text"].str.slice(0, MAX_DOCUMENT_CHARACTERS)


def make(
    context: RunContext, asset: str, documents: Documents, groups: Mapping[str, Collection[str]], characters: int
) -> Sample:
    """Of each group of sources and each kind of text, the first documents in line, about `characters` of them."""
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

    told = {"characters": characters, "groups": {name: sorted(sources) for name, sources in groups.items()}}
    artifact = context.store.make(
        asset, code_version=VERSION, settings=told, inputs=inputs, build=build, log=context.log
    )
    return Sample(artifact, documents)


def select_group(
    draft: Draft, documents: Documents, group: str, fragments: list[str], characters: int, execution: ExecutionSettings
) -> pl.DataFrame:
    """The chosen documents of one group, in the order of their places in line."""
    # A generous share first, so that in a large corpus few documents are looked at. It is a power of two, so that a
    # corpus that grows a little has the same.
    share = 1.0
    wanted = GENEROUS * characters / max(sum(documents.rows(fragment) for fragment in fragments), 1)
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
    return take_characters(found.sort(turn(), "doc_id"), characters)


def write_candidates(
    documents: Documents, fragment: str, share: float, characters: int, target: Path
) -> tuple[int, dict[str, Any]]:
    """Write the table of a fragment's documents that may be in the sample; returns (rows, no facts). In a worker."""
    frame = documents.read(fragment, ["doc_id", "text", "lang"]).with_row_index("row").filter(turn() < share)
    frame = frame.unique("doc_id", keep="first", maintain_order=True)
    frame = frame.with_columns(kinds(frame, prose(frame["text"])), fold(frame["doc_id"]).alias("fold"))
    frame = frame.filter(pl.col("kind").is_in(KINDS)).with_columns(pl.col("text").str.slice(0, MAX_DOCUMENT_CHARACTERS))
    frame = frame.with_columns(pl.col("text").str.len_chars().alias("length"))
    # No more than the whole sample may hold: what does not fit here fits nowhere.
    frame = take_characters(frame.sort(turn(), "doc_id"), characters)
    content = [xxhash.xxh3_64_intdigest(raw) for raw in frame["text"].cast(pl.Binary).to_list()]
    table = frame.with_columns(pl.Series("content", content, dtype=pl.UInt64)).select(
        pl.col(name).cast(dtype) for name, dtype in _CANDIDATE.items()
    )
    write_table(table, target)
    return table.height, {}


def take_characters(documents: pl.DataFrame, characters: int) -> pl.DataFrame:
    """Documents in line (kind, fold, length), as many of each kind as have `characters`, half of them of each fold."""
    length = pl.col("length").cast(pl.Int64)
    before = length.cum_sum().over("kind", "fold") - length
    return documents.filter(before < characters / FOLDS)


def identity_of(rows: pl.DataFrame) -> dict[str, Any]:
    """A key for what is made of some rows of `Sample.chosen()`, in their order."""
    return {"documents": digest({name: rows[name].to_list() for name in IDENTITY})}
