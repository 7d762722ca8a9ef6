"""The jobs: which artifacts are made together.

A job runs all of its assets. An asset whose artifact is in the store finishes at once, so no job is needed for "only
what has changed". All steps run in one process, since a process per step costs 5 s each; training and evaluation start
their own.
"""

from collections.abc import Sequence

from dagster import AssetSelection, define_asset_job, in_process_executor
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.keys import key, run_tags
from assets.sources import key_of
from pipeline import worth
from pipeline.evaluation.tasks import covered_questions, task_items
from pipeline.evaluation.toxicity import classifier
from pipeline.experiments.experiment_settings import asset_of
from pipeline.graph import enabled_assets, nodes_of
from pipeline.recipe import Recipe
from pipeline.report import report
from pipeline.run import inputs_in_order
from pipeline.trained_models import EVALUATIONS, models_of

EXPERIMENT_JOB = "experiment_job"
WORTH_JOB = "worth_job"
# What evaluations are made of beside models and text.
ASKED = (task_items.ASSET, covered_questions.ASSET, classifier.ASSET)


def with_inputs(recipe: Recipe, end: str) -> list[str]:
    """`end`, everything that it is made of, in order, and the report; empty if the recipe does not have `end`, or
    switches it off."""
    nodes = nodes_of(recipe)
    return [*inputs_in_order(nodes, end), report.ASSET] if end in nodes and nodes[end].enabled else []


def jobs_of(recipe: Recipe) -> list[UnresolvedAssetJobDefinition]:
    """All jobs. Those that make raw documents observe the sources first."""
    enabled = enabled_assets(recipe)
    start = "sources" if recipe.base is None else "downloaded model"
    models = [
        (model.job, f"From the {start} to an evaluated {model.adjective} model", with_inputs(recipe, model.evaluation))
        for model in models_of(recipe)
    ]
    jobs = [
        ("curate_job", "From the sources to curated documents", with_inputs(recipe, "curated_documents")),
        ("tokenize_job", "From the sources to token shards", with_inputs(recipe, "token_shards")),
        *models,
        (
            "evaluate_job",
            "Evaluates the existing models; makes no model",
            [name for name in enabled if name in (*EVALUATIONS, *ASKED, report.ASSET)],
        ),
        ("full_job", "Everything that the recipe enables", enabled),
        (WORTH_JOB, "What each part of the data is worth", [worth.ASSET] if recipe.worth is not None else []),
        (EXPERIMENT_JOB, "The experiments that the recipe names", [asset_of(name) for name in recipe.experiments]),
    ]
    return [_job(recipe, name, description, assets) for name, description, assets in jobs if assets]


def _job(recipe: Recipe, name: str, description: str, assets: Sequence[str]) -> UnresolvedAssetJobDefinition:
    keys = [key(asset) for asset in assets]
    if "raw_documents" in assets:
        keys += [key_of(source) for source in recipe.sources]
    return define_asset_job(
        name,
        selection=AssetSelection.assets(*keys),
        description=description,
        executor_def=in_process_executor,
        tags=run_tags(recipe.name),
        config={"loggers": {"console": {}}},  # assets/console.py; Dagster's own console logger prints every event
    )
