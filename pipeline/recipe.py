"""The recipe: one YAML file that configures everything and is validated completely before anything starts.

The settings of each part are defined next to the code that reads them and are put together here. All mistakes in a
file are reported at once, each with its line, and an unknown key with the closest known one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from model.config import ModelConfig
from pipeline import places
from pipeline.base_model.base_settings import Base
from pipeline.conversations import instruction_data, preference_data
from pipeline.curation import contamination
from pipeline.curation.stages import Curation
from pipeline.documents.execution import ExecutionSettings
from pipeline.errors import UserError
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.experiments import finding
from pipeline.experiments.changes import changes_of
from pipeline.experiments.experiment_settings import NAME, Experiment, asset_of
from pipeline.experiments.worth_settings import Worth
from pipeline.ingest.source import Source, check_names
from pipeline.ingest.source_kind import OWN_WRITING, Origin, safe_name
from pipeline.recipe_text import load_yaml
from pipeline.settings import Settings, blocks_of, unknown_key
from pipeline.tokens.token_settings import ShardSettings, TokenizerSettings
from pipeline.trace.trace_settings import TraceSettings
from pipeline.training.distillation_settings import DistillationSettings
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.reinforcement_settings import ReinforcementSettings, RewardModelSettings
from pipeline.training.training_settings import PreferenceSettings, SftSettings

DEFAULT_RECIPE = "recipes/demo.yaml"
MOST_SHOWN = 100  # characters of a value in a sentence


class Recipe(Settings):
    """Everything that determines what is made. Only `name` and `sources` (without `base`) have no default."""

    name: str = Field(description="Names the folder of artifacts and the MLflow experiment")
    base: Base | None = None
    sources: list[Source] = Field(
        [],
        validate_default=True,
        description="Where the text comes from; of duplicates, the document of the first source is kept",
    )
    curation: Curation = Field(Curation(), validate_default=True)
    tokenizer: TokenizerSettings = TokenizerSettings()
    shards: ShardSettings = ShardSettings()
    model: ModelConfig = ModelConfig()
    pretraining: PretrainingSettings = PretrainingSettings()
    instructions: instruction_data.Settings = instruction_data.Settings()
    sft: SftSettings = SftSettings()
    preferences: preference_data.Settings = preference_data.Settings()
    preference: PreferenceSettings = PreferenceSettings()
    distillation: DistillationSettings | None = None
    reward_model: RewardModelSettings | None = None
    reinforcement: ReinforcementSettings | None = None
    evaluation: EvaluationSettings = EvaluationSettings()
    trace: TraceSettings = TraceSettings()
    execution: ExecutionSettings = ExecutionSettings()
    worth: Worth | None = Field(
        None, description="what each part of the data is worth (`slm worth`, `worth_job`); without the block: not asked"
    )
    experiments: dict[str, Experiment] = Field(
        {},
        description="settings to compare (`slm experiment`, `experiment_job`), by a name of your own, or by that of a"
        " shipped one, to which the block adds",
    )
    seed: int = Field(1, ge=0, lt=2**63, description="Seed of everything that is random")

    @field_validator("name")
    @classmethod
    def _safe_name(cls, name: str) -> str:
        return safe_name(name, "the recipe's name")

    @field_validator("sources")
    @classmethod
    def _names_differ(cls, sources: list[Source], info: ValidationInfo) -> list[Source]:
        if not sources and info.data.get("base", ...) is None:  # a `base` with a mistake in it is not in `data`
            raise PydanticCustomError("missing", "is needed and is not there")
        check_names(sources)
        return sources

    @field_validator("curation")
    @classmethod
    def _told_of_notes(cls, curation: Curation, info: ValidationInfo) -> Curation:
        """Stages with rules for crawled pages learn here which sources hold a person's own writing."""
        return curation.told_of(
            [source.name for source in info.data.get("sources", []) if source.judged_as in OWN_WRITING]
        )

    @field_validator("tokenizer", "model", "pretraining")
    @classmethod
    def _read(cls, block: Settings | ModelConfig, info: ValidationInfo) -> Settings | ModelConfig:
        """With `base`, nothing reads these blocks, so one that says something is a mistake."""
        if info.data.get("base") is not None and block != type(block)():
            raise ValueError("says nothing here, since `base` brings its own: leave it out")
        return block

    @field_validator("pretraining")
    @classmethod
    def _suits_the_model(cls, run: PretrainingSettings, info: ValidationInfo) -> PretrainingSettings:
        model = info.data.get("model")
        for name in ("predict_ahead", "masked_share"):
            if model is not None and not model.causal and getattr(run, name):
                raise ValueError(
                    f"`{name}` needs a model that predicts the next token: leave it out, or `causal: false`"
                )
        if run.predict_ahead and run.masked_share:
            raise ValueError("`predict_ahead` does not go with `masked_share`: leave one of them out")
        if run.mask_words and not run.masked_share and (model is None or model.causal):
            raise ValueError("`mask_words` needs `masked_share`, or `causal: false` in `model`: leave it out")
        return run

    @field_validator("experiments")
    @classmethod
    def _can_be_run(cls, experiments: dict[str, Experiment]) -> dict[str, Experiment]:
        known: dict[str, str] = {}
        for name in experiments:
            other = known.setdefault(asset_of(name), name)
            if other != name:
                raise ValueError(f"`{other}` and `{name}` would be kept in one place: rename one of them")
            if NAME.fullmatch(name) is None:
                raise ValueError(f"`{name}` names an experiment: use small Latin letters, digits, - and _")
            try:
                changes_of(finding.named(name, experiments)[1])
            except UserError as error:
                raise ValueError(f"`{name}`: {error}".removesuffix(".")) from None
        return experiments

    @field_validator("reinforcement")
    @classmethod
    def _has_its_judge(cls, block: ReinforcementSettings | None, info: ValidationInfo) -> ReinforcementSettings | None:
        if block is not None and block.judged and info.data.get("reward_model", ...) is None:
            raise ValueError("a reward of `kind: model` needs a `reward_model`: add that block, `{}` for its defaults")
        return block

    @field_validator("distillation")
    @classmethod
    def _can_be_taught(cls, block: DistillationSettings | None, info: ValidationInfo) -> DistillationSettings | None:
        """What the other blocks say of pretraining has to hold for a student, too."""
        model, run = info.data.get("model"), info.data.get("pretraining")
        if block is None or model is None or run is None:
            return block
        if info.data.get("base") is not None:
            raise ValueError("says nothing here, since `base` is not pretrained: leave it out")
        if not model.causal:
            raise ValueError("needs a model that predicts the next token: leave `causal: false` out of `model`")
        if run.z_loss:
            raise ValueError("has no z-loss: leave `z_loss` out of `pretraining`")
        if run.predict_ahead:
            raise ValueError("has no heads that look further ahead: leave `predict_ahead` out of `pretraining`")
        if run.masked_share:
            raise ValueError("has no masked sequences: leave `masked_share` out of `pretraining`")
        if block.teacher is not None and block.teacher.context < model.context:
            raise ValueError(
                f"`teacher` has a context of {block.teacher.context} tokens and the student one of {model.context}:"
                " give it as many"
            )
        return block

    def origins(self) -> list[Origin]:
        """Everything that the recipe reads: sources, tuning data and evaluation sets."""
        contamination_settings = self.curation.of(contamination.STAGE)
        assert isinstance(contamination_settings, contamination.Settings)
        sets = contamination_settings.sets
        return [*self.sources, *self.instructions.sources, *self.preferences.sources, *sets]


def load(path: str | Path | None = None) -> Recipe:
    """The recipe at `path` (default: `SLM_RECIPE`, else the demo). Raises UserError that lists all mistakes in it."""
    chosen, text = read(path)
    return parse(text, str(chosen), base=chosen.resolve().parent)


def read(path: str | Path | None = None) -> tuple[Path, str]:
    """(file, its text) of the recipe at `path`, as `load` finds it. Raises UserError if it cannot be read."""
    chosen = places.recipe_file(path or os.environ.get("SLM_RECIPE") or DEFAULT_RECIPE)
    try:
        return chosen, chosen.read_text(encoding="utf-8")
    except FileNotFoundError:
        looked = f"looked here and in the project's folder, {places.project_folder()}"
        raise UserError(
            f"There is no recipe at {chosen} ({looked}): name a YAML file with `--recipe` or SLM_RECIPE, or write a"
            " first one with `slm init FOLDER`."
        ) from None
    except IsADirectoryError:
        inside = ", ".join(sorted(path.name for path in chosen.glob("*.yaml"))) or "none"
        raise UserError(
            f"{chosen} is a folder, whose recipes `make ui` shows side by side; for this, name one of them with"
            f" `--recipe` or SLM_RECIPE: {inside}."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The recipe {chosen} cannot be read: {error}.") from error


def parse(
    text: str,
    name: str = "recipe",
    base: Path | None = None,
    change: Callable[[dict[str, Any]], Any] | None = None,
    changed_by: str = "",
) -> Recipe:
    """The recipe in `text`. Relative paths in it start at `base`, the folder of the file.

    change: makes other content of what the file says, before it is validated. changed_by: what mistakes are then blamed
    on, as the file without the change has none.
    """
    content, tree = load_yaml(text, name)
    if not isinstance(content, dict):
        raise UserError(f"{name} is not a recipe: it needs at least `name:` and `sources:`.")
    try:
        return Recipe.model_validate(change(content) if change else content, context={"base": base or Path.cwd()})
    except ValidationError as error:
        if changed_by:
            found = "; ".join(_sentence(problem) for problem in _problems(error))
            raise UserError(f"{changed_by}: {found}{'' if found.endswith(('.', '?')) else '.'}") from None
        raise UserError(mistakes(error, name, tree)) from None


def mistakes(error: ValidationError, name: str, tree: Any) -> str:
    """All mistakes in a recipe, each with its line."""
    lines = [f"{name}:{_line(tree, _place(problem).keys)}: {_sentence(problem)}" for problem in _problems(error)]
    count = f"{len(lines)} mistakes" if len(lines) > 1 else "one mistake"
    return f"The recipe has {count}:\n" + "\n".join(f"  {line}" for line in lines)


def _line(node: Any, location: list[int | str]) -> int:
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


def _problems(error: ValidationError) -> list[Any]:
    """The mistakes, each once.

    A list that is too short is left out if all in it is wrong, which is said. A key that takes a word or a number has
    one mistake, not one for each.
    """
    problems = error.errors()
    within = {problem["loc"][:end] for problem in problems for end in range(len(problem["loc"]))}
    words = {problem["loc"][:-1]: problem for problem in problems if str(problem["loc"][-1]).startswith("literal[")}
    kept: list[Any] = []
    for problem in problems:
        place, number = problem["loc"][:-1], isinstance(problem["input"], int | float)
        if problem["type"] == "too_short" and problem["loc"] in within:
            continue
        if place not in words:
            kept.append(problem)
        elif (problem is words[place]) != number:  # a number out of its range, or something else
            message = problem["msg"] if number else f"{problem['msg']} or a number"
            kept.append({**problem, "loc": place, "msg": message})
    return kept


class Place(NamedTuple):
    """A place of the recipe."""

    keys: list[int | str]  # as they stand in the file
    block: type[BaseModel]  # around the last key
    kinds: dict[str, type[BaseModel]]  # what `block` could be instead; {} where it is of no kind


def _place(problem: Any) -> Place:
    """Where a mistake is. Pydantic's words for it also hold validators (`function-before[...]`) and kinds of blocks."""
    place = Place([], Recipe, {})
    choices: dict[str, type[BaseModel]] = {}
    for step in problem["loc"]:
        if str(step).startswith("function-"):
            continue
        if step in choices:
            place, choices = Place(place.keys, choices[step], choices), {}
            continue
        place.keys.append(step if isinstance(step, int | str) else str(step))
        field = place.block.model_fields.get(step)
        if field is not None:
            choices = blocks_of(field.annotation)
            if len(choices) == 1:
                place, choices = Place(place.keys, next(iter(choices.values())), {}), {}
    if problem["type"] == "union_tag_invalid":
        place.keys.append("kind")
    return place


def _sentence(problem: Any) -> str:
    place = _place(problem)
    where = ".".join(str(step) for step in place.keys)
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in ("extra_forbidden", "unknown_key"):
        return f"`{where}` is not a key{_of_other_kinds(place) or '; ' + (context.get('hint') or _near(place))}"
    if kind == "union_tag_invalid":
        known = [tag.strip("'") for tag in context["expected_tags"].split(", ")]
        return f"`{where}`: `{context['tag']}` is no kind; {unknown_key(context['tag'], known)}"
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "missing":
        message = "is needed and is not there"
    if kind == "string_type" and isinstance(problem["input"], date):
        message = f"`{problem['input']}` is a date to YAML: put it in quotes"
    return f"`{where}`: {message}{_given(problem['input'])}"


def _given(value: Any) -> str:
    """How the sentence about a value ends; of a long one its start."""
    if not isinstance(value, str | int | float | bool):
        return ""
    shown = repr(value)
    return f" (given: {shown if len(shown) <= MOST_SHOWN else shown[:MOST_SHOWN] + '...'})"


def _near(place: Place) -> str:
    return unknown_key(str(place.keys[-1]), _keys(place.block))


def _of_other_kinds(place: Place) -> str | None:
    """How the sentence about a key ends that blocks of other kinds have."""
    having = [f"`{kind}`" for kind, block in place.kinds.items() if place.keys[-1] in _keys(block)]
    own = place.block.model_fields["kind"].default if having else None
    if not having:
        return None
    listed = " and ".join(filter(None, (", ".join(having[:-1]), having[-1])))
    return f" of `kind: {own}`, but of {listed}."


def _keys(block: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in block.model_fields.items()]
