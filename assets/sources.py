"""Group `sources`: one node for each source of the recipe, which is observed but never copied.

An observation records a digest of the source's current contents. If it differs from the one that `raw_documents` was
made from, Dagster shows everything downstream as out of date, and the sensor `sources_changed` can start a run.
"""

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    DataVersion,
    Failure,
    MetadataValue,
    ObserveResult,
    define_asset_job,
    in_process_executor,
    multi_observable_source_asset,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets import console
from assets.keys import as_name, group, key, owners, recipe_tag, run_tags
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.ingest import raw_documents
from pipeline.ingest.source import Source
from pipeline.recipe import Recipe

GROUP = "sources"


def key_of(source: Source) -> AssetKey:
    """Its name; of one in other letters, what stands for it in Dagster's names (its page says the name)."""
    return key("source", source.name if source.name.isascii() else as_name(source.name))


def assets_of(recipe: Recipe) -> list[AssetsDefinition]:
    return [observed(source, recipe.name) for source in recipe.sources]


def observed(source: Source, recipe: str) -> AssetsDefinition:
    """The node of a source of a recipe."""

    spec = AssetSpec(
        key_of(source),
        group_name=group(GROUP),
        description=f"Source `{source.name}`: text from {source.describe()}. It is read again only if it has changed.",
        owners=owners(),
        kinds={source.icon},
        tags=recipe_tag(recipe),
        metadata={
            "kind": source.kind,
            "language": source.lang or "as declared by its records",
            "licence": source.license or "as declared by its records",
            "limit": source.limit or 0,
            "weight": source.weight,
        },
    )

    @multi_observable_source_asset(name=f"observe_{as_name(source.name)}", specs=[spec])
    def source_asset(context: AssetExecutionContext):  # type: ignore[no-untyped-def]  # Dagster would read it
        try:
            project = Project.open(log=context.log.info)
            with console.cancelled_at_terminal(context):
                state = raw_documents.observe(source, project.store, context.log.info)
        except UserError as error:
            raise Failure(description=str(error), allow_retries=False) from None
        metadata = {name: value for name, value in state.items() if isinstance(value, int | float | str)}
        yield ObserveResult(
            asset_key=key_of(source),
            data_version=DataVersion(data_version(state["digest"])),
            metadata={**metadata, "state": MetadataValue.text("observed; nothing was copied")},
        )

    return source_asset


def data_version(digest: str) -> str:
    return digest[:16]


def observe_job(recipe: Recipe) -> UnresolvedAssetJobDefinition:
    """The job that only looks at the sources."""
    return define_asset_job(
        "observe_job",
        selection=AssetSelection.groups(group(GROUP), include_sources=True),
        description="Observes each source, and records a digest of its contents",
        executor_def=in_process_executor,
        tags=run_tags(recipe.name),
        config={"loggers": {"console": {}}},  # as in assets/jobs.py
    )
