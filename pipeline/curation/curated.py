"""Curated documents: the only place where decisions are applied to text.

Each curation stage wrote a table of decisions for each fragment of raw documents. Here the documents that every stage
kept are written once, with the edits of all stages merged: a cut absorbs every edit inside it, and of two overlapping
replacements the one that starts first (the longer one, if both start at the same place) is extended over both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from pipeline.context import Inputs, RunContext
from pipeline.curation.rules import Rule
from pipeline.documents.document import DOCUMENT_SCHEMA
from pipeline.documents.fragment_tables import TableTask, make_tables
from pipeline.documents.reasons import meanings_of
from pipeline.documents.view import Documents
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table

# 2: `lang` is the language that was found
VERSION = "2"
EMPTY_AFTER_EDITS = Rule("empty_after_edits", "only white space remained after the edits")
RULES = (EMPTY_AFTER_EDITS,)
REASONS = meanings_of(RULES)


def make(context: RunContext, inputs: Inputs, settings: None = None) -> Artifact:
    """The documents that all stages kept, with their edits applied.

    inputs: raw_documents, then the decisions in the order of the stages; `languages`, those that found languages.
    """
    raw, *decisions = (artifact for role, artifact in inputs.items() if role != "languages")
    documents = Documents(raw, decisions[-1], inputs.get("languages"))

    def build(draft: Draft) -> None:
        def table_task(fragment: str) -> TableTask:
            editing = {
                stage.asset: stage.entry(fragment)["facts"]["edits_digest"]
                for stage in decisions
                if "edits_digest" in stage.entry(fragment)["facts"]
            }
            key = {**documents.key(fragment), "edits": editing, "version": VERSION}

            def arguments(target: Path) -> tuple[Any, ...]:
                tables = [stage.table(fragment) for stage in decisions if stage.asset in editing]
                return documents.only(fragment), fragment, tables, target

            return TableTask(fragment, key, 2 * documents.bytes(fragment), arguments)

        make_tables(
            draft, map(table_task, documents.fragments), curate_fragment, context.execution, "curated_documents"
        )
        draft.counts = count_documents(draft.entries)
        if not draft.counts["kept"]:
            raise UserError("Curation removed every document: loosen the stages of `curation` in the recipe.")

    return context.store.make(
        "curated_documents",
        code_version=VERSION,
        settings={},
        inputs={"raw_documents": raw, **{stage.asset: stage for stage in decisions}},
        build=build,
        log=context.log,
    )


def curate_fragment(
    documents: Documents, fragment: str, decisions: list[Path], target: Path
) -> tuple[int, dict[str, Any]]:
    """Write the curated table of one fragment; returns (rows, facts). Runs in a worker."""
    frame = documents.read(fragment, list(DOCUMENT_SCHEMA))
    kept = frame["kept"]
    frame = frame.filter("kept").select(DOCUMENT_SCHEMA.keys())
    edits = pl.DataFrame({"row": pl.Series([], dtype=pl.Int64)})
    parts = [
        pl.read_parquet(path, columns=["edits"])
        .filter(kept)
        .select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), "edits")
        .filter(pl.col("edits").list.len() > 0)
        .explode("edits")
        .unnest("edits")
        for path in decisions
    ]
    if parts:
        edits = pl.concat(parts)
    edited = 0
    if edits.height:
        texts = apply_edits(frame["text"], edits)
        edited = edits["row"].n_unique()
        frame = frame.with_columns(texts.alias("text"))
    left = frame.filter(pl.col("text").str.strip_chars().str.len_bytes() > 0)
    write_table(left, target)
    by_lang = left.group_by(pl.col("lang").fill_null("?")).len().sort("lang")
    facts = {
        "source": documents.source(fragment),
        "in": frame.height,
        "kept": left.height,
        "edited": edited,
        "text_bytes": int(left["text"].str.len_bytes().sum()),
        "languages": dict(by_lang.iter_rows()),
    }
    return left.height, facts


def apply_edits(texts: pl.Series, edits: pl.DataFrame) -> pl.Series:
    """The texts with `edits` applied.

    edits: `row` (index into texts), `start`, `end` (code points, end exclusive) and `replacement`; in any order,
    overlapping or not. Only documents with edits are processed one by one.
    """
    merged = edits.sort("row", "start", pl.col("end") * -1, "replacement").group_by("row", maintain_order=True)
    chosen = merged.agg("start", "end", "replacement")
    changed = {
        row: _edited(texts[row], starts, ends, replacements) for row, starts, ends, replacements in chosen.iter_rows()
    }
    rows = pl.Series(list(changed), dtype=pl.UInt32)
    return texts.clone().scatter(rows, pl.Series(list(changed.values()), dtype=pl.String))


def _edited(text: str, starts: list[int], ends: list[int], replacements: list[str]) -> str:
    """One text with sorted edits applied; overlapping edits are merged into one span (see the top of this file)."""
    pieces: list[str] = []
    written_up_to = 0  # everything before this position is written
    spans = iter(zip(starts, ends, replacements, strict=True))
    start, end, replacement = next(spans)
    for next_start, next_end, next_replacement in spans:
        if next_start < end:
            # A cut inside a replacement keeps the placeholder; a cut that covers the replacement removes it.
            end = max(end, next_end)
            continue
        pieces += [text[written_up_to:start], replacement]
        written_up_to, start, end, replacement = end, next_start, next_end, next_replacement
    pieces += [text[written_up_to:start], replacement, text[end:]]
    return "".join(pieces)


def count_documents(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Counts over all fragments: in, kept, removed, edited, bytes of text; also by source and by language."""
    facts = [entry["facts"] for entry in entries.values()]
    documents_in, kept = sum(fact["in"] for fact in facts), sum(fact["kept"] for fact in facts)
    by_source: dict[str, dict[str, int]] = {}
    languages: dict[str, int] = {}
    for fact in facts:
        of_source = by_source.setdefault(fact["source"], {"in": 0, "kept": 0, "text_bytes": 0})
        for name in of_source:
            of_source[name] += fact[name]
        for lang, count in fact["languages"].items():
            languages[lang] = languages.get(lang, 0) + count
    return {
        "in": documents_in,
        "kept": kept,
        "removed": {EMPTY_AFTER_EDITS.name: documents_in - kept} if documents_in > kept else {},
        "edited": sum(fact["edited"] for fact in facts),
        "text_bytes": sum(fact["text_bytes"] for fact in facts),
        "by_source": dict(sorted(by_source.items())),
        "languages": dict(sorted(languages.items())),
    }
