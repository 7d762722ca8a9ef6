"""The picture of an experiment: every setting with its seeds and its interval. Dagster's page and MLflow show it."""

from __future__ import annotations

from typing import Any

from pipeline.experiments import comparing
from pipeline.experiments.result import cells_of, settings_of
from pipeline.inspect.curves import ACCENT, KEPT, REMOVED, figure_of
from pipeline.store.artifact import Artifact

COLOURS = {comparing.BETTER: KEPT, comparing.WORSE: REMOVED, comparing.UNDECIDED: "#8d99ae", comparing.AGAINST: ACCENT}


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
    axes.set_yticks(range(len(rows)), [row["setting"] for row in rows], fontsize=8)
    axes.set_xlabel("bits per byte of held-back documents (dots: seeds; bars: 95 %)")
    axes.grid(alpha=0.3, axis="x")
    return figure
