"""Extra metadata of the stages that compare documents: clusters, similarities, diffs, evaluation items found.

A threshold is best judged by the pairs on both sides of it, so these are shown in full (with personal data masked).
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from dagster import MetadataValue

from assets import display
from assets.asset import Check
from pipeline.curation import contamination
from pipeline.curation.duplicates import near, review
from pipeline.curation.duplicates.duplicate_settings import Settings
from pipeline.graph import Project
from pipeline.inspect.curves import ACCENT, KEPT, REMOVED, figure_of
from pipeline.store.artifact import Artifact

Show = Callable[[Project, Artifact], Mapping[str, Any]]
DIFFS = 3  # on each side of the threshold
DIFF_LINES = 30
ITEMS = 20


def with_duplicates(show: Show) -> Show:
    """Adds to `show`: clusters by size, a histogram of verified similarities, the pairs nearest to the threshold."""

    def shown(project: Project, artifact: Artifact) -> Mapping[str, Any]:
        found = dict(show(project, artifact))
        sizes = review.cluster_sizes(artifact)
        if sizes.height:
            found["clusters by size"] = display.table(sizes.to_dicts())
            found["largest clusters"] = display.table(review.clusters(artifact, ITEMS).to_dicts())
        similar = review.similarities(artifact)
        if similar["pairs"].sum():
            threshold = artifact.manifest["made_of"]["settings"]["threshold"]
            found["verified similarity of compared pairs"] = display.picture(_similarities(similar, threshold))
        below, above = review.nearest_to_threshold(artifact, DIFFS)
        for label, pairs in (("just below the threshold", below), ("just at or above it", above)):
            if pairs.height:
                found[label] = MetadataValue.md("\n\n".join(_diff(project, row) for row in pairs.to_dicts()))
        return found

    return shown


def _similarities(similar: pl.DataFrame, threshold: float) -> Any:
    """A histogram of the similarity of pairs, on both sides of the threshold."""
    figure, (axis,) = figure_of(1, 1)
    width = 1 / similar.height
    for label, colour, part in (
        ("below the threshold", KEPT, similar.filter(pl.col("from") + width / 2 < threshold)),
        ("at least the threshold", REMOVED, similar.filter(pl.col("from") + width / 2 >= threshold)),
    ):
        axis.bar(part["from"], part["pairs"], width=width, align="edge", color=colour, label=label)
    axis.axvline(threshold, color=ACCENT, linestyle="--", linewidth=1)
    axis.set_xlim(0, 1)
    axis.set_xlabel("Jaccard similarity of the two documents")
    axis.set_ylabel("pairs")
    axis.legend(frameon=False, fontsize=7, loc="upper left")
    return figure


def _diff(project: Project, pair: Mapping[str, Any]) -> str:
    lines = review.side_by_side(project["raw_documents"], pair["left"], pair["right"]).splitlines()
    # The first two lines are the documents' ids, which sometimes look like telephone numbers.
    text = "\n".join([*lines[:2], display.masked("\n".join(line[:200] for line in lines[2:DIFF_LINES]))])
    return f"{pair['jaccard']:.4f}\n```diff\n{text}\n```"


def with_items(show: Show) -> Show:
    """Adds to `show`: the evaluation items that the training text covers most."""

    def shown(project: Project, artifact: Artifact) -> Mapping[str, Any]:
        found = dict(show(project, artifact))
        items = contamination.covered_items(artifact)
        if items.height:
            found["evaluation items found"] = MetadataValue.int(items.height)
            found["items, the most covered first"] = display.table(items.head(ITEMS).to_dicts())
        return found

    return shown


def removals_are_just(project: Project, artifact: Artifact) -> tuple[str, Mapping[str, Any]]:
    """Checks that each removed copy names a document that is kept, with the similarity that the decision states."""
    settings = project.recipe.curation.of(near.STAGE)
    assert isinstance(settings, Settings)
    if not settings.enabled:
        return "", {"removed": 0}
    before = project.nodes[artifact.asset].inputs["previous"]
    wrong = review.verify_removals(project["raw_documents"], project[before], artifact, settings)
    figures = {"removed": artifact.counts["in"] - artifact.counts["kept"], "wrong": len(wrong)}
    return (f"{len(wrong)} removals are not just, the first: {wrong[0]}" if wrong else ""), figures


JUST = Check(
    "removals_are_just", "Every removed copy names a kept document of the stated similarity", removals_are_just
)
