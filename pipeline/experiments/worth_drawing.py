"""The picture of `worth`: parts down, measured texts across, each field the effect; decided ones stand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.experiments import comparing
from pipeline.experiments.worth_table import DECIDED
from pipeline.inspect.curves import figure_of

FULL_COLOUR = 0.5  # the effect from which on a field is as dark as it gets


def drawn(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A figure of rows of `worth.parquet`: blue where less of a part predicts worse, red where better."""
    parts, targets = (list(dict.fromkeys(row[name] for row in rows)) for name in ("part", "target"))
    figure, (axes,) = figure_of(1, 1, height=1.4 + 0.36 * len(parts))
    # One source that is nearly all of the text would otherwise leave the others without colour.
    highest = min(max((abs(row["difference"]) for row in rows), default=0.0) or 1.0, FULL_COLOUR)
    found = {(row["part"], row["target"]): row for row in rows}
    values = [[found[part, target]["difference"] for target in targets] for part in parts]
    axes.imshow(values, cmap="RdBu", vmin=-highest, vmax=highest, aspect="auto")
    for down, part in enumerate(parts):
        for across, target in enumerate(targets):
            row = found[part, target]
            decided = row["verdict"] in DECIDED
            on_dark = abs(row["difference"]) > 0.6 * highest
            mark = " ?" if row["verdict"] == comparing.UNDECIDED else ""
            colour = ("white" if on_dark else "black") if decided else "#8d99ae"
            axes.text(
                across, down, f"{row['difference']:+.1%}{mark}", ha="center", va="center",
                fontsize=8, fontweight="bold" if decided else "normal", color=colour,
            )  # fmt: skip
    axes.set_yticks(range(len(parts)), parts, fontsize=8)
    axes.set_xticks(range(len(targets)), targets, fontsize=8, rotation=20, ha="right")
    axes.set_title("change of bits per byte (bold: decided at p < 0.05 after Holm; ?: undecided)", fontsize=9)
    return figure
