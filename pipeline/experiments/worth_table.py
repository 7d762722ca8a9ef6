"""What each part of the data is worth: effects on the bits per byte of every source, and which of them are decided.

An effect is the difference in bits per byte to the models of the recipe as it is, as a share of theirs. One test is
made for each part and each text that is measured; all of them together are corrected by Holm's method, since whoever
looks at a table of effects looks for the largest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.experiments import comparing

HELPS, HARMS = "helps", "harms"
DECIDED = (HELPS, HARMS)
ALL = "all text"
TWICE = "twice "  # how the names of settings begin that have more of a part; all others have less
COLUMNS = ("part", "measured on", "effect", "95 %", "p (Holm)", "")


def effects(
    cells: Sequence[Mapping[str, Any]], sources: Sequence[Mapping[str, Any]], against: str
) -> list[dict[str, Any]]:
    """One row for each part and text. cells, sources: rows of the tables of an experiment (`result.py`).

    Columns: part, target, seeds, mean, difference, low, high (95 %), p, p_holm, verdict: helps, harms,
    undecided, or no difference at all.
    """
    figures: dict[str, dict[str, dict[Any, float]]] = {}
    for row in [*({**cell, "source": ALL} for cell in cells), *sources]:
        of_target = figures.setdefault(row["source"], {})
        of_target.setdefault(row["setting"], {})[row["seed"]] = float(row["bits_per_byte"])
    rows = [
        {
            "part": row["setting"], "target": target, "seeds": row["seeds"], "mean": row["mean"],
            "difference": row["difference"], "low": row["difference_low"], "high": row["difference_high"],
            "p": row["p"], "verdict": row["verdict"],
        }
        for target, by_setting in figures.items()
        for row in comparing.compared(by_setting, against)
        if row["setting"] != against
    ]  # fmt: skip
    corrected = comparing.holm({f"{at}": row["p"] for at, row in enumerate(rows) if row["p"] is not None})
    for at, row in enumerate(rows):
        row["p_holm"] = corrected.get(f"{at}")
        if row["verdict"] != comparing.SAME:
            row["verdict"] = verdict(row)
    return rows


def verdict(row: Mapping[str, Any]) -> str:
    """Whether a part helps: the text is predicted worse without it, or better with twice as much of it."""
    if row["p_holm"] is None or row["p_holm"] >= comparing.LEVEL:
        return comparing.UNDECIDED
    more = row["part"].startswith(TWICE)
    return HELPS if (row["difference"] > 0) != more else HARMS


def in_cells(row: Mapping[str, Any]) -> list[str]:
    """A row as text, under COLUMNS."""
    interval = "" if row["low"] is None else f"{row['low']:+.2%} to {row['high']:+.2%}"
    p = "" if row["p_holm"] is None else f"{row['p_holm']:.2g}"
    return [row["part"], row["target"], f"{row['difference']:+.2%}", interval, p, row["verdict"]]


def decided_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows with the decided effects first, the largest of each first."""
    return sorted(rows, key=lambda row: (row["verdict"] not in DECIDED, -abs(row["difference"])))


def in_short(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many effects are decided, and the largest two of parts on other text than their own."""
    decided = [row for row in decided_first(rows) if row["verdict"] in DECIDED]
    text = f"{len(decided)} of {len(rows)} effects are decided"
    others = [row for row in decided if not row["part"].endswith(f" {row['target']}")][:2]
    return "; ".join(
        [text, *(f"{row['part']}: {row['difference']:+.1%} bits per byte of {row['target']}" for row in others)]
    )


def largest(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, str]]:
    """By part and text: the effects that stand first, in per cent, and their verdicts."""
    named = ((f"{row['part'].removeprefix('without ')}→{row['target']}", row) for row in decided_first(rows))
    return {name: (100 * row["difference"], row["verdict"]) for name, row in named}
