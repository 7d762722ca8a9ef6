"""Group `sources`: one node for each source of the recipe, observed and never copied.

An observation notes a digest of what the source holds now. Where that differs from what `raw_documents` was made from,
Dagster shows everything after it as out of date, and the sensor `sources_changed` can start what is to be made again.
"""

import re

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

from assets import console
from assets.asset import OWNERS
from pipeline.errors import UserError
from pipeline.graph import Project
from pipeline.ingest import raw_documents
from pipeline.ingest.source import Source
from pipeline.recipe import Recipe

GROUP = "sources"


def key_of(source: Source) -> AssetKey:
    return AssetKey(["source", source.name])


def assets_of(recipe: Recipe) -> list[AssetsDefinition]:
    return [observed(source) for source in recipe.sources]


def observed(source: Source) -> AssetsDefinition:
    """The node of a source."""

    spec = AssetSpec(
        key_of(source),
        group_name=GROUP,
        description=f"Text from {source.describe()}. Read again where it differs from what was read before.",
        owners=OWNERS,
        kinds={source.icon},
        metadata={
            "kind": source.kind,
            "language": source.lang or "as its records say",
            "licence": source.license or "as its records say",
            "limit": source.limit or 0,
            "weight": source.weight,
        },
    )

    @multi_observable_source_asset(name=f"observe_{re.sub('[^A-Za-z0-9]', '_', source.name)}", specs=[spec])
    def source_asset(context: AssetExecutionContext):  # type: ignore[no-untyped-def]  # Dagster would read it
        try:
            project = Project.open(log=context.log.info)
            with console.stopped_by_hand(context):
                state = raw_documents.observe(source, project.store, context.log.info)
        except UserError as error:
            raise Failure(description=str(error), allow_retries=False) from None
        metadata = {name: value for name, value in state.items() if isinstance(value, int | float | str)}
        yield ObserveResult(
            asset_key=key_of(source),
            data_version=DataVersion(data_version(state["digest"])),
            metadata={**metadata, "state": MetadataValue.text("as it is now; nothing was copied")},
        )

    return source_asset


def data_version(digest: str) -> str:
    return digest[:16]


OBSERVE_JOB = define_asset_job(
    "observe_job",
    selection=AssetSelection.groups(GROUP, include_sources=True),
    description="Looks at each source, and notes what it holds now",
    executor_def=in_process_executor,
    config={"loggers": {"console": {}}},  # as in assets/jobs.py
)
