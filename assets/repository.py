"""Everything that Dagster knows of one recipe."""

from typing import Any

from dagster import AssetSpec, RepositoryDefinition, create_repository_using_definitions_args, in_process_executor

from assets import console, experiments, groups, jobs, sensors, sources
from assets.keys import group, key, owners, recipe_tag
from pipeline.recipe import Recipe


def parts(recipe: Recipe, cleans_up: bool = True) -> dict[str, Any]:
    """What `Definitions`, or a repository of a location that has several, takes.

    cleans_up: with the sensor that looks for lost runs of all recipes; one of the location is enough.
    """
    return {
        "assets": [*sources.assets_of(recipe), *groups.assets_of(recipe), *experiments.assets_of(recipe)],
        "jobs": [*jobs.jobs_of(recipe), *([sources.observe_job(recipe)] if recipe.sources else [])],
        "sensors": sensors.sensors_of(recipe, cleans_up),
        "schedules": sensors.schedules_of(recipe),
        "loggers": {"console": console.console},
        "executor": in_process_executor,  # for materialising assets by hand, too: a process per step costs 5 s each
    }


def repository(name: str, recipe: Recipe, cleans_up: bool) -> RepositoryDefinition:
    """The definitions of one of several recipes."""
    return create_repository_using_definitions_args(name, **parts(recipe, cleans_up))


def of_a_mistake(name: str, sentence: str, cleans_up: bool) -> RepositoryDefinition:
    """What stands for a recipe that cannot be read: an asset that says why. The others of its location stay.

    cleans_up: as in `parts`; lost runs are found whatever is wrong with a recipe.
    """
    spec = AssetSpec(
        key("broken_recipe"), group_name=group("broken"), description=sentence, kinds={"yaml"}, owners=owners(),
        tags=recipe_tag(name),
    )  # fmt: skip
    looking = [sensors.lost_runs] if cleans_up else []
    return create_repository_using_definitions_args(name, assets=[spec], sensors=looking)
