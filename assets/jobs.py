"""The jobs: which artifacts are made together.

A job runs all of its assets, and an asset whose artifact is already in the store answers at once; so there is no job
for "only what has changed". Everything runs in one process (a step of its own process costs 5 s), apart from training
and evaluation, which start theirs.
"""

from collections.abc import Sequence

from dagster import AssetKey, AssetSelection, define_asset_job, in_process_executor
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.sources import key_of
from pipeline.graph import enabled_assets, nodes_of
from pipeline.recipe import Recipe
from pipeline.run import inputs_in_order
from pipeline.trained_models import EVALUATIONS, TRAINED_MODELS


def with_inputs(recipe: Recipe, end: str) -> list[str]:
    """`end` and everything that it is made of, in order; nothing where the recipe does not ask for it."""
    nodes = nodes_of(recipe)
    return inputs_in_order(nodes, end) if nodes[end].enabled else []


def jobs_of(recipe: Recipe) -> list[UnresolvedAssetJobDefinition]:
    """All jobs. Those that start with raw documents look at the sources first."""
    enabled = enabled_assets(recipe)
    models = [
        (of.job, f"From the sources to an evaluated {of.adjective} model", with_inputs(recipe, of.evaluation))
        for of in TRAINED_MODELS
    ]
    made = [
        ("curate_job", "From the sources to curated documents", with_inputs(recipe, "curated_documents")),
        ("tokenize_job", "From the sources to token shards", with_inputs(recipe, "token_shards")),
        *models,
        (
            "evaluate_job",
            "Measures the models that there are; makes no model",
            [name for name in enabled if name in EVALUATIONS],
        ),
        ("full_job", "Everything that the recipe asks for", enabled),
    ]
    return [_job(recipe, name, description, assets) for name, description, assets in made if assets]


def _job(recipe: Recipe, name: str, description: str, assets: Sequence[str]) -> UnresolvedAssetJobDefinition:
    keys = [AssetKey(asset) for asset in assets]
    if "raw_documents" in assets:
        keys += [key_of(source) for source in recipe.sources]
    return define_asset_job(
        name,
        selection=AssetSelection.assets(*keys),
        description=description,
        executor_def=in_process_executor,
        config={
            "loggers": {"console": {}}
        },  # assets/console.py; without it, the engine's own logger prints every event
    )
