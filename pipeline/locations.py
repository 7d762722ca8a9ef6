"""Several stores in one Dagster: a file that says which there are, for all who work with it.

`SLM_LOCATIONS` names the file, for the servers and for every terminal. A store has a name in it, its folder or address,
the recipes that it holds, and whose it is. The name tells apart what the stores share: Dagster's keys and MLflow's
experiments. It follows from `SLM_DATA`, so nobody has to say it again.

    locations:
      ara: {recipes: ara/recipes, data: /srv/slm/ara}
      lab: {recipes: lab/recipes, data: "s3://lab/slm", owner: lab}
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from pipeline import places
from pipeline.errors import UserError
from pipeline.settings import Settings
from pipeline.settings_file import parsed

VARIABLE = "SLM_LOCATIONS"
VISIBLE = "CUDA_VISIBLE_DEVICES"  # set where the runs of a location use some GPUs only
# Two underlines would end the name where Dagster's names go on with the recipe's (assets/keys.py).
NAME = re.compile(r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*")
OWNER = re.compile(r"[\w.@+-]{1,63}")


class Place(Settings):
    """A store and its recipes."""

    recipes: str = Field(description="a recipe, or a folder of recipes, from the folder of this file on")
    data: str = Field(description="the store: a folder, from the folder of this file on, or an address (`s3://...`)")
    owner: str = Field("", description="whose runs those are that the UI starts; empty: the name of the location")
    gpus: Annotated[str, BeforeValidator(lambda given: str(given) if type(given) is int else given)] = Field(
        "", pattern=r"^(\d+(,\d+)*)?$", description="the GPUs that its runs use, as `0` or `0,1`; empty: all"
    )

    @field_validator("owner")
    @classmethod
    def _short(cls, given: str) -> str:
        if given and not OWNER.fullmatch(given):
            raise ValueError("an owner is up to 63 letters, digits, `.`, `@`, `+`, `-` and `_`")
        return given


class Locations(Settings):
    """The file."""

    locations: dict[str, Place] = Field(description="the stores by their names", min_length=1)

    @field_validator("locations")
    @classmethod
    def _names(cls, given: dict[str, Place]) -> dict[str, Place]:
        for name in given:
            if len(name) > 40 or not NAME.fullmatch(name):
                raise ValueError(f"`{name}` is no name: use letters and digits, with single `-` or `_` between them")
        spelt = [name.replace("-", "_").lower() for name in given]
        if len(set(spelt)) < len(spelt):
            raise ValueError("two names differ only in `-`, `_` or capitals: give one of them another")
        return given


@dataclass(frozen=True)
class Location:
    """A store as it is found from any folder."""

    name: str
    recipes: Path
    data: str
    owner: str
    gpus: str = ""


def known() -> dict[str, Location]:
    """The stores by name; {} where `SLM_LOCATIONS` names no file. Raises UserError for a file that cannot be used."""
    given = os.environ.get(VARIABLE)
    return _read(given, os.getcwd()) if given else {}


@cache
def _read(given: str, folder: str) -> dict[str, Location]:
    """The file `given`, seen from a folder; read once in a process."""
    file = places.recipe_file(Path(folder) / given)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{VARIABLE}={given} cannot be read ({why}): name a file as launch/locations.yaml.") from None
    base = file.resolve().parent
    found = {
        name: Location(name, base / place.recipes, _address(base, place.data), place.owner or name, place.gpus)
        for name, place in parsed(text, str(file), Locations).locations.items()
    }
    by_data: dict[str, str] = {}
    for location in found.values():
        other = by_data.setdefault(location.data, location.name)
        if other != location.name:
            raise UserError(
                f"{file}: `{other}` and `{location.name}` have the same `data`: give each a store of its own."
            )
    return found


def here() -> Location | None:
    """The location whose store `SLM_DATA` names; None if there is none."""
    data = _address(Path.cwd(), places.data())
    return next((location for location in known().values() if location.data == data), None)


def take_gpus() -> None:
    """At a terminal, use only the GPUs of the location of the store in use; a choice that was made already stays.

    The UI's servers have it from their module. It counts only before torch looks at the GPUs.
    """
    location = here()
    if location is not None and location.gpus:
        os.environ.setdefault(VISIBLE, location.gpus)


def store_name() -> str:
    """The name of the store in use; "" where the stores have no names."""
    location = here()
    return location.name if location is not None else ""


def scoped(recipe: str) -> str:
    """What tells a recipe from those of the same name in other stores: `ara/notes`; its name where there are none."""
    return "/".join(filter(None, (store_name(), recipe)))


def _address(base: Path, given: str) -> str:
    return given.rstrip("/") if "://" in given else os.path.abspath(base / given)
