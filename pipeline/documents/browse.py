"""Looking at documents and at what was decided about them: the rows behind every figure.

The name of a table says with which bits the ids in it begin, so one document is found without an index, by reading
the ids of one table a source.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from pipeline.documents.document import DECISION_SCHEMA, source_of
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact


def find(raw: Artifact, doc_id: str) -> list[tuple[str, int]]:
    """Places of a document: (fragment, row), one for each exact copy of it. `doc_id` may be a unique beginning."""
    wanted = doc_id.lower()
    found: list[tuple[str, str, int]] = []
    for fragment in raw.fragments:
        if may_hold(fragment, wanted):
            ids = pl.read_parquet(raw.table(fragment), columns=["doc_id"])["doc_id"]
            rows = ids.str.starts_with(wanted).arg_true()
            found += [(name, fragment, row) for name, row in zip(ids.gather(rows), rows, strict=True)]
    names = {name for name, _, _ in found}
    if not names:
        raise UserError(f"No document has the id {doc_id}: `slm documents` lists ids.")
    if len(names) > 1:
        raise UserError(f"{len(names)} documents have ids that begin with {doc_id}: give more of it.")
    return [(fragment, row) for _, fragment, row in found]


def may_hold(fragment: str, doc_id: str) -> bool:
    """Whether documents whose id is, or begins with, `doc_id` can stand in a fragment.

    Its name ends with the first bits of the ids in it, or with `all` (pipeline/ingest/fragments.py).
    """
    part = fragment.rpartition("-")[2]
    try:
        bits = "".join(f"{int(digit, 16):04b}" for digit in doc_id)
    except ValueError:
        return False
    return part == "all" or bits.startswith(part) or part.startswith(bits)


def document(raw: Artifact, fragment: str, row: int) -> dict[str, Any]:
    """One document, as a record."""
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
    """Documents that `stage` removed, with the decision's columns beside those of the document.

    Which ones of many: those of the lowest doc_id, which is a hash, so a fair sample and always the same one.
    """
    return _beside(raw, stage, (pl.col("keep") == False) & _is(reason), reason, source, limit)  # noqa: E712


def kept_by(raw: Artifact, stage: Artifact, source: str | None = None, limit: int = 10) -> pl.DataFrame:
    """Documents that `stage` kept, in the shape of `removed_by`."""
    return _beside(raw, stage, pl.col("keep"), None, source, limit)


def edited_by(raw: Artifact, stage: Artifact, source: str | None = None, limit: int = 10) -> pl.DataFrame:
    """Documents that `stage` edits, in the shape of `removed_by`."""
    return _beside(raw, stage, pl.col("keep") & (pl.col("edits").list.len() > 0), None, source, limit)


def first_documents(artifact: Artifact, source: str | None = None, limit: int = 10) -> pl.DataFrame:
    """Documents of an artifact of documents: those of the lowest doc_id."""
    names = [fragment for fragment in artifact.fragments if source in (None, source_of(fragment))]
    if not names:
        raise UserError(f"No source is called `{source}`.")
    rows = pl.concat([pl.scan_parquet(artifact.table(name)).head(limit) for name in names]).collect()
    return rows.sort("doc_id").head(limit)


def _is(reason: str | None) -> pl.Expr:
    return pl.lit(True) if reason is None else pl.col("reason") == reason


def _beside(
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
