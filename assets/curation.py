"""Group `curation`: the stages from raw documents to the documents that models are trained on.

Each stage's asset shows what it removed and why; raw text is never changed (see pipeline/documents/).
"""

from collections.abc import Callable, Mapping
from typing import Any

from assets import careful, checks, comparisons, display
from assets.asset import AssetDescription, Check
from pipeline.curation import curated
from pipeline.curation.duplicates import near
from pipeline.curation.stages import stages_of
from pipeline.documents.stage import FragmentStage, Stage, TrainedFilter
from pipeline.graph import CURATED, RAW, Project
from pipeline.ingest import raw_documents
from pipeline.ingest.records import SKIP_REASONS
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact

DOCUMENTS = ("python", "polars", "parquet")
# Further metadata and checks of single stages, by asset name.
FURTHER: dict[str, Callable[[comparisons.Show], comparisons.Show]] = {
    "duplicate_decisions": comparisons.with_duplicates,
    "contamination_decisions": comparisons.with_items,
}
FURTHER_CHECKS: dict[str, tuple[Check, ...]] = {near.STAGE.name: (comparisons.JUST,)}


def decisions(stage: Stage) -> Callable[[Project, Artifact], Mapping[str, Any]]:
    """A function that builds the metadata of a stage."""

    def show(project: Project, artifact: Artifact) -> Mapping[str, Any]:
        settings = project.recipe.curation.of(stage)
        return {
            **display.of_decisions(artifact, project[RAW], stage.rules, settings),
            "dagster/column_lineage": display.decision_lineage(
                artifact, project.nodes[artifact.asset].inputs.get("previous")
            ),
        }

    return show


def show_raw(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    return {
        **display.of_documents(artifact),
        **display.of_facts(artifact),
        "removed by reason": display.removals(artifact.counts, SKIP_REASONS),
    }


def show_model(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    return display.of_facts(artifact)


def show_curated(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    columns = artifact.fragments and ["doc_id", "text", "source", "source_id", "lang", "url", "license", "meta"]
    return {
        **display.of_documents(artifact),
        "languages": display.picture(display.bar_chart(artifact.counts["languages"], "documents")),
        "removed by reason": display.removals(artifact.counts, curated.RULES),
        **careful.look(project),
        "dagster/column_lineage": display.document_lineage("raw_documents", columns or ()),
    }


def described_stage(stage: Stage) -> list[AssetDescription]:
    """A stage's asset, after those of the models that it filters with."""
    show = decisions(stage)
    made_by = stage.signals if isinstance(stage, FragmentStage) else getattr(stage, "run", stage.make)
    return [
        *(described_filter(model) for model in stage.filters),
        AssetDescription(
            name=stage.name,
            description=stage.description,
            kinds=stage.kinds,
            version=stage.version,
            made_by=made_by,
            show=FURTHER.get(stage.name, lambda show: show)(show),
            checks=(checks.ADDS_UP, checks.ONE_ROW, *FURTHER_CHECKS.get(stage.name, ())),
        ),
    ]


def described_filter(model: TrainedFilter) -> AssetDescription:
    return AssetDescription(
        name=model.name,
        description=model.description,
        kinds=model.kinds,
        version=model.version,
        made_by=model.make,
        show=show_model,
        checks=(checks.FILES_COMPLETE,),
    )


def described(recipe: Recipe) -> list[AssetDescription]:
    raw = AssetDescription(
        name=RAW,
        description=(
            "All documents of all sources, unchanged, one row per document, in fragments that are never rewritten. "
            "The id of a document is a hash of its text, so the same text has the same id in every source."
        ),
        kinds=DOCUMENTS,
        version=raw_documents.VERSION,
        made_by=raw_documents.make,
        show=show_raw,
        checks=(checks.NOT_EMPTY, checks.SOURCES),
    )
    text = AssetDescription(
        name=CURATED,
        description=(
            "The documents that every stage kept, with the edits of all stages applied at once. "
            "The tokenizer and the models are trained on this text."
        ),
        kinds=DOCUMENTS,
        version=curated.VERSION,
        made_by=curated.make,
        show=show_curated,
        checks=(checks.NOT_EMPTY, checks.ADDS_UP, checks.NO_PERSONAL_DATA),
    )
    stages = [description for stage in stages_of(recipe.curation) for description in described_stage(stage)]
    return [raw, *stages, text]
