"""Experiments that a recipe names are assets and a job; their page shows the table and the picture."""

from dagster import AssetKey, Definitions

from assets import experiments, groups, jobs, sources
from assets.asset import result
from pipeline import experiment
from pipeline.experiments.experiment_settings import Experiment
from pipeline.recipe import load
from tests.tiny import trained

NAMED = {"activations": Experiment(), "depth-1": Experiment(grid={"model.layers": [1, 2]})}


def test_the_experiments_of_a_recipe_are_assets_of_one_job_and_no_part_of_the_full_one():
    recipe = load("recipes/demo.yaml").model_copy(update={"experiments": NAMED})
    defs = Definitions(
        assets=[*sources.assets_of(recipe), *groups.assets_of(recipe), *experiments.assets_of(recipe)],
        jobs=jobs.jobs_of(recipe)[-2:],
    )
    layer = defs.resolve_job_def(jobs.EXPERIMENT_JOB).asset_layer
    assert layer.executable_asset_keys == {AssetKey("experiment_activations"), AssetKey("experiment_depth_1")}
    assert AssetKey("experiment_depth_1") not in defs.resolve_job_def("full_job").asset_layer.executable_asset_keys
    assert "which activation" in experiments.described(recipe)["experiment_activations"].description
    assert not [name for name in (job.name for job in jobs.jobs_of(load("recipes/demo.yaml"))) if "experiment" in name]


def test_the_page_of_an_experiment_shows_its_table_its_picture_and_its_conclusion(tmp_path):
    with trained(tmp_path) as project:
        given = Experiment(grid={"model.layers": [1, 2]}, equal="tokens")
        made = experiment.run(project, experiment.comparison_of("depth", given))
        recipe = project.recipe.model_copy(update={"experiments": {"depth": given}})
        shown = result(project, experiments.described(recipe)["experiment_depth"], made)
    assert shown.metadata is not None
    assert {"picture", "by layer", "settings", "cells", "in words"} <= shown.metadata.keys()
    assert [record.data["setting"] for record in shown.metadata["settings"].records]
    assert "one seed says nothing of chance" in shown.metadata["in words"].value
