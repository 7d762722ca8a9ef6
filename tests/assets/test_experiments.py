"""Experiments that a recipe names are assets and a job; their page shows the table and the picture."""

import base64

import polars as pl
from dagster import AssetKey, Definitions

from assets import display, experiments, groups, jobs, sources
from assets.asset import result
from assets.small_pictures import of_artifact
from pipeline import experiment
from pipeline.experiments import comparing
from pipeline.experiments.experiment_settings import Experiment
from pipeline.inspect.curves import KEPT, REMOVED
from pipeline.recipe import load
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table
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


def test_the_small_picture_of_an_experiment_tells_settings_apart(tmp_path):
    """Bars from 0 of figures that differ by a per cent are all alike, and so are names that begin alike when cut."""
    figures = {
        f"activation {name}": {seed: bits + seed / 1000 for seed in (0, 1, 2)}
        for name, bits in (("swiglu, ema 0.0", 2.0), ("swiglu, ema 0.99", 1.9), ("swiglu, ema 0.5", 2.2))
    }
    rows = comparing.compared(figures, "activation swiglu, ema 0.0")

    def build(draft: Draft) -> None:
        write_table(pl.DataFrame(rows, infer_schema_length=None), draft.path("settings.parquet"))

    made = Store(tmp_path, "test").make(
        "experiment_mine", code_version="1", settings={}, inputs={}, build=build, log=print
    )
    drawn = of_artifact(made)
    assert drawn is not None and drawn.value is not None
    svg = base64.b64decode(drawn.value.split("base64,")[1].rstrip(")")).decode()
    assert "swiglu, ema 0.99 -5.0%" in svg and "swiglu, ema 0.5 10.0%" in svg
    assert KEPT in svg and REMOVED in svg, "better and worse"


def test_the_page_of_worth_begins_with_a_sentence_and_bars_and_says_effects_in_words(tmp_path):
    effects = [
        ("without a", "a", 0.5, "helps"),
        ("without b", "a", -0.04, "harms"),
        ("without a", "b", 0.9, "undecided"),
        ("without b", "b", 0.1, "undecided"),
    ]
    rows = [
        {"part": part, "target": target, "seeds": 3, "mean": 1.0, "difference": difference, "low": difference - 0.01,
         "high": difference + 0.01, "p": 0.01, "p_holm": 0.02, "verdict": verdict}
        for part, target, difference, verdict in effects
    ]  # fmt: skip

    def build(draft: Draft) -> None:
        write_table(pl.DataFrame(rows), draft.path("worth.parquet"))
        draft.counts = {"decided": 2}

    made = Store(tmp_path, "test").make("worth", code_version="1", settings={}, inputs={}, build=build, log=print)
    drawn = of_artifact(made)
    assert drawn is not None and drawn.value.startswith("![bars]")
    shown = experiments.show_worth(None, made)
    assert shown["in short"].text == "2 of 4 effects are decided; without b: -4.0% bits per byte of a"
    assert list(display.arranged(made, {**display.of_artifact(made), **shown}))[:4] == [
        "report", "in short", "picture", "effects",
    ]  # fmt: skip
    records = [record.data for record in shown["effects"].records]
    assert [record["verdict"] for record in records] == ["helps", "harms", *["undecided"] * 2], (
        "what is decided stands first"
    )
    assert records[0]["effect"] == "+50.00%" and "picture" not in shown, "that is the name of the small one"
