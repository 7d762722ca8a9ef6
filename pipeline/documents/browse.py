"""Looking up documents and the decisions on them: the rows behind every figure.

A table's name gives the first bits of the ids in it, so a document is found without an index, by reading the ids of
one table per source.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pipeline.documents.document import DECISION_SCHEMA, source_of
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact


def find(raw: Artifact, doc_id: str) -> list[tuple[str, int]]:
    """Where a document is: (fragment, row), one for each exact copy of it. `doc_id` may be a unique prefix."""
    prefix = doc_id.lower()
    found: list[tuple[str, str, int]] = []
    for fragment in raw.fragments:
        if may_hold(fragment, prefix):
            ids = pl.read_parquet(raw.table(fragment), columns=["doc_id"])["doc_id"]
            rows = ids.str.starts_with(prefix).arg_true()
            found += [(name, fragment, row) for name, row in zip(ids.gather(rows), rows, strict=True)]
    names = {name for name, _, _ in found}
    if not names:
        raise UserError(f"No document has the id {doc_id}: `slm documents` lists ids.")
    if len(names) > 1:
        raise UserError(f"{len(names)} documents have ids that begin with {doc_id}: give more digits.")
    return [(fragment, row) for _, fragment, row in found]


def may_hold(fragment: str, doc_id: str) -> bool:
    """Whether a fragment can hold documents whose id is, or begins with, `doc_id`.

    Its name ends in the first bits of its ids, or in `all` (pipeline/ingest/fragments.py).
    """
    part = fragment.rpartition("-")[2]
    try:
        bits = "".join(f"{int(digit, 16):04b}" for digit in doc_id)
    except ValueError:
        return False
    return part == "all" or bits.startswith(part) or part.startswith(bits)


def document(raw: Artifact, fragment: str, row: int) -> dict[str, Any]:
    """One document as a record."""
    return pl.scan_parquet(raw.table(fragment)).slice(row, 1).collect().row(0, named=True)


def decisions(stages: list[Artifact], fragment: str, row: int) -> list[dict[str, Any]]:
    """What each stage decided about one document, in order: its decision and its signals."""
    return [
        {"stage": stage.asset, **pl.scan_parquet(stage.table(fragment)).slice(row, 1).collect().row(0, named=True)}
        for stage in stages
    ]


def removed_by(
    raw: Artifact, stage: Artifact, reason: str | None = None, source: str | None = None, limit: int = 10
) -> pl.DataFrame:
    """Documents that `stage` removed: the columns of the document and of the decision.

    At most `limit`, those with the lowest doc_id: it is a hash, so they are a random sample, and always the same one.
    """
    return _select(raw, stage, (pl.col("keep") == False) & _has_reason(reason), reason, source, limit)  # noqa: E712


def kept_by(raw: Artifact, stage: Artifact, source: str | None = None, limit: int = 10) -> pl.DataFrame:
    """Documents that `stage` kept, in the shape of `removed_by`."""
    return _select(raw, stage, pl.col("keep"), None, source, limit)


def edited_by(raw: Artifact, stage: Artifact, source: str | None = None, limit: int = 10) -> pl.DataFrame:
    """Documents that `stage` edits, in the shape of `removed_by`."""
    return _select(raw, stage, pl.col("keep") & (pl.col("edits").list.len() > 0), None, source, limit)


def first_documents(artifact: Artifact, source: str | None = None, limit: int = 10) -> pl.DataFrame:
    """At most `limit` documents of a document artifact, those with the lowest doc_id."""
    names = [fragment for fragment in artifact.fragments if source in (None, source_of(fragment))]
    if not names:
        raise UserError(f"There is no source `{source}`.")
    rows = pl.concat([pl.scan_parquet(artifact.table(name)).head(limit) for name in names]).collect()
    return rows.sort("doc_id").head(limit)


def _has_reason(reason: str | None) -> pl.Expr:
    return pl.lit(True) if reason is None else pl.col("reason") == reason


def _select(
    raw: Artifact, stage: Artifact, which: pl.Expr, reason: str | None, source: str | None, limit: int
) -> pl.DataFrame:
    parts: list[pl.DataFrame] = []
    for fragment in raw.fragments:
        facts = stage.entry(fragment)["facts"]
        if source not in (None, facts["source"]) or (reason is not None and reason not in facts["removed"]):
            continue
        rows = (
            pl.scan_parquet(stage.table(fragment), row_index_name="row")
            .filter(which)
            .head(limit)
            .drop("doc_id")
            .collect()
        )
        if rows.height:
            texts = pl.scan_parquet(raw.table(fragment), row_index_name="row")
            parts.append(texts.join(rows.lazy(), on="row", how="inner").collect().drop("row"))
    if not parts:
        schema = pl.read_parquet_schema(raw.table(raw.fragments[0])) | dict(DECISION_SCHEMA)
        return pl.DataFrame(schema=schema)
    return pl.concat(parts, how="diagonal").sort("doc_id").head(limit)
