"""How far people agree: Cohen's kappa of two of them, Krippendorff's alpha of all.

Cohen 1960; Krippendorff 2004, chapter 11, for nominal data, which also holds where not everybody judged everything.
Both are computed by nltk. 1 is full agreement, 0 what chance would give; Krippendorff calls conclusions tentative below
0.8 and advises against any below 0.667.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from pipeline.annotation.tasks import Judgement

FIRM, TENTATIVE = 0.8, 0.667  # Krippendorff 2004, page 241
FEWEST = 2  # tasks that two people have both judged, for a kappa of them


def alpha(judgements: Sequence[Judgement]) -> float | None:
    """Krippendorff's alpha of all judgements; None where no task was judged by two people.

    1 where all of them are the same, although alpha is then not defined.
    """
    from nltk.metrics.agreement import AnnotationTask

    counts: dict[str, int] = {}
    for one in judgements:
        counts[one.task] = counts.get(one.task, 0) + 1
    shared = [one for one in judgements if counts[one.task] > 1]
    if not shared:
        return None
    if len({one.verdict for one in shared}) == 1:
        return 1.0
    return float(AnnotationTask(data=[(one.judge, one.task, one.verdict) for one in shared]).alpha())


def kappas(judgements: Sequence[Judgement]) -> list[dict[str, Any]]:
    """For every two people: the tasks that both judged, the share that they agree on, and Cohen's kappa.

    Kappa is None on fewer than FEWEST tasks, and where both always said the same one thing, which chance would, too.
    """
    from nltk.metrics.agreement import AnnotationTask

    by_judge: dict[str, dict[str, str]] = {}
    for one in judgements:
        by_judge.setdefault(one.judge, {})[one.task] = one.verdict
    rows = []
    for first, second in itertools.combinations(sorted(by_judge), 2):
        shared = sorted(by_judge[first].keys() & by_judge[second].keys())
        if not shared:
            continue
        said = {by_judge[judge][task] for judge in (first, second) for task in shared}
        kappa = None
        if len(shared) >= FEWEST and len(said) > 1:
            data = [(judge, task, by_judge[judge][task]) for judge in (first, second) for task in shared]
            kappa = float(AnnotationTask(data=data).kappa_pairwise(first, second))
        same = sum(by_judge[first][task] == by_judge[second][task] for task in shared)
        share = same / len(shared)
        rows.append({"judge": first, "other": second, "tasks": len(shared), "agree": share, "kappa": kappa})
    return rows


def in_words(value: float | None) -> str:
    """What alpha says, in a sentence."""
    if value is None:
        return "nobody has judged what another person judged, so agreement is not known"
    worth = "firm" if value >= FIRM else "tentative" if value >= TENTATIVE else "too low to build on"
    return f"Krippendorff's alpha {value:.3f}: {worth} ({FIRM} and {TENTATIVE} are his limits)"
