"""Curation finds what was planted, and takes nothing else."""

from __future__ import annotations

import json

import polars as pl
import pytest

from pipeline.graph import Project
from pipeline.inspect.planted import findings, of_artifacts
from pipeline.recipe import load
from pipeline.run import make_with_inputs
from pipeline.store.store import Store
from pipeline.village.planting import KINDS

# As in the demonstration, perplexity judges the order of words alone: the forms that are rare are improbable, too.
# Three sentences are one unit of repetition, as in C4: a fact is told in the same words many times.
RECIPE = """
name: planted
sources: [{name: village, kind: generated, dataset: village, documents: 4000}]
curation:
  perplexity: {min_characters: 100000, max_deviation: 1000, max_deviation_ko: 1000, min_order: 0.1, min_order_ko: 0.1}
  repetition: {window: 3, max_documents: 5}
  contamination: {held_back: false, sets: [{name: questions, kind: generated, dataset: village-questions}]}
instructions: {sources: [{name: village, kind: generated, dataset: village-conversations, rows: 100}]}
execution: {device: cpu, executor: in_process}
"""
STAGES = ("language", "keyword", "heuristic", "perplexity", "quality", "duplicate")
DECISIONS = (
    *(f"{stage}_decisions" for stage in STAGES),
    "repetition_edits",
    "personal_data_edits",
    "contamination_decisions",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    (folder / "planted.yaml").write_text(RECIPE)
    project = Project(load(folder / "planted.yaml"), Store(folder / "data", "planted"), lambda line: None)
    make_with_inputs(project, "contamination_decisions")
    return of_artifacts(project["raw_documents"], [(name, project[name]) for name in DECISIONS], ["village"])


def test_all_that_is_planted_is_found(found) -> None:
    assert {finding.kind.partition("_")[0] for finding in found.kinds} == {kind.partition("_")[0] for kind in KINDS}
    for finding in found.kinds:
        assert finding.missed == [], finding
        assert finding.found + finding.removed_before == finding.planted
        assert finding.removed_before <= 0.1 * finding.planted + 1


# What judges by a threshold on statistics takes a few good ones, of 4,000 documents. The scorer of English pages takes
# 13 of the 2,000 English ones, short pages of sums.
BY_STATISTICS = {"heuristic_decisions": 4, "quality_decisions": 20}


def test_hardly_anything_else_is_taken(found) -> None:
    for stage, taken in found.wrongly_taken.items():
        assert len(taken) <= BY_STATISTICS.get(stage, 0), (stage, taken)


def test_what_is_missed_or_wrongly_taken_is_named() -> None:
    planted = [
        [{"stage": "keyword_decisions", "kind": "insults"}],
        [{"stage": "keyword_decisions", "kind": "insults"}],
        [{"stage": "personal_data_edits", "kind": "contact", "start": 10, "end": 20}],
        [],
        [{"stage": "keyword_decisions", "kind": "near_copy", "of": "d"}],
    ]
    raw = pl.DataFrame({
        "doc_id": list("ABCDE"), "source_id": list("abcde"), "meta": [json.dumps({"planted": one}) for one in planted]
    })  # fmt: skip
    edit = {"start": 0, "end": 15}
    whole = pl.DataFrame({
        "doc_id": list("ABCDE"), "keep": [False, True, True, False, True], "edits": [None] * 5
    }, schema_overrides={"edits": pl.List(pl.Struct({"start": pl.Int64, "end": pl.Int64}))})  # fmt: skip
    spans = whole.with_columns(
        keep=pl.Series([None, True, True, True, True]), edits=pl.Series([None, None, [edit], [edit], None])
    )
    result = findings(raw, {"keyword_decisions": whole, "personal_data_edits": spans})
    by_kind = {finding.kind: finding for finding in result.kinds}
    assert (by_kind["insults"].planted, by_kind["insults"].found, by_kind["insults"].missed) == (2, 1, ["b"])
    assert by_kind["contact"].missed == ["c"], "half of the span is not the span"
    assert by_kind["near_copy"].found == 1, "one of the pair is removed"
    # b is planted as a whole for another stage; the edit of d, of which nothing was planted for it, is wrong.
    assert result.wrongly_taken == {"keyword_decisions": [], "personal_data_edits": ["d"]}
