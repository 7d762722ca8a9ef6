"""The result of an experiment, an artifact: its tables, and what may be concluded, in lines for a terminal.

cells.parquet       one row a cell: cell, setting, seed, bits_per_byte, parameters, tokens, ..., model, keys
settings.parquet    one row a setting: means over seeds with intervals, and differences (`comparing.py`)
sources.parquet     one row a cell and source: bits_per_byte, bytes
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from pipeline.context import Log
from pipeline.experiments import comparing, mixtures, scaling
from pipeline.experiments.changes import AS_IT_IS
from pipeline.experiments.experiment_settings import Fit, asset_of
from pipeline.experiments.scores import LAYERS, OF_THE_MODEL, scored_on
from pipeline.printing import aligned
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table

# 2: `scored_on`; the next mixture is drawn closer to what was tried. 3: models of two names are compared once
VERSION = "3"
NEEDS_SEEDS = "one seed says nothing of chance: add `pretraining.seed: [0, 1, 2]` to the grid"


@dataclass(frozen=True)
class Scored:
    """A cell whose model was trained and scored."""

    setting: str
    seed: int | None
    keys: dict[str, Any]  # what it changes in the recipe
    flops: float  # of its training
    shares: dict[str, float]  # of languages in what it draws
    weights: dict[str, float]  # that it gives languages
    scores: Artifact

    @property
    def cell(self) -> str:
        """Its name among all cells."""
        return self.setting if self.seed is None else f"{self.setting}, seed {self.seed}"


@dataclass(frozen=True)
class Asked:
    """What an experiment asks of its cells."""

    name: str
    question: str = ""
    against: str = ""  # the setting that the others are compared with; "": the first
    fit: Fit = "nothing"


def make(store: Store, asked: Asked, cells: Sequence[Scored], log: Log) -> Artifact:
    """The artifact of an experiment."""
    against = asked.against or cells[0].setting

    def build(draft: Draft) -> None:
        rows = [_row(cell) for cell in cells]
        settings = comparing.compared(figures_of(rows), against)
        write_table(pl.DataFrame(rows, infer_schema_length=None), draft.path("cells.parquet"))
        write_table(pl.DataFrame(settings, infer_schema_length=None), draft.path("settings.parquet"))
        languages = _by("language", "lang", cells)
        write_table(pl.DataFrame(_by("source", "source", cells)), draft.path("sources.parquet"))
        write_table(pl.DataFrame(languages), draft.path("languages.parquet"))
        write_table(pl.concat(_by_layer(cells)), draft.path("layers.parquet"))
        draft.counts = {"cells": len(cells), "settings": len(settings)}
        draft.facts = {
            "question": asked.question,
            "against": against,
            "best": comparing.best(settings),
            "scored_on": {name: cells[0].scores.facts["all"][name] for name in ("documents", "bytes")},
            "decided": [row["setting"] for row in settings if row["verdict"] in (comparing.BETTER, comparing.WORSE)],
        }
        if asked.fit == "scaling":
            draft.facts |= {"fitted": asked.fit, "fit": scaling.fit(rows)}
        elif asked.fit == "mixtures":
            draft.facts |= {"fitted": asked.fit, "fit": mixtures.fit(rows, languages)}

    return store.make(
        asset_of(asked.name),
        code_version=VERSION,
        settings={
            "name": asked.name,
            "question": asked.question,
            "against": against,
            "fit": asked.fit,
            "cells": [[cell.setting, cell.seed, cell.keys, cell.flops, cell.shares] for cell in cells],
        },
        inputs={f"{number:04d}": cell.scores for number, cell in enumerate(cells)},
        build=build,
        log=log,
    )


def _row(cell: Scored) -> dict[str, Any]:
    facts = cell.scores.facts
    return {
        "cell": cell.cell,
        "setting": cell.setting,
        "seed": cell.seed,
        "bits_per_byte": facts["all"]["bits_per_byte"],
        **{name: facts.get(name) for name in OF_THE_MODEL},
        "flops": cell.flops,
        "model": facts["model"],
        "keys": json.dumps(cell.keys, sort_keys=True, ensure_ascii=False),
        "shares": json.dumps(cell.shares, sort_keys=True, ensure_ascii=False),
        "weights": json.dumps(cell.weights, sort_keys=True, ensure_ascii=False),
    }


def _by(kind: str, column: str, cells: Sequence[Scored]) -> list[dict[str, Any]]:
    """One row a cell and source, or a cell and language (kind), under the name `column`."""
    return [
        {
            "cell": cell.cell, "setting": cell.setting, "seed": cell.seed, column: name,
            "bits_per_byte": found["bits_per_byte"], "bytes": found["bytes"],
        }
        for cell in cells
        for name, found in cell.scores.facts[f"by_{kind}"].items()
        if "bits_per_byte" in found
    ]  # fmt: skip


def _by_layer(cells: Sequence[Scored]) -> list[pl.DataFrame]:
    return [
        pl.read_parquet(cell.scores.table(LAYERS)).select(
            pl.lit(cell.cell).alias("cell"),
            pl.lit(cell.setting).alias("setting"),
            pl.lit(cell.seed, dtype=pl.Int64).alias("seed"),
            pl.all(),
        )
        for cell in cells
    ]


def figures_of(rows: Sequence[dict[str, Any]]) -> dict[str, dict[Any, float]]:
    """Setting -> seed -> bits per byte, of rows of `cells.parquet`."""
    found: dict[str, dict[Any, float]] = {}
    for row in rows:
        found.setdefault(row["setting"], {})[row["seed"]] = float(row["bits_per_byte"])
    return found


def settings_of(result: Artifact) -> list[dict[str, Any]]:
    """The rows of `settings.parquet`."""
    return pl.read_parquet(result.table("settings")).to_dicts()


def best_first(result: Artifact) -> list[dict[str, Any]]:
    """The same, the setting with the fewest bits per byte first."""
    return sorted(settings_of(result), key=lambda row: row["mean"])


def cells_of(result: Artifact) -> list[dict[str, Any]]:
    """The rows of `cells.parquet`."""
    return pl.read_parquet(result.table("cells")).to_dicts()


def lines(result: Artifact) -> list[str]:
    """The result in words: a table of all settings, the best first, and what may be concluded."""
    rows = best_first(result)
    facts = result.facts
    head = ["setting", "seeds", "bits per byte", "95 %", f"against {facts['against']}", "95 %", "p (Holm)", ""]
    said = [facts["question"]] if facts["question"] else []
    said.append(aligned(head, [in_cells(row) for row in rows]))
    said += same_models(result)
    if all(row["low"] is None for row in rows):
        said.append(NEEDS_SEEDS)
    elif len(rows) > 1 and not facts["decided"]:
        said.append(f"undecided: no setting differs from `{facts['against']}` more than seeds do")
    if "scored_on" in facts:  # not in results of an older version
        said.append(scored_on(facts["scored_on"]["documents"], facts["scored_on"]["bytes"]))
    if "fit" in facts:
        said += scaling.lines(facts["fit"]) if facts["fitted"] == "scaling" else mixtures.lines(facts["fit"])
    return said


def same_models(result: Artifact) -> Iterator[str]:
    """A line for each setting that is another one under a second name, in this recipe."""
    models: dict[str, dict[Any, str]] = {}
    for cell in cells_of(result):
        models.setdefault(cell["setting"], {})[cell["seed"]] = cell["model"]
    against = result.facts["against"]
    for name, first in comparing.copies_of({against: models[against], **models}).items():
        yield f"`{name}` and `{first}` are the same models in this recipe, compared once"


def in_short(result: Artifact) -> str:
    """How many models were compared, and the best setting, with how much better it is and whether that is decided."""
    rows = best_first(result)
    best, models = rows[0], sum(row["seeds"] for row in rows)
    name = best["setting"] or AS_IT_IS
    text = f"{len(rows)} settings, {models} models; fewest bits per byte: {name}, {best['mean']:.4f}"
    if best["difference"] is None:
        return text
    return f"{text}, {best['difference']:+.1%} against {result.facts['against']} ({best['verdict'] or 'one seed'})"


def means(result: Artifact) -> dict[str, float]:
    """The mean bits per byte of each setting, the best first."""
    return {row["setting"] or AS_IT_IS: row["mean"] for row in best_first(result)}


def in_cells(row: dict[str, Any]) -> list[str]:
    """A row of `settings.parquet` as text."""
    return [
        row["setting"] or AS_IT_IS,
        str(row["seeds"]),
        f"{row['mean']:.4f}",
        _range(row["low"], row["high"], "{:.4f}"),
        "" if row["difference"] is None else f"{row['difference']:+.2%}",
        _range(row["difference_low"], row["difference_high"], "{:+.2%}"),
        "" if row["p_holm"] is None else f"{row['p_holm']:.2g}",
        row["verdict"],
    ]


def _range(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"{form.format(low)} to {form.format(high)}"
