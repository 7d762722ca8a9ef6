"""Evaluation items that occur in the training text, which make the other scores doubtful.

The model is not measured: `contamination_decisions` has searched the text for the items, and the report repeats its
findings next to the scores that they concern.
"""

from __future__ import annotations

from pipeline.curation.contamination import ITEMS, covered_items
from pipeline.evaluation.measure import Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.store.artifact import Artifact


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Figures by evaluation set, and the table of the items that were found, the most covered ones first.

    The figures of a set are counts of items: all (`items`), those long enough to search for (`checked`), those that
    share an n-gram with a document (`found`), and those of which a document contains 80 % or more (`most`). No figures
    if nothing was searched for.
    """
    contamination = subject.inputs["contamination_decisions"]
    if digest_of(contamination) is None:
        return Result()
    return Result(contamination.facts["sets"], tables={"covered_items": covered_items(contamination)})


def digest_of(contamination: Artifact) -> str | None:
    """SHA-256 of the table of the decisions that this measure reads; None if no item was searched for."""
    items = contamination.manifest["files"].get(f"{ITEMS}.parquet")
    return items["sha256"] if items and contamination.facts["sets"] else None


MEASURE: Measure[MeasureSettings] = Measure(
    name="covered_items",
    description="evaluation items that occur in the training text, by evaluation set",
    run=run,
    needs=("contamination_decisions",),
)
