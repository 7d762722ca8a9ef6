"""Sums: their numbers, which of them are held back for evaluation, and patterns with the digits put in."""

from __future__ import annotations

import random
import re

from pipeline.village.korean import with_particle

_LETTERS = re.compile(r"\b(SIGN|[ABC](?![A-Za-z]))(는?)")


def draw_numbers(dice: random.Random, sign: str, held_back: bool = False) -> tuple[int, int]:
    """Two numbers from 2 to 21 for a sum; a difference is at least 2.

    One pair in seven is held back: it occurs in the sums of evaluation questions and nowhere else.
    """
    while True:
        a, b = dice.randint(2, 12), dice.randint(2, 9)
        if sign == "-":
            a += b
        if is_held_back(a, b) == held_back:
            return a, b


def is_held_back(a: int, b: int) -> bool:
    """Whether a pair of numbers occurs in the sums of evaluation questions alone."""
    return (3 * a + b) % 7 == 0


def with_numbers(text: str, a: int, b: int, sign: str) -> str:
    """A pattern of a sum with its digits instead of A, B, C and SIGN."""
    c = a + b if sign == "+" else a - b
    digits = {"A": str(a), "B": str(b), "C": str(c), "SIGN": sign}
    return _LETTERS.sub(lambda found: with_particle(digits[found[1]], "은" if found[2] else ""), text)


def numbers_of(text: str) -> tuple[int, ...]:
    """The numbers in a text, in order."""
    return tuple(int(word) for word in "".join(c if c.isdigit() else " " for c in text).split())
