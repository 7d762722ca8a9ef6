"""What is noted beside artifacts: who made a version, and which must stay. No part of a manifest or of any bytes.

Each is one record of the recipe, `{"<asset>/<version>": note}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from pipeline.errors import UserError
from pipeline.store.reading import Reader

MAKERS = "makers.json"  # owner
PINS = "pins.json"  # why it has to stay

Notes = dict[str, str]


def read(store: Reader, record: str) -> Notes:
    """The notes of a recipe, by `<asset>/<version>`. Raises UserError for a record that is damaged."""
    return _parsed(store.read_record(record), store, record)


def write(store: Reader, record: str, name: str, note: str | None) -> None:
    """Write the note on `<asset>/<version>`; None takes it away."""
    change(store, record, lambda known: {**known, name: note} if note is not None else without(known, [name]))


def change(store: Reader, record: str, changed: Callable[[Notes], Notes]) -> None:
    """Change the notes as one step that no other process interrupts."""

    def text(before: str | None) -> str:
        return json.dumps(changed(_parsed(before, store, record)), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    store.change_record(record, text)


def without(known: Notes, names: list[str]) -> Notes:
    """The notes but those on some versions."""
    return {name: note for name, note in known.items() if name not in names}


def _parsed(text: str | None, store: Reader, record: str) -> Notes:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{store.root / store.recipe / record} is damaged: delete it; only its notes are lost.")
    return {str(name): str(note) for name, note in found.items()}
