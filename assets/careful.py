"""What a careful person should look at: for each reason, the documents on both sides of its limit.

The table names documents, figures and limits, and quotes nothing: what was removed has not been through the cut of
personal data, and metadata is kept for good. `slm curate preview` shows the passages, on a person's own terminal.
"""

from collections.abc import Mapping
from typing import Any

from dagster import MetadataValue

from assets import display
from pipeline.curation.stages import stages_of
from pipeline.documents.document import source_of
from pipeline.graph import RAW, Project
from pipeline.inspect import margins

TITLE = "what a careful person should look at"
NEAREST = 3  # documents on each side of a limit
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
    found = margins.nearest(margins.cases(stage, project.recipe.curation.of(stage), table), NEAREST)
    counts = decisions.counts["removed"] | decisions.counts["edits"]
    return [
        {
            "stage": stage.name,
            "reason": case["reason"],
            "removed or cut in all": counts.get(case["reason"], 0),
            "side": SIDES[case["state"]],
            "figure": None if case["figure"] is None else f"{case['signal']} {case['figure']:.4g}",
            "limit": None if case["limit"] is None else f"{case['setting']} {case['limit']:g}",
            "document": case["doc_id"],
            "source": source_of(case["fragment"]),
        }
        for case in found.to_dicts()
    ]
