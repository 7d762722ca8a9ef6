"""The reference page of the recipe (docs/guide/recipe.md), generated from the settings so that it is always current."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.recipe import Recipe
from pipeline.settings import blocks_of

HEAD = """# The recipe

A recipe is one YAML file with all settings. `SLM_RECIPE` names it (default `recipes/demo.yaml`), `slm recipe` prints it
with all defaults filled in, and `slm recipe --reference` prints this page. An unknown key is refused, and the closest
known key suggested.
"""


def reference() -> str:
    """The page as Markdown, with a table for each block."""
    return HEAD + "".join(_sections("", Recipe.model_fields))


def _sections(place: str, fields: Mapping[str, FieldInfo]) -> Iterator[str]:
    """The table of the block at `place` ("" for the recipe itself), then those of its nested blocks."""
    rows, inner = [], []
    for name, field in fields.items():
        key = field.alias or name
        where = f"{place}.{key}" if place else key
        blocks = blocks_of(field.annotation)
        if not blocks:
            rows.append(_row(key, _type(field.annotation, field.metadata), _default(field), field))
            continue
        inner.append((where + ("[]" if _is_list(field.annotation) else ""), field.annotation, blocks))
        if place or not any(block.model_fields for block in blocks.values()):
            rows.append(_row(key, f"block `{where}`", "", field))
    if rows:
        yield _table(f"`{place}`" if place else "At the top", rows)
    for where, annotation, blocks in inner:
        if len(blocks) == 1:
            (block,) = blocks.values()
            yield from _sections(where, block.model_fields)
        else:
            yield from _sections_of_kinds(where, _about_kinds(annotation), blocks)


def _sections_of_kinds(place: str, about_kinds: str, blocks: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    """A table of the keys that all kinds of a block share, then of those that some share, then one for each kind."""
    kinds_of: dict[tuple[str, str], list[str]] = {}  # (key, its description) -> the kinds that have it
    for kind, block in blocks.items():
        for name, field in block.model_fields.items():
            kinds_of.setdefault((name, str(field.description if name != "kind" else "")), []).append(kind)
    groups: dict[tuple[str, ...], list[str]] = {(kind,): [] for kind in blocks}
    for (name, _), kinds in kinds_of.items():
        groups.setdefault(tuple(kinds), []).append(name)
    inner: dict[str, type[BaseModel]] = {}
    for having, names in sorted(groups.items(), key=lambda group: -len(group[0])):
        rows = []
        for name in names:
            field = blocks[having[0]].model_fields[name]
            found = blocks_of(field.annotation)
            if name == "kind":
                choices = " \\| ".join(f"`{kind}`" for kind in blocks)
                rows.append(f"| `kind` | {choices} |  | {about_kinds} |")
            elif found:
                (inner[f"{place}.{name}"],) = found.values()
                rows.append(_row(field.alias or name, f"block `{place}.{name}`", "", field))
            else:
                rows.append(_row(field.alias or name, _type(field.annotation, field.metadata), _default(field), field))
        title = f"`{place}` of `kind: {'`, `'.join(having)}`"
        if len(having) == len(blocks):
            title = f"`{place}`, every kind"
        elif len(having) == 1:
            title += f": {blocks[having[0]].model_fields['kind'].description}"
        yield _table(title, rows)
    for where, block in inner.items():
        yield from _sections(where, block.model_fields)


def _table(title: str, rows: list[str]) -> str:
    head = f"\n## {title}\n\n| key | kind | default | what it is |\n| --- | --- | --- | --- |\n"
    return head + "\n".join(rows) + "\n"


def _row(key: str, kind: str, default: str, field: FieldInfo) -> str:
    text = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `{key}` | {kind} | {default} | {text} |"


def _about_kinds(annotation: Any) -> str:
    """The description of the key `kind` in a union of kinds."""
    for of in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        if isinstance(of, FieldInfo):
            return of.description or ""
        if found := _about_kinds(of):
            return found
    return ""


def _is_list(annotation: Any) -> bool:
    """Whether the value of a key is a list of blocks."""
    return any(get_origin(of) in (list, tuple) for of in (annotation, *get_args(annotation)))


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a key may hold. metadata: of the field or of an Annotated type, with the range of a number."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [of for field in arguments[1:] for of in getattr(field, "metadata", [field])]
        return _type(arguments[0], [*metadata, *inner])
    if origin is Literal:
        return " \\| ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " \\| ".join(_type(argument, metadata) for argument in arguments if argument is not type(None))
    if origin in (list, tuple):
        return f"list of {_plural(_type(arguments[0]))}" if arguments else "list"
    if origin is dict:
        return f"mapping to {_plural(_type(arguments[1]))}"
    if annotation in (int, float):
        return " ".join(["whole number" if annotation is int else "number", *_range(metadata)])
    words = {"str": "text", "bool": "true or false", "Any": "anything"}
    return words.get(getattr(annotation, "__name__", ""), str(annotation))


def _plural(kind: str) -> str:
    return kind.replace("number", "numbers")


def _range(metadata: Sequence[Any]) -> list[str]:
    """The range of a number in words, such as `from 0 to 1` or `above 0, below 1`."""
    bounds = {name: getattr(of, name) for of in metadata for name in ("gt", "ge", "lt", "le") if hasattr(of, name)}
    if bounds.keys() == {"ge", "le"}:
        return [f"from {_number(bounds['ge'])} to {_number(bounds['le'])}"]
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    return [", ".join(f"{words[name]} {_number(bounds[name])}" for name in words if name in bounds)] if bounds else []


def _number(value: float) -> str:
    """A number as people write it: thousands with commas, large powers of 2 and 10 as such."""
    for base in (10, 2):
        power = round(math.log(value, base)) if value >= 2**20 else 0
        if power and base**power == value:
            return f"{base}^{power}"
    return f"{value:,}" if value == int(value) and isinstance(value, int) else f"{value:g}"


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
