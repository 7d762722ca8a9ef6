"""Drawings of the report: matplotlib's SVG, with the text left as text, and the same bytes for the same figures.

Only numbers and English words are drawn. Names of sources and languages, which may be in any script, are HTML around
the drawing, so that no font has to be at hand where the page is written.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from pipeline.inspect.curves import ACCENT, KEPT, REMOVED

SMALL, LARGE = (3.6, 2.0), (5.2, 2.9)  # inches; the page scales them to the width that there is
BINS = 32
MANY = 200  # documents, of which 0.5 % is one
COLOURS = (ACCENT, REMOVED, KEPT, "#e9c46a", "#8d6a9f", "#577590")
SQUEEZED = 40  # times as tall, above which a part beside another cannot be seen
POINTS = 400  # of a curve; more cannot be seen
SETTINGS: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "slm", "font.size": 9, "axes.spines.top": False,
            "axes.spines.right": False, "axes.edgecolor": "#8a979b", "xtick.color": "#5c6b70",
            "ytick.color": "#5c6b70", "axes.labelcolor": "#5c6b70"}  # fmt: skip


def svg(size: tuple[float, float], draw: Any, label: str) -> str:
    """What `draw(axes)` draws, as an SVG element. label: what it shows, for those who do not see it."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    content = written.getvalue()
    content = content[content.index("<svg") :].strip()
    content = re.sub(r"<metadata>.*?</metadata>", "", content, flags=re.DOTALL)
    content = re.sub(r"<!--.*?-->", "", content, flags=re.DOTALL)
    content = re.sub(r'<g id="[a-zA-Z]+_\d+"', "<g", content)  # the same in every drawing, and used by none
    for side in ("width", "height"):  # as wide as the place that there is
        content = re.sub(rf'(<svg[^>]*?) {side}="[^"]*"', r"\1", content, count=1)
    return content.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def histogram(parts: Mapping[str, pl.Series], limits: Sequence[float], label: str, logarithmic: bool = False) -> str:
    """Bars of the parts (kept, removed), one before the other, and a line at each limit.

    Of many documents the outermost 0.5 % on each side are left out, as far as no limit is there. Where one part could
    not be seen beside the other, the heights are logarithmic.
    """
    import numpy as np

    together = np.concatenate([part.to_numpy() for part in parts.values()]) if parts else np.zeros(0)
    outer = 0.005 if len(together) >= MANY else 0.0
    low, high = (float(value) for value in np.quantile(together, (outer, 1 - outer))) if len(together) else (0.0, 1.0)
    near = [limit for limit in limits if low - 2 * (high - low) <= limit <= high + 2 * (high - low)]
    low, high = min([low, *near]), max([high, *near])
    logarithmic = logarithmic and low >= 0
    if high <= low:
        high = low + 1
    edges = np.geomspace(max(low, 1), max(high, 2), BINS + 1) if logarithmic else np.linspace(low, high, BINS + 1)
    colours = dict(zip(parts, (KEPT, REMOVED, *COLOURS), strict=False))

    def draw(axes: Any) -> None:
        tallest = []
        for name, part in parts.items():
            counts, _, _ = axes.hist(part.to_numpy(), bins=edges, color=colours[name], alpha=0.85)
            tallest.append(max(counts, default=0))
        if min(tallest) and max(tallest) > SQUEEZED * min(tallest):
            axes.set_yscale("symlog", linthresh=1)
            axes.yaxis.set_major_formatter(lambda value, at: thousands(value))
        else:
            axes.locator_params(axis="y", nbins=4)
        for limit in near:
            axes.axvline(limit, color=ACCENT, linestyle="--", linewidth=1.4)
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, at: f"{value:,.0f}")
            axes.xaxis.set_minor_formatter(lambda value, at: "")
        axes.set_ylabel("documents")

    return svg(SMALL, draw, label)


def curves(lines: Sequence[tuple[str, pl.Series, pl.Series, bool]], across: str, up: str, label: str) -> str:
    """Lines over a common axis. lines: (name, x, y, whether it has a mark at each point), in the order of COLOURS."""

    def draw(axes: Any) -> None:
        for number, (name, x, y, marked) in enumerate(lines):
            step = max(1, len(x) // POINTS)
            chosen = [*range(0, len(x), step), *([len(x) - 1] if len(x) and (len(x) - 1) % step else [])]
            axes.plot(x.gather(chosen), y.gather(chosen), color=COLOURS[number % len(COLOURS)], linewidth=1.4,
                      marker="o" if marked else None, markersize=3, label=name)  # fmt: skip
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_formatter(lambda value, at: thousands(value))
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=8)

    return svg(LARGE, draw, label)


def thousands(value: float) -> str:
    """A count as an axis says it: 500 k, 2 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
