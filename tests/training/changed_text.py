"""Token shards in which one document has other tokens, as many as before."""

from __future__ import annotations

import polars as pl

from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens.shards import write_shard


def with_other_tokens(store: Store, shards: Artifact, doc_id: str) -> Artifact:
    """A copy of the shards, except that each token of the document is another one."""

    def build(draft: Draft) -> None:
        for fragment in shards.fragments:
            table = pl.read_parquet(shards.table(fragment))
            other = pl.col("tokens").list.eval(pl.element() // 2 + 7)
            table = table.with_columns(
                tokens=pl.when(pl.col("doc_id") == doc_id)
                .then(other)
                .otherwise(pl.col("tokens"))
                .cast(table.schema["tokens"])
            )
            edges, at = [], 0
            for group in shards.entry(fragment)["facts"]["groups"]:
                edges.append((at, at + group[2]))
                at += group[2]
            write_shard(table, edges, draft.path(f"{fragment}.parquet"))
            entry = shards.entry(fragment)
            draft.record(fragment, {"other": fragment}, rows=entry["rows"], facts=entry["facts"])
        name = "checks/near_validation.parquet"
        write_table(pl.read_parquet(shards.file(name)), draft.path(name))
        draft.facts |= shards.facts
        draft.counts |= shards.counts

    return store.make("token_shards", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
