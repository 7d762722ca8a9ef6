"""The reference page of the recipe (docs/guide/recipe.md), generated from the settings so that it is always current."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.recipe import Recipe

HEAD = """# The recipe

A recipe is one YAML file with all settings. `SLM_RECIPE` names it (default `recipes/demo.yaml`), `slm recipe` prints it
with all defaults filled in, and `slm recipe --reference` prints this page. An unknown key is refused, and the closest
known key suggested.
"""


def reference() -> str:
    """The page as Markdown, with a table for each block."""
    parts = [HEAD]
    pending: list[tuple[str, type[BaseModel]]] = [("", Recipe)]
    while pending:
        place, block = pending.pop(0)
        rows, inner = [], []
        for name, field in block.model_fields.items():
            key = field.alias or name
            model, many = _block_of(field.annotation)
            where = f"{place}.{key}" if place else key
            if model is not None:
                inner.append((where + ("[]" if many else ""), model))
                if place or not model.model_fields:
                    rows.append(_row(key, f"block `{where}`", "", field))
            else:
                rows.append(_row(key, _type(field.annotation), _default(field), field))
        if rows:
            title = f"`{place}`" if place else "At the top"
            parts.append(
                f"\n## {title}\n\n| key | kind | default | what it is |\n| --- | --- | --- | --- |\n"
                + "\n".join(rows)
                + "\n"
            )
        pending = inner + pending
    return "".join(parts)


def _row(key: str, kind: str, default: str, field: FieldInfo) -> str:
    text = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `{key}` | {kind} | {default} | {text} |"


def _block_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """(settings class of a key's value, or None; whether the value is a list of them)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for argument in get_args(annotation):
        model, _ = _block_of(argument)
        if model is not None:
            return model, get_origin(annotation) is not None and get_origin(annotation) in (list, tuple)
    return None, False


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " \\| ".join(_type(argument) for argument in arguments if argument is not type(None))
    if origin in (list, tuple):
        return f"list of {_type(arguments[0])}" if arguments else "list"
    if origin is dict:
        return f"mapping to {_type(arguments[1])}"
    words = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    return words.get(getattr(annotation, "__name__", ""), str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    if value is None or value in ((), [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"
