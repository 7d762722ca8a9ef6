"""The models: what each is trained from, how it is trained, and what it is evaluated on.

The graph, the jobs, the assets, cards, lineage, the registry and the summary all read this table. To add a model, add
an objective (a file in `objectives/`) and an entry here. A recipe with `base` starts from an imported model instead of
a pretrained one: `models_of` gives the models of a recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.base_model import importing
from pipeline.context import Inputs, RunContext
from pipeline.store.artifact import Artifact
from pipeline.training import teacher_logits
from pipeline.training.objectives import (
    distillation,
    fine_tuning,
    preference,
    pretraining,
    reinforcement,
    reward_model,
)
from pipeline.training.planning.plan import Pretraining

if TYPE_CHECKING:
    from pipeline.recipe import Recipe


@dataclass(frozen=True)
class TrainedModel:
    """One kind of trained model."""

    name: str  # of the asset; its evaluation has the same name with `_evaluation` instead of `_model`
    base: str  # the model that it starts from; "" if none
    data: tuple[str, ...]  # artifacts that it learns from
    block: str  # of the recipe: its settings
    version: str
    make: Callable[[RunContext, Inputs, Any], Artifact]
    adjective: str  # "fine-tuned"
    description: str
    settings: Callable[[Recipe], Any]
    after: tuple[str, ...] = ()  # artifacts that are made before it although they are not its inputs
    measured_on: tuple[str, ...] = ()  # data whose held-back part its evaluation reads
    answers: bool = True  # it was trained to answer, not only to continue text
    loss_falls: bool = True  # a falling loss shows that the model learns
    trained: bool = True  # here; else it was imported

    @property
    def short(self) -> str:
        return self.name.removesuffix("_model")

    @property
    def evaluation(self) -> str:
        return f"{self.short}_evaluation"

    @property
    def job(self) -> str:
        """The job that trains and evaluates it."""
        return {"pretrained": "pretrain_job"}.get(self.short, f"{self.short}_job")


PRETRAINED, IMPORTED = "pretrained_model", importing.ASSET  # one of these is the start

TRAINED_MODELS: tuple[TrainedModel, ...] = (
    TrainedModel(
        name=IMPORTED,
        base="",
        data=(),
        block="base",
        version=importing.VERSION,
        make=importing.make,
        adjective="imported",
        description=(
            "The downloaded model that the recipe starts from, checked, with its own tokenizer and its licence. It "
            "takes the place of a pretrained model."
        ),
        settings=lambda recipe: recipe.base,
        measured_on=("instruction_data",),
        trained=False,
    ),
    TrainedModel(
        name=PRETRAINED,
        base="",
        data=("token_shards", "tokenizer"),
        block="pretraining",
        version=pretraining.VERSION,
        make=pretraining.make,
        adjective="pretrained",
        description=(
            "A language model trained on the token shards. Its folder is self-contained: chatting with "
            "the model or sharing it needs nothing else."
        ),
        settings=lambda recipe: pretraining_of(recipe),
        after=("training_plan",),
        answers=False,
    ),
    TrainedModel(
        name=distillation.ASSET,
        base="",
        data=("token_shards", "tokenizer", teacher_logits.ASSET),
        block="distillation",
        version=distillation.VERSION,
        make=distillation.make,
        adjective="distilled",
        description="A model of the recipe's shape, pretrained on the text and on what teachers say of it.",
        settings=lambda recipe: distillation_of(recipe),
        after=("training_plan",),
        answers=False,
    ),
    TrainedModel(
        name="sft_model",
        base=PRETRAINED,
        data=("instruction_data",),
        block="sft",
        version=fine_tuning.VERSION,
        make=fine_tuning.make,
        adjective="fine-tuned",
        description="The pretrained model, fine-tuned on conversations; the loss counts the assistant's words only.",
        settings=lambda recipe: recipe.sft,
        measured_on=("instruction_data",),
    ),
    TrainedModel(
        name="preference_model",
        base="sft_model",
        data=("preference_data",),
        block="preference",
        version=preference.VERSION,
        make=preference.make,
        adjective="preference-tuned",
        description="The fine-tuned model, moved towards preferred answers (DPO) and held close to where it started.",
        settings=lambda recipe: recipe.preference,
        measured_on=("instruction_data", "preference_data"),
        loss_falls=False,
    ),
    TrainedModel(
        name=reinforcement.ASSET,
        base="sft_model",
        data=("instruction_data",),
        block="reinforcement",
        version=reinforcement.VERSION,
        make=reinforcement.make,
        adjective="reinforced",
        description="The fine-tuned model, trained on what its own answers are worth (GRPO or PPO).",
        settings=lambda recipe: recipe.reinforcement,
        measured_on=("instruction_data",),
        loss_falls=False,
    ),
)
# Models of a recipe that has their block, and of no other.
ON_REQUEST = (distillation.ASSET, reinforcement.ASSET)
BY_NAME = {model.name: model for model in TRAINED_MODELS}
MODELS = tuple(BY_NAME)
EVALUATIONS = {model.evaluation: model for model in TRAINED_MODELS}


def models_of(recipe: Recipe) -> tuple[TrainedModel, ...]:
    """The models of a recipe, each after its base: they start from the imported model or from a pretrained one."""
    start, other = (IMPORTED, PRETRAINED) if recipe.base is not None else (PRETRAINED, IMPORTED)
    missing = {name for name in ON_REQUEST if getattr(recipe, BY_NAME[name].block) is None}
    found = []
    for model in TRAINED_MODELS:
        if model.name == other or model.name in missing:
            continue
        if model.base == PRETRAINED:
            model = replace(model, base=start)
        if model.name == reinforcement.ASSET and recipe.reinforcement is not None and recipe.reinforcement.judged:
            model = replace(model, data=(*model.data, reward_model.ASSET))
        found.append(model)
    return tuple(found)


def enabled(recipe: Recipe, model: TrainedModel) -> bool:
    """Whether the recipe requests this model: its own block and those of all models that it starts from are enabled."""
    own = getattr(getattr(recipe, model.block), "enabled", True)
    return own and (not model.base or enabled(recipe, BY_NAME[model.base]))


def bases_of(name: str) -> list[str]:
    """The models that a model was trained from, the earliest first."""
    base = BY_NAME[name].base if name in BY_NAME else ""
    if base == PRETRAINED:
        return [IMPORTED, PRETRAINED]  # one of the two
    return [*bases_of(base), base] if base else []


def pretraining_of(recipe: Recipe) -> Pretraining:
    """The settings of pretraining: the network's shape, the run, and the weights of the recipe's sources."""
    return Pretraining(recipe.model, recipe.pretraining, {source.name: source.weight for source in recipe.sources})


def distillation_of(recipe: Recipe) -> distillation.Distillation | None:
    """The settings of a recipe's student, if it has one."""
    if recipe.distillation is None:
        return None
    return distillation.Distillation(recipe.distillation, pretraining_of(recipe))
