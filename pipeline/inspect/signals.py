"""Histograms of a stage's signals, for kept and removed documents, with a line at each limit in force."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.curation.rules import Limit, in_force
from pipeline.documents.document import DECISION_SCHEMA
from pipeline.documents.reasons import Reason
from pipeline.inspect.curves import ACCENT, KEPT, REMOVED, figure_of
from pipeline.settings import StageSettings

MOST_HISTOGRAMS = 30  # except that figures limited by a rule come first and are all drawn
FAR = 4  # a limit above this multiple of the largest figure goes into the title: a line would squeeze the bars
BINS = 30
TITLE = 34  # characters of a line of a title
NOT_SIGNALS = {*DECISION_SCHEMA, "source", "text", "declared_lang"}  # other columns of the table


@dataclass
class Histogram:
    """A figure of the documents, and the limits that rules set on it."""

    name: str
    figure: pl.Expr
    lines: list[tuple[float, str]] = field(default_factory=list)  # (limit, which documents it applies to; "": all)


def histograms(frame: pl.DataFrame, rules: Sequence[Reason], settings: StageSettings) -> list[Histogram]:
    """The histograms of a decision table: figures limited by a rule in force, then other numeric columns.

    Columns that a limited figure is computed from are not drawn: a limit per 1,000 words does not apply to the count.
    """
    limited: dict[str, Histogram] = {}
    parts: set[str] = set()
    for limit, words in _limits(rules, settings):
        columns = set(limit.measured().meta.root_names())
        if columns <= set(frame.columns):
            drawn = limited.setdefault(limit.signal, Histogram(limit.signal, limit.measured()))
            line = (float(limit.value(settings)), words)
            if line not in drawn.lines:
                drawn.lines.append(line)
            parts |= columns
    others = [
        Histogram(name, pl.col(name))
        for name, dtype in frame.schema.items()
        if name not in NOT_SIGNALS | parts and dtype.is_numeric() and frame[name].drop_nulls().n_unique() > 1
    ]
    if not limited and not others and "score" in frame.columns and frame["score"].drop_nulls().n_unique() > 1:
        others = [Histogram("score", pl.col("score"))]
    return [*limited.values(), *others[: max(0, MOST_HISTOGRAMS - len(limited))]]


def _limits(rules: Sequence[Reason], settings: StageSettings) -> Iterator[tuple[Limit, str]]:
    """The limits in force, each with its scope in words if the rule has other limits for other documents."""
    for rule in in_force(rules, settings):
        for limit in rule.limits:
            twins = [other for other in rule.limits if (other.signal, other.removes) == (limit.signal, limit.removes)]
            yield limit, "" if limit.scope is None or limit is twins[0] else limit.scope.words


def drawing(frame: pl.DataFrame, rules: Sequence[Reason], settings: StageSettings) -> Any:
    """All histograms of a decision table (with `keep`) in one figure; None if there is nothing to draw."""
    drawn = [
        (histogram, values)
        for histogram in histograms(frame, rules, settings)
        if (values := values_of(frame, histogram)).height
    ]
    if not drawn:
        return None
    across = min(3, len(drawn))
    figure, axes = figure_of(math.ceil(len(drawn) / across), across)
    for axis, (histogram, values) in zip(axes, drawn, strict=False):
        _draw(axis, histogram, values)
    for axis in axes[len(drawn) :]:
        axis.set_visible(False)
    axes[0].legend(frameon=False, fontsize=6)
    return figure


def values_of(frame: pl.DataFrame, histogram: Histogram) -> pl.DataFrame:
    """`value` (float64, finite) and `keep` of the documents that have the figure."""
    values = frame.select(histogram.figure.cast(pl.Float64).alias("value"), "keep").drop_nulls()
    return values.filter(pl.col("value").is_finite())


def _draw(axis: Any, histogram: Histogram, values: pl.DataFrame) -> None:
    low, high = values["value"].quantile(0.005) or 0.0, values["value"].quantile(0.995) or 0.0
    bins = [low + (high - low) * step / BINS for step in range(BINS + 1)] if high > low else 10
    parts = [values.filter(keep)["value"].to_numpy() for keep in (pl.col("keep"), ~pl.col("keep"))]
    axis.hist(parts, bins=bins, stacked=True, color=[KEPT, REMOVED], label=["kept", "removed"])
    outside = []
    for limit, words in histogram.lines:
        if limit > FAR * high >= FAR * low:
            outside.append(f"{words} {limit:,g}".strip())
            continue
        axis.axvline(limit, color=ACCENT, linestyle="--", linewidth=1)
        if words:
            place = axis.get_xaxis_transform()
            axis.text(limit, 0.97, words, transform=place, rotation=90, fontsize=5, ha="right", va="top")
    title = f"{histogram.name} (limit {', '.join(outside)})" if outside else histogram.name
    axis.set_title("\n".join(textwrap.wrap(title, TITLE)), fontsize=8 if len(title) <= TITLE else 6)
    axis.tick_params(labelsize=6)
