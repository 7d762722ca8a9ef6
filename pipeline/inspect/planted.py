"""What curation found of what was planted: by kind, planted and found; by stage, what was wrongly taken.

A generated source records in `meta` what it planted and which stage has to find it (`pipeline/village/planting.py`).
`findings` compares the records with the decisions.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.documents.document import source_of
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store


@dataclass
class Finding:
    """One kind of planted thing: how many there were, and how many the stages found that were asked to."""

    kind: str
    stages: tuple[str, ...]
    planted: int = 0
    found: int = 0
    removed_before: int = 0  # an earlier stage had already removed the document
    missed: list[str] = field(default_factory=list)  # ids of the documents in which it was not found


@dataclass
class Findings:
    """All kinds, and by stage the documents or spans that it took although nothing was planted there for it."""

    kinds: list[Finding]
    wrongly_taken: dict[str, list[str]]


def of_artifacts(raw: Artifact, stages: Sequence[tuple[str, Artifact]], sources: Sequence[str]) -> Findings:
    """The findings for the generated sources of a recipe. stages: name and decisions of each, in order."""
    fragments = [fragment for fragment in raw.fragments if source_of(fragment) in sources]
    columns = {"doc_id": pl.String, "source_id": pl.String, "meta": pl.String}
    documents = [pl.read_parquet(raw.table(fragment), columns=list(columns)) for fragment in fragments]
    decisions = {
        name: pl.concat([pl.read_parquet(made.table(one), columns=["doc_id", "keep", "edits"]) for one in fragments])
        for name, made in stages
        if fragments
    }
    return findings(pl.concat([pl.DataFrame(schema=columns), *documents]), decisions)


def of_store(store: Store, stages: Sequence[str], sources: Sequence[str]) -> Findings:
    """The findings of the artifacts in force; none, if a stage is not made yet. stages: decision tables, in order."""
    raw = store.current("raw_documents")
    made = [(name, artifact) for name in stages if (artifact := store.current(name)) is not None]
    if raw is None or not sources or len(made) < len(stages):
        return Findings([], {})
    return of_artifacts(raw, made, sources)


def findings(raw: pl.DataFrame, decisions: Mapping[str, pl.DataFrame]) -> Findings:
    """Compare what was planted with what was decided.

    raw: `doc_id`, `source_id`, `meta` of the documents of generated sources. decisions: stage -> `doc_id`, `keep`,
    `edits` of the same documents, in the order of the stages.
    """
    order = list(decisions)
    rows = {stage: {row["doc_id"]: row for row in table.iter_rows(named=True)} for stage, table in decisions.items()}
    kinds: dict[str, Finding] = {}
    expected: dict[str, set[str]] = {stage: set() for stage in order}
    whole: set[str] = set()  # documents that are planted as a whole: whatever removes them is right
    by_id = dict(raw.select("source_id", "doc_id").iter_rows())
    for doc_id, source_id, meta in raw.select("doc_id", "source_id", "meta").iter_rows():
        for planted in json.loads(meta or "{}").get("planted", []):
            stages = tuple(planted.get("stages") or (planted["stage"],))
            finding = kinds.setdefault(planted["kind"], Finding(planted["kind"], stages))
            finding.planted += 1
            for stage in stages:
                expected[stage] |= {doc_id, by_id.get(planted.get("of"), doc_id)}
            if "start" not in planted:
                whole.add(doc_id)
            both = {doc_id, by_id.get(planted.get("of"), doc_id)}
            if any(_taken_before(one, stages, order, rows) for one in both):
                finding.removed_before += 1
            elif any(_found(planted, doc_id, by_id, rows[stage]) for stage in stages):
                finding.found += 1
            else:
                finding.missed.append(source_id)
    named = {doc_id: source_id for source_id, doc_id in by_id.items()}
    wrongly: dict[str, list[str]] = {}
    for stage in order:
        took = (
            doc_id for doc_id, row in rows[stage].items() if doc_id in named and (row["keep"] is False or row["edits"])
        )
        wrongly[stage] = sorted(named[doc_id] for doc_id in took if doc_id not in expected[stage] | whole)
    return Findings([kinds[kind] for kind in sorted(kinds)], wrongly)


def _taken_before(doc_id: str, stages: tuple[str, ...], order: list[str], rows: dict[str, dict[str, Any]]) -> bool:
    """Whether a stage before all of `stages` removed the document."""
    first = min(order.index(stage) for stage in stages)
    return any(rows[stage].get(doc_id, {}).get("keep") is False for stage in order[:first])


def _found(planted: dict[str, Any], doc_id: str, by_id: Mapping[str, str], decided: dict[str, Any]) -> bool:
    """Whether a stage found one planted thing: the document removed, one of a pair removed, or the span covered."""
    row = decided.get(doc_id, {})
    if row.get("keep") is False:
        return True
    if "of" in planted:
        return decided.get(by_id.get(planted["of"], ""), {}).get("keep") is False
    if "start" not in planted:
        return False
    covered = Counter[int]()
    for edit in row.get("edits") or ():
        covered.update(range(edit["start"], edit["end"]))
    wanted = range(planted["start"], planted["end"])
    return sum(position in covered for position in wanted) >= COVERED * len(wanted)


COVERED = 0.9  # of a planted span: spaces between sentences that were cut one by one stay
