"""Sums: their numbers, which of them no conversation adds, and patterns with the digits put in."""

from __future__ import annotations

import random
import re

from pipeline.village.korean import with_particle

_LETTERS = re.compile(r"\b(SIGN|[ABC](?![A-Za-z]))(는?)")


def draw_numbers(dice: random.Random, sign: str, held_back: bool | None = None) -> tuple[int, int]:
    """Two numbers from 2 to 18 for a sum; a difference is from 2 to 9.

    held_back: whether of those that no conversation adds, one pair in seven; None: any, as documents do. So a sum is
    like a fact: documents tell all of them, and conversations only teach how they are asked for.
    """
    while True:
        a, b = dice.randint(2, 9), dice.randint(2, 9)
        if sign == "-":
            a += b
        if held_back is None or is_held_back(a, b) == held_back:
            return a, b


def is_held_back(a: int, b: int) -> bool:
    """Whether a pair of numbers occurs in no conversation, but in evaluation questions."""
    return (3 * a + b) % 7 == 0


def with_numbers(text: str, a: int, b: int, sign: str) -> str:
    """A pattern of a sum with its digits instead of A, B, C and SIGN."""
    c = a + b if sign == "+" else a - b
    digits = {"A": str(a), "B": str(b), "C": str(c), "SIGN": sign}
    return _LETTERS.sub(lambda found: with_particle(digits[found[1]], "은" if found[2] else ""), text)


def numbers_of(text: str) -> tuple[int, ...]:
    """The numbers in a text, in order."""
    return tuple(int(word) for word in "".join(c if c.isdigit() else " " for c in text).split())
