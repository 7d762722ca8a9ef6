"""A person's verdicts on what curation removes: records beside the artifacts, and what follows from them.

A verdict belongs to a document and a reason, not to a run: it holds the document's id, never its text, and the figure
that decided, so that it still counts when the stage has run again or the limit has moved. Precision is counted over
documents that were drawn at random; those nearest to a limit are harder than the others and are counted apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from pipeline.curation.rules import COMPARE, setting_of
from pipeline.errors import UserError
from pipeline.inspect.margins import KEPT
from pipeline.intervals import wilson
from pipeline.store.reading import Reader

FILE = "verdicts.jsonl"
KEEP, DROP = "keep", "drop"
RANDOM, NEAR = "random", "near"
# A limit is proposed only from so many verdicts on it, so many of each kind, and if so many more would agree with it.
FEWEST, FEWEST_OF_EACH, FEWEST_GAINED = 20, 5, 2


@dataclass(frozen=True)
class Verdict:
    """What a person said of a document and a reason."""

    doc_id: str
    stage: str
    reason: str
    verdict: str  # keep or drop
    drawn: str  # random (of what was removed) or near (to the limit)
    state: str  # when it was judged: removed, cut or kept
    setting: str | None = None  # the limit that decided, and the figure that was compared with it
    removes: str | None = None
    figure: float | None = None
    alone: bool | None = None  # whether that limit alone decided

    @property
    def key(self) -> tuple[str, str, str]:
        return self.doc_id, self.stage, self.reason


@dataclass(frozen=True)
class Better:
    """A limit that would agree with more verdicts than the one in force."""

    setting: str
    limit: float
    value: float
    verdicts: int
    agree_now: int
    agree_then: int


def verdicts_of(store: Reader) -> dict[tuple[str, str, str], Verdict]:
    """All verdicts by document, stage and reason. Raises UserError if a line of the file is damaged."""
    return _read(store.read_record(FILE))


def save(store: Reader, verdict: Verdict) -> None:
    """Add a verdict, in the place of an earlier one on the same document and reason; atomic, and locked."""

    def changed(before: str | None) -> str:
        kept = _read(before) | {verdict.key: verdict}
        return "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in kept.values())

    store.change_record(FILE, changed)


def _read(text: str | None) -> dict[tuple[str, str, str], Verdict]:
    found = {}
    for number, line in enumerate((text or "").split("\n"), 1):
        if line.strip():
            try:
                verdict = Verdict(**json.loads(line))
                if verdict.verdict not in (KEEP, DROP):
                    raise ValueError
            except (ValueError, TypeError):
                raise UserError(
                    f"Line {number} of {FILE} is damaged: put the file back from a backup, or delete the line."
                ) from None
            found[verdict.key] = verdict
    return found


def removed_now(verdict: Verdict, settings: BaseModel | None) -> bool:
    """Whether the document would be removed by the limits in force; without a figure, whether it was when judged."""
    limit = _limit_of(verdict, settings)
    if verdict.figure is None or verdict.removes is None or limit is None or not verdict.alone:
        return verdict.state != KEPT
    return bool(COMPARE[verdict.removes](verdict.figure, limit))


def _limit_of(verdict: Verdict, settings: BaseModel | None) -> float | None:
    try:
        value = None if settings is None or verdict.setting is None else setting_of(settings, verdict.setting)
    except (AttributeError, IndexError, ValueError):  # of a rule that the stage no longer has
        return None
    return None if value is None else float(value)


def precision(verdicts: Iterable[Verdict], settings: Mapping[str, BaseModel]) -> list[dict[str, Any]]:
    """For each reason: verdicts, the share of removals at random that are just with its 95 % interval, and the same
    for those near the limit.

    settings: of each stage, by the name of its asset.
    """
    by_reason: dict[tuple[str, str], list[Verdict]] = {}
    for one in verdicts:
        by_reason.setdefault((one.stage, one.reason), []).append(one)
    rows = []
    for (stage, reason), ones in by_reason.items():
        removed = [one for one in ones if removed_now(one, settings.get(stage))]
        random = [one for one in removed if one.drawn == RANDOM]
        close = [one for one in removed if one.drawn == NEAR]
        missed = [one for one in ones if one not in removed]
        rows.append(
            {"stage": stage, "reason": reason, "verdicts": len(ones)}
            | _share("precision", random, DROP)
            | _share("near the limit", close, DROP)
            | {"kept but judged poor": f"{sum(one.verdict == DROP for one in missed)} of {len(missed)}"}
        )
    return rows


def _share(name: str, ones: list[Verdict], verdict: str) -> dict[str, Any]:
    good = sum(one.verdict == verdict for one in ones)
    if not ones:
        return {name: None, f"{name}, 95 %": None, f"{name}, of": 0}
    low, high = wilson(good / len(ones), len(ones))
    return {name: good / len(ones), f"{name}, 95 %": f"{low:.2f} to {high:.2f}", f"{name}, of": len(ones)}


def better_limits(verdicts: Iterable[Verdict], settings: Mapping[str, BaseModel]) -> list[dict[str, Any]]:
    """For each limit that alone decided enough verdicts: a value that would agree with more of them, if there is one.

    Nothing is proposed on few verdicts (FEWEST), nor for the gain of one.
    """
    by_limit: dict[tuple[str, str, str], list[Verdict]] = {}
    for one in verdicts:
        if one.alone and one.setting and one.figure is not None and _limit_of(one, settings.get(one.stage)) is not None:
            by_limit.setdefault((one.stage, one.reason, one.setting), []).append(one)
    found = []
    for (stage, reason, _), ones in by_limit.items():
        better = better_limit(ones, settings[stage])
        if better is not None:
            found.append({"stage": stage, "reason": reason, **asdict(better)})
    return found


def better_limit(ones: list[Verdict], settings: BaseModel) -> Better | None:
    """The limit with which most verdicts agree, the nearest to the one in force and with the fewest digits."""
    limit = _limit_of(ones[0], settings)
    assert limit is not None and ones[0].setting is not None
    kinds = [sum(one.verdict == verdict for one in ones) for verdict in (KEEP, DROP)]
    if len(ones) < FEWEST or min(kinds) < FEWEST_OF_EACH:
        return None
    agree_now = _agreeing(ones, limit)
    figures = sorted({float(one.figure) for one in ones if one.figure is not None})
    step = max((figures[-1] - figures[0]) / len(figures), abs(limit) * 0.01, 1e-9)
    edges = [figures[0] - step, *figures, figures[-1] + step]
    gaps = sorted(pairwise(edges), key=lambda gap: abs(sum(gap) / 2 - limit))
    low, high = max(gaps, key=lambda gap: _agreeing(ones, sum(gap) / 2))
    value = _rounded(low, high, whole=isinstance(setting_of(settings, ones[0].setting), int))
    agree_then = _agreeing(ones, value)
    if agree_then < agree_now + FEWEST_GAINED:
        return None
    return Better(ones[0].setting, limit, value, len(ones), agree_now, agree_then)


def _agreeing(ones: list[Verdict], limit: float) -> int:
    """The number of verdicts that a limit agrees with."""
    return sum(
        COMPARE[one.removes or ">"](one.figure, limit) == (one.verdict == DROP)
        for one in ones
        if one.figure is not None
    )


def _rounded(low: float, high: float, whole: bool) -> float:
    """A value strictly between two figures with as few digits as possible; else their middle."""
    middle = (low + high) / 2
    for digits in range(0, 1 if whole else 12):
        value = round(middle, digits)
        if low < value < high:
            return value
    return float(round(high)) if whole else middle
