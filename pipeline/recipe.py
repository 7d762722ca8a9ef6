"""The recipe: one YAML file that configures everything and is validated completely before anything starts.

The settings of each part are defined next to the code that reads them and are put together here. All mistakes in a
file are reported at once, each with its line, and an unknown key with the closest known one.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from model.config import ModelConfig
from pipeline.conversations import instruction_data, preference_data
from pipeline.curation.stages import Curation
from pipeline.documents.execution import ExecutionSettings
from pipeline.errors import UserError
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.ingest.source import Source, check_names
from pipeline.settings import Settings
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.training.training_settings import PreferenceSettings, PretrainingSettings, SftSettings

DEFAULT_RECIPE = "recipes/demo.yaml"


class Recipe(Settings):
    """Everything that determines what is made. Only `name` and `sources` have no default."""

    name: str = Field(pattern=r"^[\w.-]+$", description="Names the folder of artifacts and the MLflow experiment")
    sources: list[Source] = Field(
        min_length=1, description="Where the text comes from; of duplicates, the document of the first source is kept"
    )
    curation: Curation = Curation()
    tokenizer: TokenizerSettings = TokenizerSettings()
    shards: ShardSettings = ShardSettings()
    model: ModelConfig = ModelConfig()
    pretraining: PretrainingSettings = PretrainingSettings()
    instructions: instruction_data.Settings = instruction_data.Settings()
    sft: SftSettings = SftSettings()
    preferences: preference_data.Settings = preference_data.Settings()
    preference: PreferenceSettings = PreferenceSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    execution: ExecutionSettings = ExecutionSettings()
    seed: int = Field(1, ge=0, description="Seed of everything that is random")

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: list[Source]) -> list[Source]:
        check_names(sources)
        return sources


def load(path: str | Path | None = None) -> Recipe:
    """The recipe at `path` (default: `SLM_RECIPE`, else the demo). Raises UserError that lists all mistakes in it."""
    chosen = Path(path or os.environ.get("SLM_RECIPE") or DEFAULT_RECIPE)
    try:
        text = chosen.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"There is no recipe at {chosen}: set SLM_RECIPE to the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The recipe {chosen} cannot be read: {error}.") from error
    return parse(text, str(chosen), base=chosen.resolve().parent)


def parse(text: str, name: str = "recipe", base: Path | None = None) -> Recipe:
    """The recipe in `text`. Relative paths in it start at `base`, the folder of the file."""
    try:
        content = yaml.safe_load(text)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{name}{place} is not YAML: {getattr(error, 'problem', error)}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{name} is not a recipe: it needs at least `name:` and `sources:`.")
    try:
        return Recipe.model_validate(content, context={"base": base or Path.cwd()})
    except ValidationError as error:
        lines = [f"{name}:{_line(tree, problem['loc'])}: {_sentence(problem)}" for problem in error.errors()]
        count = f"{len(lines)} mistakes" if len(lines) > 1 else "one mistake"
        raise UserError(f"The recipe has {count}:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _line(node: Any, location: tuple[int | str, ...]) -> int:
    """The line of a key in the YAML file, or of the innermost enclosing block that exists."""
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                break
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _sentence(problem: Any) -> str:
    location = [step for step in problem["loc"] if not str(step).startswith("function-")]
    where = ".".join(str(step) for step in location)
    if problem["type"] == "extra_forbidden":
        known = list(_block(location[:-1]).model_fields)
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}."
        return f"`{where}` is not a key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        message = "is needed and is not there"
    given = f" (given: {problem['input']!r})" if isinstance(problem["input"], str | int | float | bool) else ""
    return f"`{where}`: {message}{given}"


def _block(location: list[Any]) -> type[BaseModel]:
    """The settings class at a place of the recipe."""
    block: type[BaseModel] = Recipe
    for step in location:
        if isinstance(step, int):
            continue
        annotation: Any = block.model_fields[step].annotation if step in block.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        models = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not models:
            break
        block = models[0]
    return block
