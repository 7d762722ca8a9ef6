"""Group `experiments`: what the recipe compares, each a table with intervals and a picture.

An experiment is no artifact of the graph: it makes models of other recipes than the one that the graph shows
(pipeline/experiment.py). So its asset makes what it needs by itself, in a process of its own.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from dagster import AssetsDefinition, MetadataValue

from assets import checks, comparisons, display
from assets.asset import AssetDescription, build
from pipeline import experiment, tracking, worth
from pipeline.experiments import drawing, finding, result, worth_drawing, worth_table
from pipeline.experiments.experiment_settings import asset_of
from pipeline.graph import Node, Project
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact

GROUP = "experiments"


def show(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """The table of settings, the picture, all cells, and what may be concluded."""
    shown: dict[str, Any] = {
        display.SHORT: MetadataValue.text(result.in_short(artifact)),
        "settings": display.table(result.best_first(artifact)),
        "settings drawn": display.picture(drawing.drawn(artifact)),
        "by layer": display.picture(drawing.drawn_by_layer(artifact)),
        "cells": display.table(result.cells_of(artifact)),
        "in words": MetadataValue.md("```\n" + "\n".join(result.lines(artifact)) + "\n```"),
    }
    law = drawing.drawn_law(artifact)
    if law is not None:
        shown["law drawn"] = display.picture(law)
    run = tracking.find(artifact.manifest["fingerprint"])
    if run:
        shown["MLflow run"] = MetadataValue.url(tracking.link(run))
    return shown


def show_worth(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """The effects as a picture, a table and in words."""
    rows = worth.rows_of(artifact)
    names = [name or "verdict" for name in worth_table.COLUMNS]
    words = [dict(zip(names, worth_table.in_cells(row), strict=True)) for row in worth_table.decided_first(rows)]
    return {
        display.SHORT: MetadataValue.text(worth_table.in_short(rows)),
        "effects": display.table(words),
        "effects drawn": display.picture(worth_drawing.drawn(rows)),
        "in words": MetadataValue.md("```\n" + "\n".join(worth.lines(artifact)) + "\n```"),
    }


def described(recipe: Recipe) -> dict[str, AssetDescription]:
    """The assets of the experiments that the recipe names, and of the one that asks what each part is worth."""
    found = {}
    if recipe.worth is not None:
        found[worth.ASSET] = of_trainings(
            worth.ASSET,
            "What each part of the data is worth: small models without it, beside those of the recipe as it is, "
            "with several seeds; the effects on every source, and which of them are decided.",
            worth.VERSION, worth.run, show_worth,
        )  # fmt: skip
    for name in recipe.experiments:
        question = finding.named(name, recipe.experiments)[1].question
        found[asset_of(name)] = of_trainings(
            asset_of(name),
            f"The experiment `{name}`{': ' + question if question else '.'} Models of several settings, trained "
            "for the same, scored on the same held-back documents, compared with intervals.",
            result.VERSION, experiment.run, show,
        )  # fmt: skip
    return found


def of_trainings(
    name: str, description: str, version: str, made_by: Callable[..., Any], page: comparisons.Show
) -> AssetDescription:
    """An asset that trains and scores models of its own. page: builds its metadata."""
    return AssetDescription(
        name=name,
        description=description,
        kinds=("python", "pytorch", "mlflow"),
        version=version,
        made_by=made_by,
        show=page,
        checks=(checks.FILES_COMPLETE,),
        on_device=True,
        always_asked=True,
    )


def assets_of(recipe: Recipe) -> list[AssetsDefinition]:
    """In the graph they stand after the token shards, although their cells may have others."""
    inputs = {experiment.SHARDS: experiment.SHARDS} if recipe.sources else {}
    return [
        build(
            description,
            Node(GROUP, inputs, partial(not_in_the_graph, name), None),
            recipe.name,
            device=recipe.execution.device,
        )
        for name, description in described(recipe).items()
    ]


def not_in_the_graph(name: str, *_: Any) -> Artifact:
    """What would make it if it were a node."""
    raise AssertionError(f"{name} is made by pipeline/experiment.py")
