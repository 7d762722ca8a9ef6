"""One JSON text to a value, with errors that quote nothing of it.

RFC 8259 leaves open what an object means that has a key twice (section 4), and readers differ: the first or the last
value counts. So it is an error here, as far as the key is read.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np

# No text of people nests deeper; Python's own functions for JSON end at about 1,000.
DEEPEST = 256


class NotJson(Exception):
    """Why a text is no JSON that can be read, in words that hold nothing of it."""


def parsed(text: str, keys: Collection[str] | None = None) -> Any:
    """The value of a JSON text, in which U+FFFD stands for halves of surrogate pairs. Raises NotJson.

    keys: those that no object may have twice; None: all.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs if keys is None or name in keys]
            if len(set(names)) < len(names):
                raise NotJson("an object has the same key twice")
        return made

    try:
        # Without keys to look for, the faster way.
        value = json.loads(text) if keys is not None and not keys else json.loads(text, object_pairs_hook=once)
        if too_deep(text, value):
            raise NotJson("it is nested too deeply")
        return without_halves(value) if "\\ud" in text or "\\uD" in text else value
    except json.JSONDecodeError as error:
        raise NotJson(f"it is no JSON at character {error.pos + 1:,}") from None
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError:
        raise NotJson("it holds a number of too many digits") from None


def too_deep(text: str, value: Any) -> bool:
    """Whether a value is nested deeper than DEEPEST."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    # Brackets within strings are counted too, so this is only the most that it can be.
    marks = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
    opened = np.isin(marks, np.frombuffer(b"[{", np.uint8)).astype(np.int64)
    closed = np.isin(marks, np.frombuffer(b"]}", np.uint8)).astype(np.int64)
    if np.cumsum(opened - closed).max() <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(value, list | dict) for value in level)


def without_halves(value: Any) -> Any:
    """The same value in which U+FFFD stands for each half of a surrogate pair: JSON can hold one, UTF-8 cannot."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_halves(inner) for inner in value]
    if isinstance(value, dict):
        return {without_halves(key): without_halves(inner) for key, inner in value.items()}
    return value
