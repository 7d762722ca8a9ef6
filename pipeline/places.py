"""Where things are when nobody says so: the project's folder, its recipes, the artifacts and the records of MLflow.

Commands work from any folder. Whatever is written goes to the project's folder, so that standing somewhere else never
begins a second, empty store there.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

CODE = Path(__file__).resolve().parent.parent
MARK = "workspace.yaml"  # what a project's folder has


def project_folder() -> Path:
    """The folder in which one stands if it is a project's, else that of this code, if it was installed from one."""
    here = Path.cwd()
    return CODE if not (here / MARK).is_file() and (CODE / MARK).is_file() else here


def data() -> str:
    """Where artifacts are: `SLM_DATA`, else `data` in the project's folder (shown as such where one stands there)."""
    given = os.environ.get("SLM_DATA")
    if given:
        return given
    home = project_folder()
    return "data" if home == Path.cwd() else str(home / "data")


def recipe_file(given: str | os.PathLike[str]) -> Path:
    """The recipe of this name: from the folder in which one stands, else from the project's folder."""
    chosen = Path(given)
    there = project_folder() / chosen
    return there if not chosen.is_absolute() and not chosen.exists() and there.exists() else chosen


def in_commands(recipe: str | os.PathLike[str]) -> tuple[str, str]:
    """How commands that are suggested name a recipe that neither $SLM_RECIPE nor a default names.

    Returns (what stands before `dagster` or `make`, with the way to the project's folder; what stands after `slm`).
    """
    home = project_folder()
    if home == Path.cwd():
        named = shlex.quote(os.fspath(recipe))
        return f"SLM_RECIPE={named} ", f"--recipe {named} "
    named = shlex.quote(str(recipe_file(recipe).resolve()))
    return f"cd {shlex.quote(str(home))} && SLM_RECIPE={named} ", f"--recipe {named} "
