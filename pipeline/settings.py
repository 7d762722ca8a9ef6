"""The base classes of every block of a recipe: typed, frozen, and without unknown keys."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of every block. Frozen, since a setting changed at run time would be missing from the fingerprint."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StageSettings(Settings):
    """Base of the settings of a curation stage."""

    enabled: bool = Field(True, description="false: the stage keeps every document and reads no text")


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The end of a sentence about a key that is not known: the nearest one, else all that are."""
    names = list(known)
    near = get_close_matches(key, names, n=1, cutoff=0.5)
    return f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(names)}."


def blocks_of(annotation: Any) -> dict[str, type[BaseModel]]:
    """The blocks that a key may hold: by kind where there are several, else one, by its name; {} for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kind = annotation.model_fields.get("kind")
        return {str(kind.default) if kind is not None else annotation.__name__: annotation}
    found: dict[str, type[BaseModel]] = {}
    for argument in get_args(annotation):
        found |= blocks_of(argument)
    return found
