"""How surely a share is known: the interval of Wilson 1927, which holds for few cases and for shares near 0 and 1."""

from __future__ import annotations

import math

Z95 = 1.959964  # of 95 % of a normal distribution


def wilson(share: float, cases: int) -> tuple[float, float]:
    """The 95 % interval of a share (0-1) that was counted in `cases` cases (Wilson 1927); (0, 1) for no case."""
    if not cases:
        return 0.0, 1.0
    square = Z95**2 / cases
    centre = (share + square / 2) / (1 + square)
    half = Z95 / (1 + square) * math.sqrt(share * (1 - share) / cases + square / (4 * cases))
    return max(0.0, centre - half), min(1.0, centre + half)


def cases_for(half_width: float) -> int:
    """How many cases make the interval's half width at most `half_width`, whatever the share is.

    The interval is widest at a share of one half, where its half width is z / (2 sqrt(n + z^2)).
    """
    return max(1, math.ceil((Z95 / (2 * half_width)) ** 2 - Z95**2))
