"""What every recogniser finds in finished text, without the search for candidates that the stage begins with.

The stage shows a recogniser only what an expression took for a candidate (windows.py). Here all of them read whole
texts, a hundred times slower, so that a sample of curated text shows what the expressions let through.
"""

from __future__ import annotations

from collections import Counter

import polars as pl

from pipeline.curation.personal_data.examples import is_example
from pipeline.curation.personal_data.personal_data import Settings
from pipeline.curation.personal_data.spans import PARTING, analyser

# Code points read at once. Words that count stand within a few words of a value; pieces overlap by MARGIN.
PIECE, MARGIN = 2_000, 200


def counts_by_kind(texts: pl.Series, settings: Settings) -> dict[str, int]:
    """Number of values by label that the recognisers find at the settings' `min_score`; labels without any are left
    out.

    No value is returned or logged.
    """
    counts: Counter[str] = Counter()
    for text in texts.drop_nulls():
        counts.update(label for _, _, label in _found(text, settings))
    return dict(sorted(counts.items()))


def _found(text: str, settings: Settings) -> list[tuple[int, int, str]]:
    """Disjoint values of a text in which Hangul is parted from numbers, the best first where they overlap."""
    parted = PARTING.sub(" ", text)
    found = []
    for begin in range(0, max(1, len(parted)), PIECE):
        first = max(0, begin - MARGIN)
        piece = parted[first : begin + PIECE + MARGIN]
        for result in analyser().find(piece, tuple(analyser().recognisers)):
            start, end = first + result.start, first + result.end
            value = parted[start:end]
            counts = result.score >= settings.min_score and result.entity_type in settings.labels
            if counts and not (settings.keep_examples and is_example(result.entity_type, value)):
                found.append((float(result.score), start, end, result.entity_type))
    chosen: list[tuple[int, int, str]] = []
    for _, start, end, label in sorted(set(found), key=lambda one: (-one[0], one[1] - one[2], one[1], one[3])):
        if all(end <= other[0] or start >= other[1] for other in chosen):
            chosen.append((start, end, label))
    return chosen
