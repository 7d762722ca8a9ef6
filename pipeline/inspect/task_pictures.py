"""Pictures of tasks: their figures over the tokens of a training, from the weights that were kept."""

from __future__ import annotations

from typing import Any

import polars as pl

from pipeline.evaluation.measures.tasks_over_steps import TABLE
from pipeline.evaluation.noise import SCALES
from pipeline.inspect.curves import figure_of
from pipeline.store.artifact import Artifact

MOST_TASKS = 10  # of one picture: matplotlib has so many colours


def curves(report: Artifact) -> Any:
    """Shares of right answers and bits per byte over tokens, a line for each task; None without kept weights."""
    if f"{TABLE}.parquet" not in report.manifest["files"]:
        return None
    points = pl.read_parquet(report.file(f"{TABLE}.parquet"))
    names = points["task"].unique(maintain_order=True).to_list()[:MOST_TASKS]
    figure, axes = figure_of(len(SCALES), 1, height=2.4 * len(SCALES))
    for axis, (scale, words) in zip(axes, SCALES.items(), strict=True):
        for name in names:
            of_task = points.filter(task=name).sort("tokens")
            axis.plot(of_task["tokens"], of_task[scale], marker="o", markersize=3, linewidth=1.2, label=name)
        axis.set_ylabel(words, fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False, fontsize=7)
    axes[-1].set_xlabel("tokens")
    return figure
