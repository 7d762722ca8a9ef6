"""Pictures of what a model learned of the made-up village: facts over tokens, and which facts it knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from pipeline.evaluation.measures.village import TABLE
from pipeline.inspect.curves import ACCENT, KEPT, REMOVED, figure_of
from pipeline.store.artifact import Artifact
from pipeline.village.world import RELATIONS

COLOURS = {"facts_ko": KEPT, "facts_en": REMOVED}
NAMES = {"ko": "Korean", "en": "English"}


def facts_over_tokens(model: Artifact) -> Any:
    """The share of facts that the network knew at each validation, by language; None if it was not asked."""
    if "log.parquet" not in model.manifest["files"]:
        return None
    log = pl.read_parquet(model.file("log.parquet"))
    columns = [name for name in COLOURS if name in log.columns]
    if not columns:
        return None
    figure, (axes,) = figure_of(1, 1)
    for name in columns:
        asked = log.drop_nulls(name)
        label = NAMES[name.removeprefix("facts_")]
        axes.plot(asked["tokens"], asked[name] * 100, color=COLOURS[name], marker="o", markersize=3, label=label)
    axes.set_xlabel("tokens")
    axes.set_ylabel("facts known (%)")
    axes.set_ylim(-2, 102)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def facts_known(report: Artifact) -> Any:
    """Which facts a model knows: a field for each person and relation, by language; None if it was not asked.

    A field is dark if every wording of the question was answered rightly, empty if none was.
    """
    if f"{TABLE}.parquet" not in report.manifest["files"]:
        return None
    asked = pl.read_parquet(report.file(f"{TABLE}.parquet"))
    languages = [lang for lang in NAMES if lang in asked["lang"]]
    people = sorted(asked["person"].unique())
    figure, axes = figure_of(len(languages), 1, height=1.9 * len(languages) + 0.5)
    for one, lang in zip(axes, languages, strict=True):
        shares = asked.filter(lang=lang).group_by("person", "relation").agg(pl.col("right").mean())
        known = {(person, relation): share for person, relation, share in shares.iter_rows()}
        field = np.array([[known.get((person, relation), np.nan) for person in people] for relation in RELATIONS])
        one.imshow(field, cmap=_colours(), vmin=0, vmax=1, aspect="auto")
        one.set_yticks(range(len(RELATIONS)), list(RELATIONS), fontsize=6)
        one.set_xticks(range(len(people)), people, rotation=90, fontsize=5)
        one.set_title(f"{NAMES[lang]}: {np.nanmean(field):.0%} of the facts known", fontsize=8)
    return figure


def _colours() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("known", ["#f4f4f4", ACCENT])
