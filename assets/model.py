"""Groups `model` and `tuning_data`: the plan, the models, and the data that they are tuned on.

A training runs in a separate process (see training_process.py), reports its progress as observations of its asset, and
logs its curves to MLflow.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl
from dagster import MetadataValue

from assets import checks, display
from assets.asset import AssetDescription
from pipeline import tracking
from pipeline.conversations import instruction_data, preference_data
from pipeline.curation import tuning_data
from pipeline.graph import Project
from pipeline.inspect.curves import loss_curve
from pipeline.inspect.village_pictures import facts_over_tokens
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact
from pipeline.trained_models import TrainedModel, models_of, pretraining_of
from pipeline.training import teacher_logits
from pipeline.training.objectives import distillation, reward_model
from pipeline.training.planning import plan

TRAINED = ("python", "pytorch", "mlflow")


def show_facts(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    return display.of_facts(artifact)


def show_model(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """The loss curve, timings, the plan compared with the measurements, and the link to the MLflow run."""
    shown = dict(display.of_facts(artifact))
    curve = loss_curve(artifact)
    if curve is not None:
        shown["loss"] = display.picture(curve)
    facts = facts_over_tokens(artifact)
    if facts is not None:
        shown["facts of the village known"] = display.picture(facts)
    timings = {name: value for name, value in artifact.manifest["seconds"].items() if isinstance(value, int | float)}
    if timings:
        shown["time and speed"] = display.table([{"what": name, "value": value} for name, value in timings.items()])
    planned = project.store.current("training_plan")
    if planned is not None:
        seconds = planned.manifest["seconds"].get("planned_training")  # on a CPU, and on a card that is known
        expected = {**planned.facts, **({"training": seconds} if seconds else {})}
        shown["plan against measured"] = display.table(compared(expected, {**artifact.facts, **timings}))
    run = tracking.find(artifact.manifest["fingerprint"])
    if run:
        shown["MLflow run"] = MetadataValue.url(tracking.link(run))
    return shown


def compared(planned: Mapping[str, Any], measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Planned and measured values of every figure that both have, and of memory."""
    rows = [
        {"what": name, "planned": str(value), "measured": str(measured[name])}
        for name, value in planned.items()
        if name in measured and not isinstance(value, dict | list)
    ]
    memory = planned.get("memory_mib", {}).get("total")
    peak = measured.get("memory_bytes")
    return [*rows, {"what": "memory_mib", "planned": str(memory), "measured": str(peak and round(peak / 2**20))}]


def show_examples(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """Conversations or preferences: their number by source, and a few examples."""
    shown = dict(display.of_facts(artifact))
    if "train.parquet" in artifact.manifest["files"]:
        frame = pl.read_parquet(artifact.file("train.parquet"), n_rows=6)
        rows = [{name: display.excerpt(_text(value)) for name, value in row.items()} for row in frame.to_dicts()]
        shown["sample"] = display.table(rows)
    return shown


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " | ".join(
            f"{turn['role']}: {turn['content']}" if isinstance(turn, dict) else str(turn) for turn in value
        )
    return "" if value is None else str(value)


PLAN = AssetDescription(
    name="training_plan",
    description=(
        "The cost of pretraining, computed before it starts: parameters, memory, steps, time and learning rate on this "
        "machine's device."
    ),
    kinds=("python", "pytorch"),
    version=plan.VERSION,
    made_by=plan.make,
    show=show_facts,
    checks=(checks.FILES_COMPLETE,),
)
INSTRUCTIONS = AssetDescription(
    name="instruction_data",
    description="Conversations to fine-tune on, with some held back for evaluation.",
    kinds=("python", "polars", "parquet"),
    version=instruction_data.VERSION,
    made_by=instruction_data.make,
    show=show_examples,
    checks=(checks.NOT_EMPTY,),
)
CURATED_INSTRUCTIONS = AssetDescription(
    name=tuning_data.ASSET,
    description="The conversations for fine-tuning after the stages that the recipe names under `instructions.stages`.",
    kinds=("python", "polars", "parquet"),
    version=tuning_data.VERSION,
    made_by=tuning_data.make,
    show=show_examples,
    checks=(checks.NOT_EMPTY,),
)
PREFERENCES = AssetDescription(
    name="preference_data",
    description="Pairs of a better and a worse answer for preference tuning, with some held back for evaluation.",
    kinds=("python", "polars", "parquet"),
    version=preference_data.VERSION,
    made_by=preference_data.make,
    show=show_examples,
    checks=(checks.NOT_EMPTY,),
)


REWARD = AssetDescription(
    name=reward_model.ASSET,
    description=(
        "A model that gives an answer a score, trained on which of two answers is better; its accuracy on held-back"
        " pairs, with an interval, is in its facts."
    ),
    kinds=TRAINED,
    version=reward_model.VERSION,
    made_by=reward_model.make,
    show=show_model,
    checks=(checks.LEARNED,),
    settings="reward_model",
    on_device=True,
)


TEACHER_LOGITS = AssetDescription(
    name=teacher_logits.ASSET,
    description="What the teachers say of each next token of the training text: their likeliest tokens.",
    kinds=("python", "pytorch"),
    version=teacher_logits.VERSION,
    made_by=teacher_logits.make,
    show=show_facts,
    checks=(checks.FILES_COMPLETE,),
    on_device=True,
)


def teacher(taught: distillation.Teacher) -> AssetDescription:
    """The asset of a teacher."""
    return AssetDescription(
        name=taught.asset,
        description="A model that is pretrained from a seed of its own, to teach another one.",
        kinds=TRAINED,
        version=distillation.VERSION,
        made_by=distillation.make_teacher,
        show=show_model,
        checks=(checks.LEARNED,),
        settings="distillation",
        on_device=True,
    )


def teaching(recipe: Recipe) -> list[AssetDescription]:
    """The assets that the student of a recipe needs, if it has one."""
    if recipe.distillation is None:
        return []
    return [*map(teacher, distillation.teachers_of(recipe.distillation, pretraining_of(recipe))), TEACHER_LOGITS]


def trained(model: TrainedModel) -> AssetDescription:
    """The asset of a trained model."""
    return AssetDescription(
        name=model.name,
        description=model.description,
        kinds=TRAINED,
        version=model.version,
        made_by=model.make,
        show=show_model,
        checks=(checks.LEARNED if model.loss_falls else checks.FINITE,),
        settings=model.block,
        on_device=True,
    )


def imported(model: TrainedModel) -> AssetDescription:
    """The asset of a model from elsewhere."""
    return AssetDescription(
        name=model.name,
        description=model.description,
        kinds=("python", "pytorch"),
        version=model.version,
        made_by=model.make,
        show=show_facts,
        checks=(checks.FILES_COMPLETE,),
    )


def described(recipe: Recipe) -> list[AssetDescription]:
    models = [trained(model) if model.trained else imported(model) for model in models_of(recipe)]
    curated = [CURATED_INSTRUCTIONS] if recipe.instructions.stages else []
    rewards = [REWARD] if recipe.reward_model is not None else []
    return [INSTRUCTIONS, *curated, PREFERENCES, PLAN, *teaching(recipe), *models, *rewards]
