"""Several recipes in one Dagster: `SLM_RECIPE` names a folder, and each recipe in it has a code location of its own.

`make ui` writes a module for each recipe below `dagster_home/recipes/`, which says which recipe it is and then takes
the project's definitions, and a workspace that names them. Each location is a process of its own, so everything else
knows one recipe only. Keys begin with the recipe's name (assets/keys.py).
"""

import os
from pathlib import Path

import yaml

from assets import keys
from pipeline.errors import UserError
from pipeline.places import recipe_file
from pipeline.recipe import DEFAULT_RECIPE, load

FOLDER = "recipes"  # below Dagster's home
WORKSPACE = "workspace.yaml"
MODULE = '''"""The recipe `{name}` as a code location; written by `make ui`."""

import os

os.environ["SLM_RECIPE"] = {recipe!r}
os.environ[{variable!r}] = {prefix!r}
from assets.definitions import defs  # noqa: E402, F401
'''


def chosen() -> Path | None:
    """The folder that `SLM_RECIPE` names; None if it names one recipe, or nothing."""
    given = os.environ.get("SLM_RECIPE")
    found = recipe_file(given) if given else None
    return found if found is not None and found.is_dir() else None


def recipes_in(folder: Path) -> dict[str, Path]:
    """Name -> file of every recipe in the folder itself. Raises UserError for none, a broken one, or two of one name.

    YAML files that are no recipes, such as a catalogue of data sets, have no `name` or no text, and are left out.
    """
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or "name" not in content:
            continue
        name = keys.as_name(load(path).name)
        if name in found:
            raise UserError(
                f"{found[name].name} and {path.name} are both called `{name}`: give one of them another `name`."
            )
        found[name] = path.resolve()
    if not found:
        raise UserError(f"There is no recipe in {folder}: `slm init FOLDER --out {folder}/first.yaml` writes one.")
    return found


def write_workspace(home: Path, recipes: dict[str, Path]) -> Path:
    """Write the module of each recipe, and the workspace of all, which is returned; modules of others are deleted."""
    below = home.resolve() / FOLDER
    below.mkdir(parents=True, exist_ok=True)
    for old in below.glob("*.py"):
        if old.stem not in recipes:
            old.unlink()
    entries = []
    for name, recipe in recipes.items():
        module = below / f"{name}.py"
        module.write_text(
            MODULE.format(name=name, recipe=str(recipe), variable=keys.PREFIX, prefix=name), encoding="utf-8"
        )
        file = {"relative_path": str(module), "location_name": name, "working_directory": str(Path.cwd())}
        entries.append({"python_file": file})
    workspace = below / WORKSPACE
    workspace.write_text(yaml.safe_dump({"load_from": entries}, sort_keys=False), encoding="utf-8")
    return workspace


def forget_workspace(home: Path) -> None:
    """Runs at the terminal belong to the one recipe again, as the UI shows it."""
    (home / FOLDER / WORKSPACE).unlink(missing_ok=True)


def adopt(recipe: str) -> str | None:
    """The location of the recipe that this process runs, if the UI last showed several with it among them; else None.

    From then on, the keys of this process begin with its name.
    """
    home = os.environ.get("DAGSTER_HOME")
    name = keys.as_name(recipe)
    below = Path(home or "") / FOLDER
    if not home or not (below / WORKSPACE).exists() or not (below / f"{name}.py").exists():
        return None
    running = recipe_file(os.environ.get("SLM_RECIPE") or DEFAULT_RECIPE).resolve()
    if f"= {str(running)!r}\n" not in (below / f"{name}.py").read_text(encoding="utf-8"):
        return None
    os.environ[keys.PREFIX] = name
    return name
