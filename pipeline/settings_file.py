"""Settings of the machine and of the store, each in a YAML file of its own beside the recipes.

They say where things are and what may stay, never what is made, so nothing of them is in a fingerprint.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.recipe_text import load_yaml
from pipeline.settings import Settings, blocks_of, unknown_key

Kind = TypeVar("Kind", bound=Settings)


def parsed(text: str, name: str, kind: type[Kind]) -> Kind:
    """The settings that a file's text holds. Raises UserError that names every mistake. name: of the file."""
    content, _ = load_yaml(text, name)
    try:
        return kind.model_validate({} if content is None else content)
    except ValidationError as error:
        raise UserError(f"{name}: {in_words(error, kind)}") from None


def in_words(error: ValidationError, kind: type[Settings]) -> str:
    """Every mistake in the content of a `kind`, as the end of a sentence, with its full stop."""
    found = "; ".join(_sentence(problem, kind) for problem in error.errors())
    return found if found.endswith("?") else f"{found}."


def _sentence(problem: Any, kind: type[Settings]) -> str:
    where = ".".join(str(step) for step in problem["loc"] if step != "[key]")
    if problem["type"] == "extra_forbidden":
        known = unknown_key(str(problem["loc"][-1]), _keys_around(problem["loc"], kind)).rstrip(".")
        return f"`{where}` is not a key; {known}"
    if problem["type"] == "missing":
        return f"`{where}` is needed and is not there"
    if problem["type"] == "list_type":
        given = problem["input"]
        return f"`{where}` takes a list: write [{'...' if given is None else given}]"
    if problem["type"] in ("model_type", "dict_type"):
        return f"`{where}` takes keys of its own" if where else "it takes keys, each with what it means"
    if problem["type"] == "too_short":
        return f"`{where}` names nothing: add an entry"
    if problem["type"] == "string_type":
        given = problem["input"]
        kind_given = "a list" if isinstance(given, list) else "keys of its own" if isinstance(given, dict) else ""
        return f"`{where}` takes text{f', not {kind_given}' if kind_given else ': write it in quotes'}"
    if not problem["loc"]:
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"`{where}`: {problem['msg'].removeprefix('Value error, ')}"


def _keys_around(place: tuple[Any, ...], kind: type[Settings]) -> list[str]:
    """The keys of the block that holds the last step of a place."""
    block: Any = kind
    for step in place[:-1]:
        field = block.model_fields.get(step)
        if field is not None:  # else a name in a mapping, whose values are the block
            found = list(blocks_of(field.annotation).values())
            block = found[0] if found else block
    return list(block.model_fields)
