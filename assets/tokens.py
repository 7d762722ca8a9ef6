"""Group `tokens`: from curated text to the numbers that a model reads."""

from collections.abc import Mapping
from typing import Any

from assets import checks, display
from assets.asset import Described
from pipeline.graph import Project
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizer
from pipeline.tokens.near_validation import NEAR_VALIDATION


def show_tokenizer(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    shown = dict(display.of_facts(artifact))
    languages = artifact.facts.get("report", {}).get("languages", {})
    if languages:
        shown["by language"] = display.table([{"language": name, **of} for name, of in languages.items()])
        by_language = {name: of["bytes_per_token"] for name, of in languages.items()}
        shown["bytes a token, by language"] = display.picture(display.bar_chart(by_language, "bytes a token"))
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


DESCRIBED = (
    Described(
        name="tokenizer",
        description=(
            "How text becomes tokens, learned from the curated documents. Every byte can be written in it, so nothing "
            "is unknown; the signs of a conversation are single tokens that ordinary text can never become."
        ),
        kinds=("python", "sentencepiece"),
        version=tokenizer.VERSION,
        made_by=tokenizer.make,
        show=show_tokenizer,
        checks=(checks.ROUND_TRIP,),
        settings="tokenizer",
    ),
    Described(
        name="token_shards",
        description=("The curated documents as tokens, each beside its document's id: each token has a source."),
        kinds=("python", "polars", "parquet"),
        version=token_shards.VERSION,
        made_by=token_shards.make,
        show=show_shards,
        checks=(checks.NO_SHARD_EMPTY, checks.IDS),
    ),
)


def described(recipe: Recipe) -> list[Described]:
    return list(DESCRIBED)
