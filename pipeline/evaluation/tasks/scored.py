"""From scored choices to figures: right or not by four rules, bits per byte of the right answer, bootstrap intervals.

A choice is taken by its log-likelihood as it is, by character, by token, or by byte (`RULES`; the first two are `acc`
and `acc_norm` of lm-evaluation-harness). A figure that does not differ from guessing is called that, and of two models
none is called better where the interval of their difference, item by item, contains 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline.evaluation.choice_scoring import ChoiceScore
from pipeline.evaluation.tasks.forms import Question

RULES = ("plain", "by_character", "by_token", "by_byte")
DRAWS = 1000  # resamples of an interval (Efron & Tibshirani 1993, chapter 13: 1,000 for the ends of 95 %)
COVERED = (2.5, 97.5)

PLACE = ("task", "shots", "labels", "item", "prompt", "covered")
# The columns of tasks.parquet, a row a question.
ITEM: dict[str, Any] = {
    "task": pl.String, "shots": pl.Int64, "labels": pl.String, "item": pl.Int64,
    "prompt": pl.String, "choices": pl.List(pl.String), "answer": pl.Int64,
    "log_likelihoods": pl.List(pl.Float64), "tokens": pl.List(pl.Int64), "greedy": pl.Boolean,
    "chosen": pl.Int64, "right": pl.Boolean, "right_by_character": pl.Boolean, "right_by_token": pl.Boolean,
    "right_by_byte": pl.Boolean, "bits_per_byte": pl.Float64, "margin": pl.Float64,
    "covered": pl.Boolean,  # whether the model's training text holds it; null: not known
}  # fmt: skip


def scored(questions: Sequence[Question], scores: Sequence[Sequence[ChoiceScore]]) -> pl.DataFrame:
    """A row for each question, in the columns of ITEM but those that say where it stands (`PLACE`).

    bits_per_byte: of the right answer. margin: its log-likelihood (nats) less the best wrong one's.
    """
    rows = []
    for question, found in zip(questions, scores, strict=True):
        plain = np.array([score.log_likelihood for score in found])
        sizes = {
            "plain": np.ones(len(found)),
            "by_character": np.array([len(choice) for choice in question.choices]),
            "by_token": np.array([score.tokens for score in found]),
            "by_byte": np.array([len(choice.encode()) for choice in question.choices]),
        }
        chosen = {rule: int(np.argmax(plain / sizes[rule])) for rule in RULES}
        right = question.answer
        size = max(sizes["by_byte"][right], 1)
        rows.append(
            {
                "choices": list(question.choices), "answer": right,
                "log_likelihoods": plain.tolist(), "tokens": [score.tokens for score in found],
                "greedy": found[right].greedy, "chosen": chosen["plain"],
                "right": chosen["plain"] == right,
                **{f"right_{rule}": chosen[rule] == right for rule in RULES[1:]},
                "bits_per_byte": float(-plain[right] / np.log(2) / size),
                "margin": float(plain[right] - np.delete(plain, right).max()),
            }
        )  # fmt: skip
    kept = {name: kind for name, kind in ITEM.items() if name not in PLACE}
    return pl.DataFrame(rows, schema=kept, orient="row")


def figures(items: pl.DataFrame, seed: int) -> dict[str, Any]:
    """The figures of one task: shares (0-1) of right answers by rule, bits per byte, margin, each with its interval.

    `at_chance` says whether the interval of the plain share contains `chance`: the share of guessing evenly or, if that
    is more, of guessing with this model's habits, whatever the question (Cohen 1960, expected agreement). One that
    answers yes to everything is right as often as yes is.
    """
    even = float((1 / items["choices"].list.len()).mean())  # type: ignore[arg-type]
    chance = max(even, _by_habit(items))
    found: dict[str, Any] = {"items": items.height, "chance": round(chance, 4)}
    for rule in RULES:
        column = "right" if rule == "plain" else f"right_{rule}"
        found[rule] = with_interval(items[column].cast(pl.Float64).to_numpy(), seed)
    for name in ("bits_per_byte", "margin"):
        found[name] = with_interval(items[name].to_numpy(), seed)
    low, high = found["plain"]["low"], found["plain"]["high"]
    found["at_chance"] = low <= chance and even <= high
    return found


def _by_habit(items: pl.DataFrame) -> float:
    """The share that would be right if the choices had nothing to do with the questions: sum of p(chosen) p(answer)."""
    chosen, answers = (items.group_by(place=name).len("n") for name in ("chosen", "answer"))
    both = chosen.join(answers, on="place")
    return float((both["n"].cast(pl.Float64) * both["n_right"]).sum()) / items.height**2


def with_interval(values: np.ndarray, seed: int) -> dict[str, float]:
    """Mean and 95 % interval, by the percentiles of resampled means."""
    means = resampled(values, seed)
    low, high = np.percentile(means, COVERED)
    return {"value": round(float(values.mean()), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def resampled(values: np.ndarray, seed: int) -> np.ndarray:
    """Means of DRAWS resamples of the values, [DRAWS]."""
    rng = np.random.default_rng(seed)
    # One by one, so that memory is bounded: DRAWS x 10,000 items would be 80 MB.
    return np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(DRAWS)])


def excess(values: np.ndarray, chosen: np.ndarray, seed: int) -> dict[str, Any]:
    """Mean of all values less that of the chosen ones (bool), with its interval over resampled items, and `decided`."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(values), len(values))
        kept = values[drawn][chosen[drawn]]
        found += [values[drawn].mean() - kept.mean()] if len(kept) else []
    low, high = np.percentile(found, COVERED)
    value = values.mean() - values[chosen].mean()
    rounded = {name: round(float(of), 4) for name, of in (("value", value), ("low", low), ("high", high))}
    return {**rounded, "decided": bool(rounded["low"] > 0 or rounded["high"] < 0)}


def difference(one: np.ndarray, other: np.ndarray, seed: int) -> dict[str, Any]:
    """Mean difference of the same items under two conditions, its interval, and `decided`: whether that excludes 0."""
    found = with_interval(one - other, seed)
    return {**found, "decided": bool(found["low"] > 0 or found["high"] < 0)}
