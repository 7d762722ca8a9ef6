"""The pictures of an experiment, on Dagster's page and in MLflow: settings with their intervals, and layer by layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from pipeline.experiments import comparing, scaling
from pipeline.experiments.layers import COLUMNS, SHARES
from pipeline.experiments.result import cells_of, settings_of
from pipeline.inspect.curves import ACCENT, KEPT, REMOVED, figure_of
from pipeline.printing import width, wrapped
from pipeline.store.artifact import Artifact

COLOURS = {
    comparing.BETTER: KEPT,
    comparing.WORSE: REMOVED,
    comparing.UNDECIDED: "#8d99ae",
    comparing.AGAINST: ACCENT,
    comparing.SAME: ACCENT,
}

COLUMNS_OF_NAMES = 36  # of letters, before the name of a setting goes on in a second line
STYLES = ("-", "--", ":", "-.")  # of lines: each colour once in each


def in_lines(name: str) -> str:
    """The name of a setting in lines that leave room for what is drawn; a word longer than a line is cut."""
    lines = wrapped(name, COLUMNS_OF_NAMES)
    return "\n".join(
        line if width(line) <= COLUMNS_OF_NAMES else f"{line[: COLUMNS_OF_NAMES // 2 - 1]}…" for line in lines
    )


def drawn(result: Artifact) -> Any:
    """A figure with one line a setting, the best at the top: its seeds, their mean and its 95 % interval."""
    rows = sorted(settings_of(result), key=lambda row: row["mean"], reverse=True)
    names = [in_lines(row["setting"]) for row in rows]
    more = sum(name.count("\n") for name in names)
    figure, (axes,) = figure_of(1, 1, height=1.2 + 0.32 * len(rows) + 0.12 * more)
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
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.set_xlabel("bits per byte of held-back documents (dots: seeds; bars: 95 %)")
    axes.grid(alpha=0.3, axis="x")
    return figure


def drawn_law(result: Artifact) -> Any:
    """A figure of the cells over their tokens, a colour for each size, with Hoffmann's law; None where none is fitted.

    Filled points were fitted; a hollow one is of a size so large that the law only predicts it.
    """
    found = result.facts.get("fit", {})
    if "hoffmann" not in found:
        return None
    points = scaling.points(cells_of(result))
    figure, (axes,) = figure_of(1, 1, height=4.0)
    tokens = np.geomspace(points[:, 1].min() / 1.2, points[:, 1].max() * 1.2, 60)
    largest = points[:, 0].max()
    sizes: list[list[float]] = []  # those of one shape differ a little where their vocabularies do
    for size in sorted(points[:, 0]):
        if sizes and size <= 1.01 * sizes[-1][0]:
            sizes[-1].append(size)
        else:
            sizes.append([size])
    for number, group in enumerate(sizes):
        of_size = points[(points[:, 0] >= group[0]) & (points[:, 0] <= group[-1])]
        only_predicted = "far" in found and group[-1] >= 0.99 * largest
        colour = f"C{number % 10}"
        law = [scaling.predicted(found["hoffmann"]["at"], group[0], each) for each in tokens]
        axes.plot(tokens, law, STYLES[number // 10 % len(STYLES)], color=colour, linewidth=1)
        name = f"{group[0] / 1e6:.3g} M" + (" (predicted)" if only_predicted else "")
        axes.plot(of_size[:, 1], of_size[:, 2], "o", color=colour, markersize=5, label=name,
                  markerfacecolor="none" if only_predicted else colour)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("tokens")
    axes.set_ylabel("bits per byte of held-back documents")
    axes.grid(alpha=0.3)
    axes.legend(title="parameters that each token is multiplied by", title_fontsize=7, fontsize=7, frameon=False)
    return figure


def drawn_by_layer(result: Artifact) -> Any:
    """A figure with one line a setting (the mean over seeds) over layers, for each figure of `layers.py`."""
    table = pl.read_parquet(result.table("layers"))
    settings = table["setting"].unique(maintain_order=True).to_list()
    means = table.group_by("setting", "layer", maintain_order=True).agg(pl.col(COLUMNS).mean())
    deepest = max(table["layer"].to_list())
    names = [in_lines(setting) for setting in settings]
    across = max(1, min(4, 120 // (12 + max(width(line) for name in names for line in name.split("\n")))))
    down = math.ceil(len(names) / across) * (1 + max(name.count("\n") for name in names))
    figure, axes = figure_of(2, 3, height=4.6 + 0.14 * down)
    for axis, column in zip(axes, COLUMNS, strict=True):
        for number, (setting, name) in enumerate(zip(settings, names, strict=True)):
            part = means.filter(pl.col("setting") == setting).sort("layer")
            style = STYLES[number // 10 % len(STYLES)]
            axis.plot(part["layer"], part[column], f".{style}", color=f"C{number % 10}", linewidth=1, label=name)
        axis.set_title(column.replace("_", " "), fontsize=9)
        axis.set_xlabel("layer", fontsize=8)
        axis.set_xticks(range(1, deepest + 1, max(1, deepest // 6)))
        if column in SHARES:
            axis.set_ylim(-0.02, max(0.1, 1.1 * max(means[column].to_list())))
        axis.grid(alpha=0.3)
    lines, _ = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, fontsize=7, frameon=False, loc="outside lower center", ncols=across)
    return figure
