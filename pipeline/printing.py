"""Tables and sizes for a terminal; Hangul is two columns wide."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns; figures are right-aligned."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(width(line[index]) for line in lines) for index in range(len(head))]
    right = [all(not row[index] or row[index][0].isdigit() for row in rows) for index in range(len(head))]
    shown = []
    for line in lines:
        cells = [
            " " * (wide - width(cell)) + cell if to_right else cell + " " * (wide - width(cell))
            for cell, wide, to_right in zip(line, widths, right, strict=True)
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def table(records: Iterable[dict[str, Any]]) -> str:
    """Records with the same keys as a table; the keys are its header."""
    rows = list(records)
    if not rows:
        return "none"
    return aligned(list(rows[0]), [[cell(value) for value in row.values()] for row in rows])


def cell(value: Any) -> str:
    """One value of a table as text."""
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def width(text: str) -> int:
    """Width of a text in terminal columns: wide characters such as Hangul take two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def wrapped(text: str, columns: int) -> list[str]:
    """Lines of a text of at most so many columns, broken at spaces; a longer word stands alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width(longer) > columns:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def binary_size(count: float) -> str:
    """A number of bytes of memory, in MiB or GiB."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """Seconds in the units that a reader expects, such as `4.2 s`, `1 min 30 s`, `2 h 5 min` and `3 days 4 h`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        days, hours = divmod(hours + (minutes >= 30), 24)
        return f"{days:,} days {hours} h" if days < 10 else f"{days:,} days"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def size(count: float) -> str:
    """A number of bytes with a suitable unit (decimal: 1 kB is 1000 bytes)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
