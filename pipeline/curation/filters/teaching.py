"""Teaching a scorer of pages (`page_scorer.py`) from labels: regularised logistic regression, and how well it does.

The figures are fixed. What is chosen from the labels (means, spreads, the strength of regularisation, coefficients, the
limit) is chosen again within each fold when the scorer is judged, so that no page has a say in its own score.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.curation.filters.page_scorer import FIGURES, Scorer, Weight, figures_of, transformed
from pipeline.errors import UserError

BOUND = 1.5  # spreads; with no bound, two ellipses or a few numbers alone removed good text (docs/results/filters.md)
STRENGTHS = (0.03, 0.1, 0.3, 1.0)  # inverse of the weight of the penalty, as scikit-learn's C
FOLDS, INNER_FOLDS, ROUNDS = 10, 5, 10
FEWEST = 40  # pages of each label
GOOD_REMOVED = 0.012  # share of the good pages that the limit removes
DECIMALS = 4
_GOOD, _POOR = {"1", "true", "good"}, {"0", "false", "poor"}


def read_labels(path: Path) -> pl.DataFrame:
    """`text` and `good` (bool) of a file of labelled pages: JSON lines (also .gz), CSV or Parquet.

    It has `text` and `label`: 1, true or good, or else 0, false or poor. Raises UserError.
    """
    try:
        frame = _read(path)
    except (OSError, pl.exceptions.PolarsError, ValueError) as error:
        raise UserError(
            f"The labels {path} cannot be read ({type(error).__name__}): use JSON lines, CSV or Parquet."
        ) from error
    missing = [name for name in ("text", "label") if name not in frame.columns]
    if missing:
        raise UserError(
            f"The labels {path} have no `{missing[0]}`: every page needs `text` and `label` (1 good, 0 poor)."
        )
    labels = frame["label"].cast(pl.String).str.to_lowercase()
    unknown = labels.filter(~labels.is_in([*_GOOD, *_POOR]) | labels.is_null())
    if len(unknown):
        raise UserError(f"{len(unknown)} labels of {path} are neither 1 (good) nor 0 (poor): correct them.")
    good = labels.is_in(list(_GOOD))
    if min(int(good.sum()), int((~good).sum())) < FEWEST:
        raise UserError(
            f"{path} has {good.sum()} good and {(~good).sum()} poor pages: a scorer needs {FEWEST} of each, better 150."
        )
    return pl.DataFrame({"text": frame["text"].cast(pl.String), "good": good})


def _read(path: Path) -> pl.DataFrame:
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return pl.read_parquet(path, columns=["text", "label"])
    if name.endswith(".csv"):
        return pl.read_csv(path, infer_schema=False)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = [json.loads(line) for line in content.splitlines() if line.strip()]
    return pl.DataFrame([{key: str(row[key]) for key in ("text", "label") if key in row} for row in rows])


def teach(labels: pl.DataFrame, about: dict[str, Any], good_removed: float = GOOD_REMOVED) -> Scorer:
    """A scorer from `text` and `good`. about: where the labels come from; it stands in `taught`.

    good_removed: the share of the good pages that the limit may remove.
    """
    pages, good = transformed(figures_of(labels["text"])), labels["good"].to_numpy()
    strength = _best_strength(pages, good, np.random.default_rng(0))
    mean, spread = _scale(pages)
    constant, weights = fit(_bounded(pages, mean, spread), good, strength)
    odds = _bounded(pages, mean, spread) @ weights + constant
    taught = {
        **about,
        "good": int(good.sum()),
        "poor": int((~good).sum()),
        "by": "logistic regression with a quadratic penalty, after Cox 1958 and Hoerl and Kennard 1970",
        "strength": strength,
        "cross_validated": cross_validated(pages, good, good_removed),
    }
    return Scorer(
        figures={
            name: Weight(
                **{key: round(float(value), DECIMALS) for key, value in zip(Weight.model_fields, values, strict=True)}
            )
            for name, *values in zip(FIGURES, mean, spread, weights, strict=True)
        },
        bound=BOUND,
        constant=round(float(constant), DECIMALS),
        min_score=round(float(_limit(odds, good, good_removed)), 2),
        taught=taught,
    )


def fit(pages: np.ndarray, good: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
    """The constant and the coefficients that minimise `strength` * loss + |coefficients|^2 / 2, by Newton's method.

    pages: (pages, figures), standardised. The constant is not penalised.
    """
    given = np.column_stack([np.ones(len(pages)), pages])
    penalty = np.diag([0.0, *np.ones(pages.shape[1])])
    weights = np.zeros(given.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-given @ weights))
        slope = strength * given.T @ (chance - good) + penalty @ weights
        curve = strength * (given * (chance * (1 - chance))[:, None]).T @ given + penalty
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return float(weights[0]), weights[1:]


def cross_validated(pages: np.ndarray, good: np.ndarray, good_removed: float, rounds: int = ROUNDS) -> dict[str, Any]:
    """How a scorer orders and removes pages that it was not taught on: means over rounds of cross-validation.

    `auc`, its spread over rounds, and the shares of poor and of good pages that are removed.
    """
    found: list[tuple[float, float, float]] = []
    for number in range(rounds):
        draw = np.random.default_rng(number)
        odds, removed = np.zeros(len(good)), np.zeros(len(good), bool)
        for taught, asked in _folds(good, FOLDS, draw):
            strength = _best_strength(pages[taught], good[taught], draw)
            mean, spread = _scale(pages[taught])
            known = _bounded(pages[taught], mean, spread)
            constant, weights = fit(known, good[taught], strength)
            odds[asked] = _bounded(pages[asked], mean, spread) @ weights + constant
            limit = _limit(known @ weights + constant, good[taught], good_removed)
            removed[asked] = 1 / (1 + np.exp(-odds[asked])) < limit
        found.append((area_under_curve(odds, good), float(removed[~good].mean()), float(removed[good].mean())))
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
    return {
        "rounds": rounds,
        "folds": FOLDS,
        "auc": round(float(mean[0]), 3),
        "auc_spread": round(float(spread[0]), 3),
        "poor_removed": round(float(mean[1]), 3),
        "good_removed": round(float(mean[2]), 3),
    }


def area_under_curve(scores: np.ndarray, good: np.ndarray) -> float:
    """The chance that a good page has a higher score than a poor one; ties count half (Hanley and McNeil 1982)."""
    ranks = pl.Series(scores).rank("average").to_numpy()
    many, few = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - many * (many + 1) / 2) / (many * few))


def _best_strength(pages: np.ndarray, good: np.ndarray, draw: np.random.Generator) -> float:
    losses = np.zeros(len(STRENGTHS))
    for taught, asked in _folds(good, INNER_FOLDS, draw):
        mean, spread = _scale(pages[taught])
        for place, strength in enumerate(STRENGTHS):
            constant, weights = fit(_bounded(pages[taught], mean, spread), good[taught], strength)
            odds = _bounded(pages[asked], mean, spread) @ weights + constant
            losses[place] += np.logaddexp(0, np.where(good[asked], -odds, odds)).sum()
    return STRENGTHS[int(losses.argmin())]


def _folds(good: np.ndarray, count: int, draw: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows taught, rows asked) of each fold, with equal shares of good pages."""
    fold = np.zeros(len(good), int)
    for label in (True, False):
        rows = draw.permutation(np.flatnonzero(good == label))
        fold[rows] = np.arange(len(rows)) % count
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _scale(pages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = pages.std(axis=0)
    return pages.mean(axis=0), np.where(spread > 1e-4, spread, 1.0)  # a figure that does not vary decides nothing


def _bounded(pages: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.clip((pages - mean) / spread, -BOUND, BOUND)


def _limit(odds: np.ndarray, good: np.ndarray, good_removed: float) -> float:
    """The score below which the share `good_removed` of the good pages lies."""
    return float(1 / (1 + np.exp(-np.quantile(odds[good], good_removed))))
