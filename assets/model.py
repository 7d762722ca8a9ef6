"""Groups `model` and `tuning_data`: the plan, the models, and the data that they are tuned on.

A training runs in a process of its own (see training_process.py), notes its progress as observations of its asset, and
leaves its curves in MLflow.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl
from dagster import MetadataValue

from assets import checks, display
from assets.asset import Described
from pipeline import tracking
from pipeline.conversations import instruction_data, preference_data
from pipeline.graph import Project
from pipeline.inspect.curves import loss_curve
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact
from pipeline.trained_models import TRAINED_MODELS, TrainedModel
from pipeline.training.planning import plan

TRAINED = ("python", "pytorch", "mlflow")


def show_plan(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    return display.of_facts(artifact)


def show_model(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """The loss curve, samples, the plan against what was measured, and where the run is in MLflow."""
    shown = dict(display.of_facts(artifact))
    curve = loss_curve(artifact)
    if curve is not None:
        shown["loss"] = display.picture(curve)
    timings = {name: value for name, value in artifact.manifest["seconds"].items() if isinstance(value, int | float)}
    if timings:
        shown["time and speed"] = display.table([{"what": name, "value": value} for name, value in timings.items()])
    planned = project.store.current("training_plan")
    if planned is not None:
        shown["plan against measured"] = display.table(against(planned.facts, {**artifact.facts, **timings}))
    run = tracking.find(artifact.manifest["fingerprint"])
    if run:
        shown["MLflow run"] = MetadataValue.url(tracking.link(run))
    return shown


def against(planned: Mapping[str, Any], measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the plan said beside what came of it, for every figure that both have; and the planned memory."""
    rows = [
        {"what": name, "planned": str(value), "measured": str(measured[name])}
        for name, value in planned.items()
        if name in measured and not isinstance(value, dict | list)
    ]
    memory = planned.get("memory_mib", {}).get("total")
    peak = measured.get("memory_bytes")
    return [*rows, {"what": "memory_mib", "planned": str(memory), "measured": str(peak and round(peak / 2**20))}]


def show_examples(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """Conversations or preferences: how many of which source, and a few of them."""
    shown = dict(display.of_facts(artifact))
    if "train.parquet" in artifact.manifest["files"]:
        frame = pl.read_parquet(artifact.file("train.parquet"), n_rows=6)
        rows = [{name: display.excerpt(_text(value)) for name, value in row.items()} for row in frame.to_dicts()]
        shown["sample"] = display.table(rows)
    return shown


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " | ".join(f"{of['role']}: {of['content']}" if isinstance(of, dict) else str(of) for of in value)
    return "" if value is None else str(value)


PLAN = Described(
    name="training_plan",
    description=(
        "What the pretraining will cost before it starts: parameters, memory, steps, time and learning rate on the "
        "device at hand."
    ),
    kinds=("python", "pytorch"),
    version=plan.VERSION,
    made_by=plan.make,
    show=show_plan,
    checks=(checks.WHOLE,),
)
INSTRUCTIONS = Described(
    name="instruction_data",
    description="Conversations to fine-tune on, with some held back to measure by.",
    kinds=("python", "polars", "parquet"),
    version=instruction_data.VERSION,
    made_by=instruction_data.make,
    show=show_examples,
    checks=(checks.NOT_EMPTY,),
)
PREFERENCES = Described(
    name="preference_data",
    description="Pairs of answers of which one is better, to tune preferences by, with some held back.",
    kinds=("python", "polars", "parquet"),
    version=preference_data.VERSION,
    made_by=preference_data.make,
    show=show_examples,
    checks=(checks.NOT_EMPTY,),
)


def trained(model: TrainedModel) -> Described:
    """The asset of a trained model."""
    return Described(
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


def described(recipe: Recipe) -> list[Described]:
    return [INSTRUCTIONS, PREFERENCES, PLAN, *map(trained, TRAINED_MODELS)]
