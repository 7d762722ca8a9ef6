"""`worth`: what each part of the data is worth, as an experiment tells it (`experiment.py`).

Models of the recipe's own shape are trained on a small number of tokens: as the recipe is, and each without one source
(or with twice as much of it, or without one stage of curation), with several seeds. A source is left out by drawing
nothing from it, so that everything before the training is answered from the store. What is drawn in its place is the
rest of the text, in the same proportions: the answer is to whether these tokens are better spent on it or on the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import experiment, openlineage
from pipeline.curation.stages import stages_of
from pipeline.errors import UserError
from pipeline.evaluation.tasks import task_items
from pipeline.experiments import result, task_scores, worth_table
from pipeline.experiments.changes import AS_IT_IS
from pipeline.experiments.experiment_settings import Experiment
from pipeline.experiments.worth_settings import SHARE, Worth
from pipeline.graph import Project
from pipeline.printing import aligned
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.trained_models import PRETRAINED

VERSION = "2"  # 2: what differs in nothing is compared once
ASSET = "worth"
OF_TASK = "task: "  # before the names of tasks, among what is measured
QUESTION = "What is each part of the data worth?"


def run(
    project: Project, asked: Worth | None = None, recipe_file: str | Path | None = None, anyhow: bool = False
) -> Artifact:
    """The artifact `worth`: worth.parquet, one row for each part and text that is measured (`worth_table.py`).

    asked: what to ask; None: what the recipe's block says. anyhow: however long it takes. Raises UserError if there is
    nothing to leave out, and what `experiment.run` raises.
    """
    settings = asked or project.recipe.worth or Worth()
    comparison = experiment.comparison_of(ASSET, experiment_of(project.recipe, settings), recipe_file)
    compared = experiment.run(project, comparison, anyhow)
    cells = result.cells_of(compared)
    tasks = on_tasks(project, cells)

    def build(draft: Draft) -> None:
        measured = pl.read_parquet(compared.table("sources")).to_dicts()
        measured += [
            {**cell, "source": f"{OF_TASK}{task}", "bits_per_byte": bits}
            for cell, scores in zip(cells, tasks, strict=False)
            for task, bits in scores.facts["bits_per_byte"].items()
        ]
        rows = worth_table.effects(cells, measured, AS_IT_IS)
        write_table(pl.DataFrame(rows, infer_schema_length=None), draft.path("worth.parquet"))
        decided = [row for row in rows if row["verdict"] in worth_table.DECIDED]
        draft.counts = {"effects": len(rows), "decided": len(decided)}
        draft.facts = {
            "decided": [f"{row['part']}: {row['verdict']} on {row['target']}" for row in decided],
            "cells": compared.counts["cells"],
        }

    made = project.store.make(
        ASSET,
        code_version=VERSION,
        settings={},
        inputs={"experiment": compared, **{f"{number:04d}": scores for number, scores in enumerate(tasks)}},
        build=build,
        log=project.log,
    )
    if made.made:
        openlineage.record(project.store, made, project.log)
    return made


def on_tasks(project: Project, cells: Sequence[Mapping[str, Any]]) -> list[Artifact]:
    """The scores of the model of each cell on the recipe's tasks, in order; none if it names no tasks."""
    chosen = project.recipe.evaluation
    if not chosen.tasks:
        return []
    items, trial = project.make(task_items.ASSET), replace(project, store=project.store.trial())
    names = [task.name for task in chosen.tasks]
    found = []
    for cell in cells:
        model = project.store.version(PRETRAINED, cell["model"])
        assert model is not None, "it was scored a moment ago"
        found.append(task_scores.make(replace(trial.context, log=quiet), model, items, names, chosen.batch_tokens))
    return found


def quiet(line: str) -> None:
    """A log for what every cell would say."""


def experiment_of(recipe: Recipe, asked: Worth) -> Experiment:
    """The experiment that answers it. Raises UserError if there is nothing to leave out, or no number of tokens."""
    tokens = asked.tokens or recipe.pretraining.tokens // SHARE
    if not tokens:
        raise UserError(
            "The recipe does not say on how many tokens it trains: set `worth.tokens`, or say `slm worth --tokens`."
        )
    cells = [cell for part in asked.parts for cell in CELLS[part](recipe)]
    if not cells:
        raise UserError(
            f"There is nothing to leave out ({', '.join(asked.parts)}): a recipe needs two sources, or a stage that is"
            " switched on."
        )
    return Experiment(
        question=QUESTION,
        at={"pretraining.tokens": tokens},
        grid={"pretraining.seed": list(range(asked.seeds))},
        cells=[{}, *cells],
        equal="tokens",
        against=AS_IT_IS,
    )


def without_each_source(recipe: Recipe) -> list[dict[str, Any]]:
    if len(recipe.sources) < 2:
        return []
    return [
        {"name": f"without {source.name}", f"pretraining.feed.source_weights.{source.name}": 0}
        for source in recipe.sources
    ]


def twice_each_source(recipe: Recipe) -> list[dict[str, Any]]:
    if len(recipe.sources) < 2:
        return []
    weights = {source.name: source.weight for source in recipe.sources} | recipe.pretraining.feed.source_weights
    return [
        {
            "name": f"{worth_table.TWICE}{source.name}",
            f"pretraining.feed.source_weights.{source.name}": 2 * weights[source.name],
        }
        for source in recipe.sources
    ]


def without_each_stage(recipe: Recipe) -> list[dict[str, Any]]:
    stages = [stage for stage in stages_of(recipe.curation) if getattr(recipe.curation.of(stage), "enabled", False)]
    return [
        {"name": f"without the stage {stage.block}", f"curation.{stage.block}.enabled": False}
        for stage in stages
        if stage.block
    ]


CELLS = {"sources": without_each_source, "doubled": twice_each_source, "stages": without_each_stage}


def rows_of(made: Artifact) -> list[dict[str, Any]]:
    """The rows of `worth.parquet`."""
    return pl.read_parquet(made.table("worth")).to_dicts()


def lines(made: Artifact) -> list[str]:
    """The table in words, the decided effects first."""
    rows = worth_table.decided_first(rows_of(made))
    said = [aligned(list(worth_table.COLUMNS), [worth_table.in_cells(row) for row in rows])]
    if not made.counts["decided"]:
        said.append("undecided: no effect is larger than that of the seeds; more seeds or tokens may tell")
    return said
