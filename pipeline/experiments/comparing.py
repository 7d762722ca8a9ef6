"""What may be concluded from cells with several seeds: means with intervals, and which differences are decided.

Settings that were run with the same seeds share initial weights and the order of batches, so a seed is a block: the
spread is what remains of the figures after the mean of each setting and of each seed (randomised complete blocks;
Montgomery, Design and Analysis of Experiments, chapter 4; with two settings, this is the paired t-test). Where seeds
differ between settings, the spread is that within settings. One spread for all settings makes much of few seeds; it
supposes that settings spread alike. Differences from one setting are called decided at p < 0.05 after Holm's correction
for their number (Holm 1979).

Settings whose figures are the same for every seed are one model under two names, such as a cell that sets what the
recipe says anyway. They are compared once: a copy knows nothing of chance, and would make the spread look smaller.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEVEL = 0.05
BETTER, WORSE, UNDECIDED, AGAINST = "better", "worse", "undecided", "compared with"
SAME = "no difference"  # to the figure: a setting that changes nothing


@dataclass(frozen=True)
class Spread:
    """The spread of one cell's figure, and its degrees of freedom; 0 if no setting has two seeds."""

    deviation: float
    freedom: int


def compared(figures: Mapping[str, Mapping[Any, float]], against: str) -> list[dict[str, Any]]:
    """One row a setting, in the order given; figures: setting -> seed -> a figure of which less is better.

    Columns: setting, seeds, mean, low, high (95 %), difference (from `against`, as a share of its mean),
    difference_low, difference_high, p, p_holm, verdict. Without two seeds of any setting there are no intervals, and
    all is undecided.
    """
    copies = copies_of({against: figures[against], **figures})
    rows = {row["setting"]: row for row in _compared_once(figures, copies, against)}
    found = []
    for name in figures:
        row = rows[copies.get(name, name)]
        if copies.get(name) == against:
            nothing = {"difference": 0.0, "difference_low": 0.0, "difference_high": 0.0}
            row = {**row, **nothing, "verdict": SAME}
        found.append({**row, "setting": name})
    return found


def copies_of(figures: Mapping[str, Mapping[Any, Any]]) -> dict[str, str]:
    """Setting -> an earlier one that says the same for every one of at least two seeds."""
    first: dict[tuple[Any, ...], str] = {}
    found = {}
    for name, given in figures.items():
        key = tuple(sorted(given.items(), key=str))
        if len(key) > 1 and first.setdefault(key, name) != name:
            found[name] = first[key]
    return found


def _compared_once(
    everything: Mapping[str, Mapping[Any, float]], copies: Mapping[str, str], against: str
) -> list[dict[str, Any]]:
    """`compared` without what are copies of others."""
    figures = {name: given for name, given in everything.items() if name not in copies}
    spread = spread_of(figures)
    base = figures[against]
    tests = {name: _test(given, base, spread) for name, given in figures.items() if name != against}
    corrected = holm({name: found["p"] for name, found in tests.items() if found["p"] is not None})
    rows = []
    for name, given in figures.items():
        mean = statistics.fmean(given.values())
        half = _half(spread, 1 / len(given))
        row = {"setting": name, "seeds": len(given), "mean": mean, "low": _less(mean, half), "high": _more(mean, half)}
        if name == against:
            nothing = dict.fromkeys(("difference", "difference_low", "difference_high", "p", "p_holm"))
            rows.append({**row, **nothing, "verdict": AGAINST})
            continue
        found = tests[name]
        p = corrected.get(name)
        decided = p is not None and p < LEVEL
        verdict = (BETTER if found["difference"] < 0 else WORSE) if decided else UNDECIDED
        rows.append({**row, **found, "p_holm": p, "verdict": verdict})
    return rows


def _test(given: Mapping[Any, float], base: Mapping[Any, float], spread: Spread) -> dict[str, Any]:
    from scipy import stats

    reference = statistics.fmean(base.values())
    difference = statistics.fmean(given.values()) - reference
    share = 1 / len(given) + 1 / len(base)
    half = _half(spread, share)
    p = None
    if spread.freedom:
        error = spread.deviation * math.sqrt(share)
        p = float(2 * stats.t.sf(abs(difference) / error, spread.freedom)) if error else float(difference == 0)
    scale = abs(reference) or 1.0
    return {
        "difference": difference / scale,
        "difference_low": _less(difference / scale, half and half / scale),
        "difference_high": _more(difference / scale, half and half / scale),
        "p": p,
    }


def spread_of(figures: Mapping[str, Mapping[Any, float]]) -> Spread:
    """The spread of single figures about what settings (and, where all have the same, seeds) explain."""
    groups = list(figures.values())
    seeds = {frozenset(group) for group in groups}
    blocks = sorted(next(iter(seeds)), key=str) if len(seeds) == 1 and len(groups) > 1 else []
    everything = [value for group in groups for value in group.values()]
    total = statistics.fmean(everything)
    means = [statistics.fmean(group.values()) for group in groups]
    if len(blocks) > 1:
        by_seed = {seed: statistics.fmean(group[seed] for group in groups) for seed in blocks}
        rest = [
            value - mean - by_seed[seed] + total
            for group, mean in zip(groups, means, strict=True)
            for seed, value in group.items()
        ]
        freedom = (len(groups) - 1) * (len(blocks) - 1)
    else:
        rest = [value - mean for group, mean in zip(groups, means, strict=True) for value in group.values()]
        freedom = len(everything) - len(groups)
    if not freedom:
        return Spread(0.0, 0)
    return Spread(math.sqrt(sum(value**2 for value in rest) / freedom), freedom)


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Values of p corrected for how many they are (Holm 1979): the smallest times all, the next times one fewer ..."""
    corrected: dict[str, float] = {}
    highest = 0.0
    for place, name in enumerate(sorted(values, key=lambda one: values[one])):
        highest = max(highest, min(1.0, (len(values) - place) * values[name]))
        corrected[name] = highest
    return corrected


def _half(spread: Spread, share: float) -> float | None:
    """Half the width of the 95 % interval of a mean whose variance is `share` of one figure's."""
    from scipy import stats

    if not spread.freedom:
        return None
    return float(stats.t.ppf(1 - LEVEL / 2, spread.freedom)) * spread.deviation * math.sqrt(share)


def _less(value: float, half: float | None) -> float | None:
    return None if half is None else value - half


def _more(value: float, half: float | None) -> float | None:
    return None if half is None else value + half


def best(rows: Sequence[Mapping[str, Any]]) -> str:
    """The setting with the lowest mean."""
    return str(min(rows, key=lambda row: row["mean"])["setting"])
