"""Passages of documents on the page: chosen, marked, and with personal data blacked out.

What a stage removed has not been through the cut of personal data, and a page is sent to others. So every text on it is
searched for all kinds of personal data, whatever the recipe asks for, and what is found is covered by blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from pipeline.curation.duplicates import near
from pipeline.curation.personal_data import personal_data
from pipeline.curation.personal_data.spans import LABELS, find_spans
from pipeline.documents import browse
from pipeline.documents.document import source_of
from pipeline.documents.stage import Stage
from pipeline.inspect import margins, marks
from pipeline.inspect.excerpts import excerpt
from pipeline.report import html
from pipeline.report.subject import Subject
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact

BLOCK = "█"
READ = 20_000  # characters of a document that passages are looked for in
ROWS = 20_000  # of a fragment; rows are in the order of a hash, so the first ones are a random sample
FRAGMENTS = 6
WIDTH = 240  # characters of a passage
MOST_REASONS = 6  # of a stage, those that remove most
# Cruder than the recognisers, and after them: an address, or a long row of digits.
CRUDE = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+|\+?\d[\d\-. ()]{7,}\d")
SIDES = {margins.REMOVED: "removed, just outside", margins.KEPT: "kept, just inside", margins.CUT: "a passage is cut"}


def covered(texts: Sequence[str], subject: Subject) -> list[str]:
    """The texts with blocks of the same length in the place of personal data."""
    if not texts:
        return []
    chosen = next((settings for stage, settings in subject.stages if stage.name == personal_data.STAGE.name), None)
    known = chosen if isinstance(chosen, personal_data.Settings) else personal_data.Settings()
    spans = find_spans(pl.Series(texts, dtype=pl.String), frozenset(LABELS), False, known.person_model, known.names)
    found = [list(text) for text in texts]
    for row, start, end in spans.select("row", "start", "end").iter_rows():
        found[row][start:end] = BLOCK * (end - start)
    return [CRUDE.sub(lambda match: BLOCK * len(match.group()), "".join(text)) for text in found]


def looked_at(decisions: Artifact) -> dict[str, pl.Series | None]:
    """The rows that passages and figures come from: of a few fragments, of as many sources as possible."""
    by_source: dict[str, list[str]] = {}
    for fragment in decisions.fragments:
        by_source.setdefault(source_of(fragment), []).append(fragment)
    first = [names[0] for names in by_source.values()][:FRAGMENTS]
    rest = [name for names in by_source.values() for name in names[1:]]
    chosen = (first + rest)[: max(FRAGMENTS, len(first))]
    return {name: _first_rows(decisions, name) for name in sorted(chosen)}


def _first_rows(decisions: Artifact, fragment: str) -> pl.Series | None:
    rows = decisions.manifest["files"][f"{fragment}.parquet"].get("rows")
    return pl.int_range(ROWS, eager=True) if rows is not None and rows > ROWS else None


def of_stage(
    subject: Subject, raw: Artifact, stage: Stage, settings: StageSettings, table: pl.DataFrame, decisions: Artifact
) -> list[tuple[dict[str, Any], str]]:
    """(case, HTML of its passage): of each reason, one that is removed at random, and the nearest on both sides.

    table: the rows that are looked at (margins.judged).
    """
    found = margins.cases(stage, settings, table)
    if stage.name == near.STAGE.name and settings.enabled:
        found = pl.concat([found, margins.near_pairs(decisions, 1)])
    counts = {**decisions.counts.get("removed", {}), **decisions.counts.get("edits", {})}
    most = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_REASONS]
    found = found.filter(pl.col("reason").is_in(most))
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for case in margins.nearest(found, 1).to_dicts():
        chosen[case["reason"], case["doc_id"]] = case
    for case in margins.drawn(found, 1).to_dicts():
        chosen.setdefault((case["reason"], case["doc_id"]), {**case, "drawn": True})
    order = {margins.REMOVED: 1, margins.CUT: 1, margins.KEPT: 2}
    cases = sorted(
        chosen.values(), key=lambda case: (most.index(case["reason"]), 0 if case.get("drawn") else order[case["state"]])
    )
    return [
        (case, html.quoted(pieces, about(case, document), _kind(case)))
        for case, document, pieces in shown(subject, raw, settings, decisions, cases)
    ]


def shown(
    subject: Subject, raw: Artifact, settings: StageSettings, decisions: Artifact, cases: Sequence[dict[str, Any]]
) -> list[tuple[dict[str, Any], dict[str, Any], list[tuple[str, bool]]]]:
    """(case, document, pieces of its passage with whether they are marked) of cases of one stage, data covered."""
    documents = [_document(raw, case) for case in cases]
    marked = [_marks(case, document, decisions, settings) for case, document in zip(cases, documents, strict=True)]
    texts = covered([document["text"] for document in documents], subject)
    return [
        (case, document, excerpt(text, spans, WIDTH))
        for case, document, spans, text in zip(cases, documents, marked, texts, strict=True)
    ]


def _kind(case: Mapping[str, Any]) -> str:
    return "kept" if case["state"] == margins.KEPT else "removed"


def _document(raw: Artifact, case: Mapping[str, Any]) -> dict[str, Any]:
    place = (case["fragment"], case["row"])
    fragment, row = place if place[0] is not None else browse.find(raw, case["doc_id"])[0]
    document = browse.document(raw, fragment, row)
    return {**document, "text": document["text"][:READ]}


def _marks(
    case: Mapping[str, Any], document: Mapping[str, Any], decisions: Artifact, settings: StageSettings
) -> list[tuple[int, int]]:
    if case["state"] == margins.CUT:
        row = pl.scan_parquet(decisions.table(case["fragment"])).slice(case["row"], 1).select("edits").collect()
        edits = row["edits"][0]
        return sorted((edit["start"], edit["end"]) for edit in edits if edit["label"] == case["reason"])
    return marks.passages(case["signal"], document["text"], document["lang"], settings)


def about(case: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """One line: the side of the limit, the figure, and the source."""
    side = SIDES[case["state"]]
    if case["state"] == margins.REMOVED and (case["figure"] is None or case.get("drawn")):
        side = "removed"
    figure = f": {margins.in_words(case)}" if case["figure"] is not None else ""
    return f"{side}{figure} · {document['source']}"
