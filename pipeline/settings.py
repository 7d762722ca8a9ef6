"""The base classes of every block of a recipe: typed, frozen, and without unknown keys."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Ranges of numbers that many blocks have. A limit on sizes is about ten times what was ever published, so that it stops
# a slip of the keyboard at load and nothing that anybody means.
MAX_DOCUMENTS = 10**11  # a crawl of Common Crawl has 3 billion pages
MAX_CHARACTERS = 10**10  # of the text that a filter learns from; all of it is in memory
MAX_TOKENS = 10**15  # Qwen3 was trained on 36 trillion
MAX_BATCH_TOKENS = 10**9  # Llama 3 405B: 16 million
MAX_STEPS = 10**8  # Pythia: 143,000
Share = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0, le=1000)]  # of one count to another, such as symbols per word
MAX_WEIGHT = 1000  # of how often text is drawn; Llama 1 repeats Wikipedia 2.45 times
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT)]


class Settings(BaseModel):
    """Base of every block. Frozen, since a setting changed at run time would be missing from the fingerprint."""

    # Descriptions stand in `Field`: Pydantic would read the source of every block again for those in docstrings, which
    # takes 0.2 s at the start of each command.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _on_and_off(cls, data: Any) -> Any:
        """`on` and `off` where a key has these values: YAML 1.1 reads both as booleans."""
        if not isinstance(data, dict):
            return data
        switches = {name for name in _switches(cls) if isinstance(data.get(name), bool)}
        return data | {name: "on" if data[name] else "off" for name in switches}


class StageSettings(Settings):
    """Base of the settings of a curation stage."""

    enabled: bool = Field(True, description="false: the stage keeps every document and reads no text")


@cache
def say_once(sentence: str) -> None:
    """Print a sentence about a recipe to stderr, once in a process: a block is often read more than once."""
    print(sentence, file=sys.stderr)


@cache
def _switches(block: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a block that can be `on` or `off`."""
    return tuple(name for name, field in block.model_fields.items() if {"on", "off"} <= _literals(field.annotation))


def _literals(annotation: Any) -> set[Any]:
    """All values that the literals of an annotation allow."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {value for argument in get_args(annotation) for value in _literals(argument)}


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
