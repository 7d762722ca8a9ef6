"""Where experiments are: shipped files in `experiments/`, files of one's own, and the recipe's block `experiments`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import places
from pipeline.errors import UserError
from pipeline.experiments.changes import merged
from pipeline.experiments.experiment_settings import NAME, Experiment
from pipeline.recipe_text import load_yaml
from pipeline.settings_file import in_words

FOLDER = places.CODE / "experiments"
LONGEST_NAME = 60
# Names whose results would be kept where others are: what each model scores, and the experiment of `slm worth`.
TAKEN = ("scores", "worth")


def shipped() -> dict[str, Path]:
    """The experiments that come with the project, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def named(name: str, of_recipe: Mapping[str, Experiment]) -> tuple[str, Experiment]:
    """(name, experiment) of a file, of the recipe's block, or of a shipped one, to which that block adds.

    Raises UserError if there is none of this name, or if it has mistakes.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        name = name_of(path)
    if name in TAKEN:
        raise UserError(f"An experiment cannot be called `{name}`, a name that is taken: give it another.")
    if path.suffix in (".yaml", ".yml"):
        return name, read(path)
    files = shipped()
    if name in of_recipe:
        own = of_recipe[name].model_dump(exclude_unset=True)
        return name, checked(merged(_content(files[name]), own), name) if name in files else of_recipe[name]
    if name in files:
        return name, read(files[name])
    known = [*of_recipe, *(file for file in files if file not in of_recipe)]
    near = get_close_matches(name, known, n=1)
    raise UserError(
        f"There is no experiment `{name}`" + (f"; did you mean `{near[0]}`?" if near else f": {', '.join(known)}.")
    )


def name_of(path: Path) -> str:
    """The name of an experiment in a file: the file's, romanised where it is not Latin, as names of recipes are."""
    from anyascii import anyascii

    spelt = re.sub(r"[^a-z0-9_-]+", "_", anyascii(path.stem).lower()).strip("_-")[:LONGEST_NAME]
    if NAME.fullmatch(spelt) is None:
        raise UserError(f"{path.name} names an experiment: give it a name of letters or digits.")
    return spelt


def read(path: Path) -> Experiment:
    """The experiment in a file. Raises UserError with the mistakes in it."""
    return checked(_content(path), str(path))


def checked(content: Any, name: str) -> Experiment:
    """Raises UserError that names each mistake in the content of an experiment."""
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        raise UserError(f"The experiment {name} has mistakes: {in_words(error, Experiment)}") from None


def _content(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The experiment {path} cannot be read: {error}.") from error
    content, _ = load_yaml(text, str(path))
    if not isinstance(content, dict):
        raise UserError(f"{path} is not an experiment: it needs at least a `grid` or `cells`.")
    return content
