"""What a person sees of a document: the places of the passages that matter, in a given number of characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

Span = tuple[int, int]  # code points of the text
AROUND = 60  # characters shown on each side of a passage
GAP = "…"
# Control characters could move the cursor or rewrite the screen of whoever looks at a document.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def excerpt(text: str, marks: Sequence[Span], width: int) -> list[tuple[str, bool]]:
    """Pieces of the text, each with whether it is marked: the first marks with what stands around them.

    At most about `width` characters; without marks, the beginning of the text.
    """
    pieces: list[tuple[str, bool]] = []
    for start, end in windows(len(text), marks, width):
        if start:
            pieces.append((GAP, False))
        at = start
        for first, last in marks:
            if first < end and last > at:
                pieces += [(text[at : max(at, first)], False), (text[max(at, first) : min(last, end)], True)]
                at = min(last, end)
        pieces.append((text[at:end], False))
    if pieces and windows(len(text), marks, width)[-1][1] < len(text):
        pieces.append((GAP, False))
    return [(CONTROL.sub("\N{REPLACEMENT CHARACTER}", piece), marked) for piece, marked in pieces if piece]


def windows(length: int, marks: Sequence[Span], width: int) -> list[Span]:
    """The parts of a text that are shown, in order and apart from each other."""
    found: list[Span] = []
    left = width
    for start, end in marks or [(0, 0)]:
        around = AROUND if marks else width
        first, last = max(0, start - around), min(length, end + around)
        if found and first <= found[-1][1]:
            first = found[-1][1]
        if left <= 0 or last <= first:
            continue
        last = min(last, first + left)
        left -= last - first
        if found and first == found[-1][1]:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found
