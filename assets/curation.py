"""Group `curation`: from raw documents, stage by stage, to the documents that a model learns from.

Each stage's asset shows what it removed and why; the raw text itself is never changed (see pipeline/documents/).
"""

from collections.abc import Callable, Mapping
from typing import Any

from dagster import AssetsDefinition

from assets import checks, comparisons, display
from assets.asset import Check, Described, build
from assets.sources import key_of
from pipeline.curation import contamination, curated
from pipeline.curation.duplicates import near as duplicates
from pipeline.curation.duplicates import repetition
from pipeline.curation.filters import heuristics, keywords, language, perplexity, quality
from pipeline.curation.personal_data import personal_data
from pipeline.graph import NODES, Project
from pipeline.ingest import raw_documents
from pipeline.ingest.records import SKIP_REASONS
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact

DOCUMENTS = ("python", "polars", "parquet")


def decisions(module: Any, block: str) -> Callable[[Project, Artifact], Mapping[str, Any]]:
    """Builder of the metadata of a stage whose settings stand in the recipe under `block`."""

    def show(project: Project, artifact: Artifact) -> Mapping[str, Any]:
        settings = getattr(project.recipe.curation, block)
        before = [name for name in NODES[artifact.asset].inputs if name.endswith(("_decisions", "_edits"))]
        return {
            **display.of_decisions(artifact, project["raw_documents"], module.RULES, settings),
            "dagster/column_lineage": display.decision_lineage(artifact, before[-1] if before else None),
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
        "dagster/column_lineage": display.document_lineage("raw_documents", columns or ()),
    }


def stage(
    name: str,
    module: Any,
    block: str,
    description: str,
    kinds: tuple[str, ...],
    further: Callable[[comparisons.Show], comparisons.Show] | None = None,
    further_checks: tuple[Check, ...] = (),
) -> Described:
    """A stage's asset. further: what it shows beside what every stage shows."""
    show = decisions(module, block)
    return Described(
        name=name,
        description=description,
        kinds=kinds,
        code=module,
        show=further(show) if further else show,
        checks=(checks.ADDS_UP, checks.ONE_ROW, *further_checks),
    )


DESCRIBED = [
    Described(
        name="raw_documents",
        description=(
            "All documents of all sources, as they came, one row a document in fragments that are never rewritten. "
            "The id of a document is a hash of its text, so the same text has the same id wherever it came from."
        ),
        kinds=DOCUMENTS,
        code=raw_documents,
        show=show_raw,
        checks=(checks.NOT_EMPTY, checks.SOURCES),
    ),
    stage(
        "language_decisions",
        language,
        "language",
        "Which language each document is in (script shares, then fastText for the undecided); is it wanted?",
        ("python", "polars", "fasttext"),
    ),
    stage(
        "keyword_decisions",
        keywords,
        "keywords",
        "Documents that hold words of a block list too often. The list has a part for each language.",
        DOCUMENTS,
    ),
    stage(
        "heuristic_decisions",
        heuristics,
        "heuristics",
        "The rules of Gopher, C4 and FineWeb: too short, repetitive, full of symbols or lists, broken lines.",
        DOCUMENTS,
    ),
    Described(
        name="perplexity_model",
        description=(
            "A language model of word pieces for each language (modified Kneser-Ney), trained on reference text. "
            "Text that it finds very surprising is seldom prose."
        ),
        kinds=("python", "kenlm"),
        code=perplexity,
        show=show_model,
        checks=(checks.WHOLE,),
    ),
    stage(
        "perplexity_decisions",
        perplexity,
        "perplexity",
        "Documents that surprise the perplexity model far more than others of their language: tables, markup, noise.",
        ("python", "polars", "kenlm"),
    ),
    Described(
        name="quality_model",
        description=(
            "A fastText classifier that tells reference text from raw text. It is trained by one thread, so that it "
            "comes out the same each time."
        ),
        kinds=("python", "fasttext"),
        code=quality,
        show=show_model,
        checks=(checks.WHOLE,),
    ),
    stage(
        "quality_decisions",
        quality,
        "quality",
        "Documents that the quality classifier takes for raw text with great certainty.",
        ("python", "polars", "fasttext"),
    ),
    stage(
        "duplicate_decisions",
        duplicates,
        "duplicates",
        (
            "Exact and near duplicates. MinHash finds candidates, and each is then compared exactly: a document goes "
            "only if it is at least as similar as the threshold to one that stays, which is named beside it."
        ),
        ("python", "numpy", "parquet"),
        comparisons.with_duplicates,
        (comparisons.JUST,),
    ),
    stage(
        "repetition_edits",
        repetition,
        "repetition",
        "Passages that stand in many documents (licences, menus, openings): all but the first are cut.",
        ("python", "numpy", "parquet"),
    ),
    stage(
        "personal_data_edits",
        personal_data,
        "personal_data",
        (
            "Personal data (e-mail addresses, telephone, card and identity numbers, Korean ones too), hidden by "
            "placeholders."
        ),
        ("python", "presidio", "parquet"),
    ),
    stage(
        "contamination_decisions",
        contamination,
        "contamination",
        "Documents that hold items of the evaluation sets; each names the item and the words that they share.",
        ("python", "numpy", "parquet"),
        comparisons.with_items,
    ),
    Described(
        name="curated_documents",
        description=(
            "The documents that every stage kept, with all edits of all stages applied at once. "
            "This is the text that the tokenizer and the models learn from."
        ),
        kinds=DOCUMENTS,
        code=curated,
        show=show_curated,
        checks=(checks.NOT_EMPTY, checks.ADDS_UP),
    ),
]


def assets_of(recipe: Recipe) -> list[AssetsDefinition]:
    sources = [key_of(source) for source in recipe.sources]
    return [build(described, sources if described.name == "raw_documents" else ()) for described in DESCRIBED]
