"""Nested mappings under dotted names, such as `a.b` and, for lists, `a[0]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def flattened(value: Any, name: str = "", *, lists: bool = False) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf, sorted by key. Empty mappings are leaves, and so are lists unless `lists`."""
    if isinstance(value, Mapping) and (value or not name):
        for key in sorted(value):
            yield from flattened(value[key], f"{name}.{key}" if name else str(key), lists=lists)
    elif lists and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from flattened(item, f"{name}[{index}]", lists=lists)
    else:
        yield name, value
