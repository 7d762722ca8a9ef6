"""What a careful person should look at: for each reason, the documents on both sides of its limit.

The table shows the passage first, with ⟦what decided⟧ marked. What was removed has not been through the cut of personal
data, and metadata is kept for good, so every passage is searched for it again (`pipeline/report/passages.py`).
"""

from collections.abc import Mapping
from typing import Any

from dagster import MetadataValue

from assets import display
from pipeline.curation.stages import stages_of
from pipeline.documents.document import source_of
from pipeline.graph import RAW, Project
from pipeline.inspect import margins
from pipeline.report import passages
from pipeline.report.subject import Subject

TITLE = "what a careful person should look at"
NEAREST = 2  # documents on each side of a limit
SIDES = {"removed": "removed, just outside", "kept": "kept, just inside", "cut": "a passage is cut"}
HOW = (
    "`slm curate preview --reason REASON` shows these documents with the passages marked, `slm curate judge` asks for "
    "your verdict on each, `slm curate verdicts` says what follows: precision by reason, and limits that agree better."
)


def look(project: Project) -> Mapping[str, Any]:
    """The table and how to go on from it; nothing where no decision was made. Reads a few fragments, as samples do."""
    rows = [row for stage in stages_of(project.recipe.curation) for row in _of_stage(project, stage)]
    return {TITLE: display.table(rows), f"{TITLE}: how": MetadataValue.md(HOW)} if rows else {}


def _of_stage(project: Project, stage: Any) -> list[dict[str, Any]]:
    decisions = project.store.current(stage.name)
    if decisions is None or decisions.counts["in"] == 0:
        return []
    fragments = display.across_sources([name for name in project[RAW].fragments if name in decisions.fragments])
    table = margins.judged(decisions, dict.fromkeys(fragments))
    settings = project.recipe.curation.of(stage)
    found = margins.nearest(margins.cases(stage, settings, table), NEAREST)
    counts = decisions.counts["removed"] | decisions.counts["edits"]
    stages = [(one, project.recipe.curation.of(one)) for one in stages_of(project.recipe.curation)]
    subject = Subject(project.recipe.name, {}, stages, (), {})
    return [
        {
            "passage": marked(pieces),
            "stage": stage.name,
            "reason": case["reason"],
            "removed or cut in all": counts.get(case["reason"], 0),
            "side": SIDES[case["state"]],
            "figure": None if case["figure"] is None else f"{case['signal']} {case['figure']:.4g}",
            "limit": None if case["limit"] is None else f"{case['setting']} {case['limit']:g}",
            "document": case["doc_id"],
            "source": source_of(case["fragment"]),
        }
        for case, _, pieces in passages.shown(subject, project[RAW], settings, decisions, found.to_dicts())
    ]


def marked(pieces: list[tuple[str, bool]]) -> str:
    """The passage on one line."""
    return " ".join("".join(f"⟦{piece}⟧" if mark else piece for piece, mark in pieces).split())
