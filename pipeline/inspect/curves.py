"""Training curves, drawn with matplotlib's Agg canvas: no window, no global state.

Dagster's asset pages and MLflow's runs show the same picture.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import polars as pl

from pipeline.store.artifact import Artifact

KEPT, REMOVED, ACCENT = "#2a9d8f", "#e76f51", "#264653"
VALIDATION = ("validation_loss", "validation")


def loss_curve(artifact: Artifact) -> Any:
    """Training and validation loss over tokens (or steps), as a figure; None if the model has no log."""
    if "log.parquet" not in artifact.manifest["files"]:
        return None
    log = pl.read_parquet(artifact.file("log.parquet"))
    x_axis = "tokens" if "tokens" in log.columns else "step"
    figure, axes = figure_of(1, 1)
    loss = log.drop_nulls("loss")
    axes[0].plot(loss[x_axis], loss["loss"], color=ACCENT, linewidth=1.2, label="training")
    for name in VALIDATION:
        if name in log.columns:
            validation = log.drop_nulls(name)
            axes[0].plot(
                validation[x_axis], validation[name], color=REMOVED, marker="o", markersize=3, label="validation"
            )
            break
    axes[0].set_xlabel(x_axis)
    axes[0].set_ylabel("loss (nats per token)")
    axes[0].grid(alpha=0.3)
    axes[0].legend(frameon=False)
    return figure


# With letters that DejaVu has not, of the usual systems. Of Noto's collection, only the first face is known by name.
HANGUL = ("NanumGothic", "NanumBarunGothic", "Noto Sans KR", "Noto Sans CJK KR", "Noto Sans CJK JP", "Malgun Gothic",
          "Apple SD Gothic Neo", "AppleGothic", "UnDotum")  # fmt: skip


@cache
def fonts() -> list[str]:
    """DejaVu, which every installation of matplotlib has, and the fonts with Hangul that this machine has."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in HANGUL if name in installed)]


def figure_of(down: int, across: int, height: float | None = None) -> tuple[Any, list[Any]]:
    """A figure with `down` rows and `across` columns of axes, and the axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    class Readable(Figure):
        """A figure whose words may be Korean."""

        lacks_letters = False  # whether no font has some of its letters, once it is drawn

        def draw(self, renderer: Any) -> None:
            for text in self.findobj(Text):
                text.set_fontfamily(fonts())
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                super().draw(renderer)
            self.lacks_letters |= any("missing from font" in str(one.message) for one in said)

    figure = Readable(figsize=(7.5, height or (3.2 if down * across == 1 else 1.7 * down + 0.4)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False)
    return figure, list(axes.flat)
