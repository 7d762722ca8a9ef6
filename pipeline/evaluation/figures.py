"""The figures of a report: all of them by dotted name, the headlines, and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from pipeline.evaluation.measure import Headline, Measure
from pipeline.flattening import flattened

ASIDE = "without_covered"  # a group in which figures stand again, for fewer items


def figures(report: Any) -> Iterator[tuple[str, float]]:
    """All numbers of a report as (dotted name, number), sorted by key; `name[0]` is the first item of a list."""
    for name, value in flattened(report, lists=True):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)


class HeadlineFigure(NamedTuple):
    """A headline that a report has a value for."""

    name: str  # the figure's dotted name
    short: str
    words: str
    value: float
    headline: Headline


def headline_figures(report: Mapping[str, Any], measures: Iterable[Measure[Any]]) -> list[HeadlineFigure]:
    """The headlines of `measures` that the report has values for: first overall ones, then those by key (language)."""
    known = dict(figures(report))
    pairs = [(measure, headline) for measure in measures for headline in measure.headlines]
    pairs.sort(key=lambda pair: "*" in pair[1].path)
    return [figure for measure, headline in pairs for figure in _matching(known, measure.name, headline)]


def _matching(known: dict[str, float], group: str, headline: Headline) -> Iterator[HeadlineFigure]:
    start, star, end = f"{group}.{headline.path}".partition("*")
    for name, value in known.items():
        key = name[len(start) : len(name) - len(end)]
        if name != f"{start}{key}{end}" or bool(key) != bool(star) or ASIDE in key.split("."):
            continue
        short = headline.short.replace("*", key)
        count = known.get(f"{name.rpartition('.')[0]}.count", 0)
        words = headline.words.replace("{key}", key).replace("{count}", f"{count:.0f}")
        yield HeadlineFigure(name, short, words or short.replace("_", " "), value, headline)


def comparison(report: Mapping[str, Any], before: Mapping[str, Any] | None) -> pl.DataFrame:
    """figure, value, before, change: one row per figure, sorted; the last two are null for a figure new in `report`."""
    earlier = dict(figures(before or {}))
    return pl.DataFrame(
        [(name, value, earlier.get(name)) for name, value in figures(report)],
        schema={"figure": pl.String, "value": pl.Float64, "before": pl.Float64},
        orient="row",
    ).with_columns(change=pl.col("value") - pl.col("before"))


def headline_lines(rows: pl.DataFrame, headlines: Iterable[HeadlineFigure]) -> str:
    """The headline figures of a comparison, one line each, for the terminal."""
    known = {figure.name: figure for figure in headlines if not figure.headline.card_only}
    lines = []
    for name, value, earlier, change in rows.iter_rows():
        if name not in known:
            continue
        line = f"  {known[name].short:20} {value:10.4f}"
        if earlier is not None:
            line += f"   before {earlier:10.4f}   change {change:+.4f}"
            if change:
                line += " (better)" if (change > 0) == known[name].headline.higher_is_better else " (worse)"
        lines.append(line)
    return "\n".join(lines)
