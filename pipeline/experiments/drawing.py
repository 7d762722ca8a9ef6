"""The pictures of an experiment, on Dagster's page and in MLflow: settings with their intervals, and layer by layer."""

from __future__ import annotations

from typing import Any

import polars as pl

from pipeline.experiments import comparing
from pipeline.experiments.layers import COLUMNS
from pipeline.experiments.result import cells_of, settings_of
from pipeline.inspect.curves import ACCENT, KEPT, REMOVED, figure_of
from pipeline.store.artifact import Artifact

COLOURS = {
    comparing.BETTER: KEPT,
    comparing.WORSE: REMOVED,
    comparing.UNDECIDED: "#8d99ae",
    comparing.AGAINST: ACCENT,
    comparing.SAME: ACCENT,
}


def drawn(result: Artifact) -> Any:
    """A figure with one line a setting, the best at the top: its seeds, their mean and its 95 % interval."""
    rows = sorted(settings_of(result), key=lambda row: row["mean"], reverse=True)
    figure, (axes,) = figure_of(1, 1, height=1.2 + 0.32 * len(rows))
    cells = cells_of(result)
    for place, row in enumerate(rows):
        colour = COLOURS[row["verdict"]]
        seeds = [cell["bits_per_byte"] for cell in cells if cell["setting"] == row["setting"]]
        axes.plot(seeds, [place] * len(seeds), "o", color=colour, alpha=0.35, markersize=4)
        if row["low"] is not None:
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
        axes.plot([row["mean"]], [place], "D", color=colour, markersize=5)
        if row["verdict"] == comparing.AGAINST:
            axes.axvline(row["mean"], color=colour, linewidth=0.8, linestyle=":")
    axes.set_ylim(-0.6, len(rows) - 0.4)  # the first and the last stand clear of the frame, however few they are
    axes.set_yticks(range(len(rows)), [row["setting"] for row in rows], fontsize=8)
    axes.set_xlabel("bits per byte of held-back documents (dots: seeds; bars: 95 %)")
    axes.grid(alpha=0.3, axis="x")
    return figure


def drawn_by_layer(result: Artifact) -> Any:
    """A figure with one line a setting (the mean over seeds) over layers, for each figure of `layers.py`."""
    table = pl.read_parquet(result.table("layers"))
    settings = table["setting"].unique(maintain_order=True).to_list()
    means = table.group_by("setting", "layer", maintain_order=True).agg(pl.col(COLUMNS).mean())
    figure, axes = figure_of(2, 4, height=5.2)
    for axis, column in zip(axes, COLUMNS, strict=False):
        for number, setting in enumerate(settings):
            part = means.filter(pl.col("setting") == setting).sort("layer")
            axis.plot(part["layer"], part[column], ".-", color=f"C{number % 10}", linewidth=1, label=setting)
        axis.set_title(column.replace("_", " "), fontsize=9)
        axis.set_xlabel("layer", fontsize=8)
        axis.grid(alpha=0.3)
    for axis in axes[len(COLUMNS) :]:
        axis.set_axis_off()
    axes[-1].legend(*axes[0].get_legend_handles_labels(), fontsize=6, frameon=False, loc="upper left")
    return figure
