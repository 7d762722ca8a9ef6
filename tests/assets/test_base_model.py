"""A recipe that starts from a downloaded model, as Dagster sees it."""

from dagster import Definitions

from assets import groups, jobs, sensors
from assets.definitions import defs
from pipeline.recipe import parse

RECIPE = parse("name: tuned\nbase: {hub: owner/name}\npreference: {enabled: false}")


def test_the_assets_and_jobs_are_those_that_need_no_text():
    found = Definitions(assets=groups.assets_of(RECIPE), jobs=jobs.jobs_of(RECIPE), sensors=sensors.sensors_of(RECIPE))
    names = {spec.key.to_user_string() for spec in found.resolve_all_asset_specs()}
    assert {"base_model", "base_evaluation", "sft_model", "instruction_data"} <= names
    assert names.isdisjoint({"raw_documents", "tokenizer", "token_shards", "training_plan", "pretrained_model"})
    assert {job.name for job in jobs.jobs_of(RECIPE)} == {"base_job", "sft_job", "evaluate_job", "full_job"}
    assert found.resolve_job_def("sft_job").name == "sft_job"
    assert [sensor.name for sensor in sensors.sensors_of(RECIPE)] == ["lost_runs"]


def test_another_recipe_has_no_imported_model():
    names = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert "pretrained_model" in names and "base_model" not in names
