"""Group `tokens`: the tokenizer and the curated documents as tokens."""

from collections.abc import Mapping
from typing import Any

from assets import checks, display
from assets.asset import AssetDescription
from pipeline.graph import Project
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizer
from pipeline.tokens.near_validation import NEAR_VALIDATION
from pipeline.trace import index as trace_index


def show_tokenizer(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    shown = dict(display.of_facts(artifact))
    languages = artifact.facts.get("report", {}).get("languages", {})
    if languages:
        shown["by language"] = display.table([{"language": name, **figures} for name, figures in languages.items()])
        by_language = {name: figures["bytes_per_token"] for name, figures in languages.items()}
        shown["bytes per token, by language"] = display.picture(display.bar_chart(by_language, "bytes per token"))
    return shown


def show_shards(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    shown = dict(display.of_facts(artifact))
    shown["removed by reason"] = display.removals(artifact.counts, (NEAR_VALIDATION,))
    by_source = artifact.facts.get("tokens_by_source", {})
    if by_source:
        shown["tokens by source"] = display.picture(display.bar_chart(by_source, "tokens"))
    shown["dagster/column_lineage"] = display.lineage(
        {
            "doc_id": [("curated_documents", "doc_id")],
            "source": [("curated_documents", "source")],
            "tokens": [("curated_documents", "text")],
        }
    )
    return shown


def show_index(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    facts = {name: value for name, value in artifact.facts.items() if name != "parts"}
    parts = [
        {"part": name.removesuffix(".index"), "documents": part["documents"], "tokens": part["tokens"]}
        for name, part in artifact.facts["parts"].items()
    ]
    return {**facts, **artifact.counts, "parts": display.table(parts)}


DESCRIBED = (
    AssetDescription(
        name="tokenizer",
        description=(
            "Splits text into tokens, learned from the curated documents. It can encode every byte, so no text is "
            "unknown. The markers of a conversation are single tokens, which ordinary text never produces."
        ),
        kinds=("python", "sentencepiece"),
        version=tokenizer.VERSION,
        made_by=tokenizer.make,
        show=show_tokenizer,
        checks=(checks.ROUND_TRIP,),
        settings="tokenizer",
    ),
    AssetDescription(
        name="token_shards",
        description=(
            "The curated documents as tokens, with their document ids: every token can be traced to its source."
        ),
        kinds=("python", "polars", "parquet"),
        version=token_shards.VERSION,
        made_by=token_shards.make,
        show=show_shards,
        checks=(checks.NO_SHARD_EMPTY, checks.IDS),
    ),
    AssetDescription(
        name=trace_index.ASSET,
        description=(
            "What models learn from, as suffix arrays: finds in milliseconds where a passage of an answer stands in it "
            "word for word (`slm trace`, and under each answer on the chat page)."
        ),
        kinds=("python", "numpy"),
        version=trace_index.VERSION,
        made_by=trace_index.make,
        show=show_index,
        checks=(checks.IN_ORDER,),
        settings="trace",
    ),
)


def described(recipe: Recipe) -> list[AssetDescription]:
    return list(DESCRIBED)
