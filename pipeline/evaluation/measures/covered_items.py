"""Evaluation items that the training text holds something of: they make the other scores doubtful.

Nothing is measured of the model: `contamination_decisions` has looked for the items, and its findings are repeated
beside the scores that they bear on.
"""

from __future__ import annotations

from pipeline.curation.contamination import ITEMS, covered_items
from pipeline.evaluation.measure import Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.store.artifact import Artifact


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Figures by evaluation set, and the table of the items that were found, the most covered first.

    The figures of a set: `items`, those long enough to be looked for (`checked`), those that a document shares an
    n-gram with (`found`), those of which one document holds 80 % or more (`most`). No figures where nothing was looked
    for.
    """
    contamination = subject.inputs["contamination_decisions"]
    if digest_of(contamination) is None:
        return Result()
    return Result(contamination.facts["sets"], tables={"covered_items": covered_items(contamination)})


def digest_of(contamination: Artifact) -> str | None:
    """SHA-256 of what this measure reads of the decisions; None where no item was looked for."""
    items = contamination.manifest["files"].get(f"{ITEMS}.parquet")
    return items["sha256"] if items and contamination.facts["sets"] else None


MEASURE: Measure[MeasureSettings] = Measure(
    name="covered_items",
    description="evaluation items that the training text holds, by evaluation set",
    run=run,
    needs=("contamination_decisions",),
)
