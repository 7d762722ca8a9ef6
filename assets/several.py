"""Several recipes in one Dagster, of one store or of several.

`SLM_RECIPE` may name a folder, and `SLM_LOCATIONS` a file with several stores (pipeline/locations.py). Each store is a
code location, so a process of its own, which knows one store only; each of its recipes is a repository in it. (A
process for each recipe would take some 350 MB each: docs/results/operating.md.) `make ui` writes a module for each
store below `dagster_home/recipes/`, and a workspace that names them. The module looks into the folder of recipes when
it is loaded, so *Reload* in the UI finds a new one. Keys begin with the names of store and recipe (assets/keys.py).
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from dagster import RepositoryDefinition
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME

from assets import keys, repository
from pipeline import locations, owner, places
from pipeline.errors import UserError
from pipeline.recipe import DEFAULT_RECIPE, load
from pipeline.recipe_text import load_yaml

FOLDER = "recipes"  # below Dagster's home
WORKSPACE = "workspace.yaml"
INDEX = "locations.json"  # which module is of which store and recipes, for runs at a terminal
# Dagster imports the file as a module of the same name, which would stand for a package that is called like the store.
FILE = "slm_location_{name}.py"
# A recipe is found by `__getattr__`, so only if the module has no other thing of that name.
MODULE = '''"""The recipes of {recipes} as a code location; written by `make ui`."""

import os as __os

__os.environ.update({environment!r})
from assets import several as __several  # noqa: E402

__getattr__, __dir__ = __several.lazily({recipes!r}, {store!r})
'''


@dataclass(frozen=True)
class Shown:
    """A code location: a store and the recipes that it holds."""

    name: str  # of the location
    store: str  # its name; "" where stores have none
    recipes: str  # a folder, or the only one
    data: str
    owner: str = ""
    gpus: str = ""

    def environment(self) -> dict[str, str]:
        """What the processes of the location find set."""
        given = {"SLM_DATA": self.data, owner.VARIABLE: self.owner, locations.VISIBLE: self.gpus}
        return {name: value for name, value in given.items() if value}


def chosen() -> list[Shown]:
    """What `SLM_LOCATIONS` names, else the folder that `SLM_RECIPE` names; [] if it names one recipe, or nothing.

    Raises UserError for a file of locations that cannot be used.
    """
    several = [
        Shown(keys.as_name(of.name), keys.as_name(of.name), str(of.recipes.resolve()), of.data, of.owner, of.gpus)
        for of in locations.known().values()
    ]
    if several:
        return several
    given = os.environ.get("SLM_RECIPE")
    found = places.recipe_file(given) if given else None
    if found is None or not found.is_dir():
        return []
    return [Shown(keys.as_name(found.resolve().name), "", str(found.resolve()), data_here())]


def data_here() -> str:
    """The store in use, as it is named from any folder."""
    given = places.data()
    return given.rstrip("/") if "://" in given else os.path.abspath(given)


def recipes_in(folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """(name -> file of every recipe in the folder itself, name -> why a file of it is none).

    A recipe that stands alone, in place of a folder, is taken as it is. YAML files that are no recipes, such as a
    catalogue of data sets, have no `name` and no `sources`, and are left out. Raises UserError if there is no recipe.
    What is wrong within a recipe is found when it is loaded.
    """
    found: dict[str, Path] = {}
    wrong: dict[str, str] = {}
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]) if folder.is_dir() else [folder]
    for path in files:
        try:
            content, _ = load_yaml(path.read_text(encoding="utf-8"), path.name)
        except (OSError, ValueError) as error:
            wrong[f"broken_{keys.as_name(path.stem)}"] = f"{path.name} cannot be read: {error}"
            continue
        except UserError as error:
            wrong[f"broken_{keys.as_name(path.stem)}"] = str(error)
            continue
        if not isinstance(content, dict) or not isinstance(content.get("name"), str):
            if isinstance(content, dict) and "sources" in content:
                wrong[f"broken_{keys.as_name(path.stem)}"] = (
                    f"{path.name} has sources and no `name`: write one, a word (`name: letters`; a number in quotes)."
                )
            continue
        name = keys.as_name(content["name"])
        if name in found:
            wrong[f"broken_{keys.as_name(path.stem)}"] = (
                f"{found[name].name} and {path.name} are both called `{name}`: give one of them another `name`."
            )
            continue
        found[name] = path.resolve()
    if not found and not wrong:
        raise UserError(f"There is no recipe in {folder}: `slm init FOLDER --out {folder}/first.yaml` writes one.")
    return found, wrong


def mistakes(shown: list[Shown]) -> list[str]:
    """What is wrong with recipes, a sentence each; the others are shown all the same. Raises UserError as
    `recipes_in` does."""
    told: list[str] = []
    for location in shown:
        found, wrong = recipes_in(Path(location.recipes))
        told += wrong.values()
        for path in found.values():
            try:
                load(path)
            except UserError as error:
                told.append(str(error))
    return told


# -- the module of a location ------------------------------------------------------------------------------------------


def lazily(recipes: str, store: str) -> tuple[Callable[[str], RepositoryDefinition], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of the module of a location: a repository for each recipe, made when it is asked for.

    A server asks for all of them; a run only for its own, and then its process is one of that recipe alone.
    """
    return lambda name: _repository(recipes, store, name), lambda: [*_listed(recipes)[0], *_listed(recipes)[1]]


@cache
def _listed(recipes: str) -> tuple[dict[str, Path], dict[str, str]]:
    return recipes_in(Path(recipes))


@cache
def _repository(recipes: str, store: str, name: str) -> RepositoryDefinition:
    """Raises AttributeError for a name that no recipe has, as a module does."""
    found, wrong = _listed(recipes)
    if name not in found and name not in wrong:
        raise AttributeError(name)
    os.environ[keys.PREFIX] = "/".join(filter(None, (store, name)))
    cleans_up = name == next(iter([*found, *wrong]))
    if name in wrong:
        return repository.of_a_mistake(name, wrong[name], cleans_up)
    os.environ["SLM_RECIPE"] = str(found[name])
    try:
        return repository.repository(name, load(found[name]), cleans_up)
    except UserError as error:
        return repository.of_a_mistake(name, str(error), cleans_up)


# -- the workspace -----------------------------------------------------------------------------------------------------


def write_workspace(home: Path, shown: list[Shown]) -> Path:
    """Write the module of each location, and the workspace of all, which is returned; other modules are deleted."""
    below = home.resolve() / FOLDER
    below.mkdir(parents=True, exist_ok=True)
    for old in below.glob("*.py"):
        old.unlink()
    entries = []
    for of in shown:
        module = below / FILE.format(name=of.name)
        text = MODULE.format(recipes=of.recipes, store=of.store, environment=of.environment())
        module.write_text(text, encoding="utf-8")
        file = {"relative_path": str(module), "location_name": of.name, "working_directory": str(Path.cwd())}
        entries.append({"python_file": file})
    index = {of.name: {"store": of.store, "recipes": of.recipes, "data": of.data} for of in shown}
    (below / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
    workspace = below / WORKSPACE
    workspace.write_text(yaml.safe_dump({"load_from": entries}, sort_keys=False), encoding="utf-8")
    return workspace


def forget_workspace(home: Path) -> None:
    """Runs at the terminal belong to the one recipe again, as the UI shows it."""
    for name in (WORKSPACE, INDEX):
        (home / FOLDER / name).unlink(missing_ok=True)


def adopt(recipe: str) -> tuple[str | None, str]:
    """(location, repository) of the recipe that this process runs, if the UI last showed it beside others.

    Else no location, and the repository of a location with one recipe. From then on, the keys of this process begin
    with the names of store and recipe.
    """
    alone = (None, SINGLETON_REPOSITORY_NAME)
    home, name = os.environ.get("DAGSTER_HOME"), keys.as_name(recipe)
    index = Path(home or "") / FOLDER / INDEX
    if not home or not index.exists():
        return alone
    running = places.recipe_file(os.environ.get("SLM_RECIPE") or DEFAULT_RECIPE).resolve()
    for location, of in json.loads(index.read_text(encoding="utf-8")).items():
        is_there = str(running) == of["recipes"] or str(running.parent) == of["recipes"]
        if is_there and of["data"] == data_here() and recipes_in(Path(of["recipes"]))[0].get(name) == running:
            os.environ[keys.PREFIX] = "/".join(filter(None, (of["store"], name)))
            return location, name
    return alone
