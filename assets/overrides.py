"""Settings of the recipe that can be overridden for one run in the Launchpad.

A form is derived from the settings class, with the same names, types and descriptions. Empty fields keep the recipe's
value. The settings class validates the values, so the Launchpad accepts exactly what a recipe does.
"""

import functools
import types
import typing
from enum import Enum
from typing import Any, Literal, Optional, Union

from dagster import Config
from pydantic import Field, ValidationError, create_model

from pipeline.errors import UserError
from pipeline.recipe import Recipe
from pipeline.settings import blocks_of

PLAIN = (bool, int, float, str)


@functools.cache
def overrides_of(block: str) -> type[Config]:
    """The form for a block of the recipe (`pretraining`), which all recipes of a process share."""
    (settings,) = blocks_of(Recipe.model_fields[block].annotation).values()
    fields: dict[str, Any] = {}
    for name, field in settings.model_fields.items():
        kind = _form_type(block, name, field.annotation)
        if kind is None:
            continue
        default = field.get_default(call_default_factory=True)
        note = f"{field.description or name} [empty: the recipe's value; default {default!r}]"
        fields[name] = (Optional[kind], Field(default=None, description=note))  # noqa: UP045
    return create_model(f"{block.title().replace('_', '')}Overrides", __base__=Config, **fields)


def _form_type(block: str, name: str, annotation: Any) -> Any:
    """The type of a setting in Dagster's form; None for nested blocks, which cannot be overridden."""
    origin = typing.get_origin(annotation)
    arguments = [argument for argument in typing.get_args(annotation) if argument is not type(None)]
    if annotation in PLAIN:
        return annotation
    if origin is Literal:
        if all(isinstance(choice, str) for choice in arguments):
            return Enum(f"{block}_{name}", {choice: choice for choice in arguments})
        return type(arguments[0])
    if origin in (Union, types.UnionType):
        kinds = [_form_type(block, name, argument) for argument in arguments]
        return str if str in kinds else float if float in kinds else kinds[0]
    if origin in (list, tuple):
        return list[arguments[0]] if arguments and arguments[0] in PLAIN else None  # type: ignore[valid-type]
    return None


def overridden(recipe: Recipe, block: str, overrides: dict[str, Any]) -> Recipe:
    """The recipe with `overrides` in a block. Raises UserError naming each invalid value."""
    settings = getattr(recipe, block)
    try:
        changed = type(settings).model_validate({**settings.model_dump(mode="json"), **overrides})
    except ValidationError as error:
        mistakes = "; ".join(f"`{block}.{'.'.join(map(str, e['loc']))}`: {e['msg']}" for e in error.errors())
        raise UserError(f"The settings in the Launchpad are invalid: {mistakes}.") from None
    return recipe.model_copy(update={block: changed})
