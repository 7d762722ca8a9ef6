"""Models in MLflow's registry: one name per recipe and kind of model, one version per artifact, the best one marked.

The registry points to the store and copies nothing, unless MLflow runs on another machine, which cannot read the files
of this one. MLflow itself resolves `models:/<name>/latest`; the alias `best` marks the model with the fewest bits per
byte. `mlflow.pyfunc.load_model` opens either, by `model/flavour.py`.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model import flavour
from pipeline import locations, openlineage, tracking
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.trained_models import BY_NAME, EVALUATIONS, MODELS

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.recipe import Recipe

SCORE = "bits_per_byte"
IN_REPORT = ("language_modelling", "all", SCORE)  # keys of the score in report.json
BEST = "best"
FOLDER = "model"  # of the run's files
REPORT = "report"  # the asset of the page on a recipe, which knows this folder


def name_of(recipe: str, model: Artifact) -> str:
    """The model's name in the registry; where stores have names, it begins with that of the store."""
    return "-".join(filter(None, (locations.store_name(), recipe, model.asset)))


def record(recipe: Recipe, store: Store, artifact: Artifact, log: Callable[[str], None]) -> None:
    """Record an artifact that was just made as an event of OpenLineage; models and evaluations in MLflow's registry.

    There a model's version is registered, its documents are attached, and `best` is updated. An error does not affect
    the artifact, which already exists; it is only logged.
    """
    openlineage.record(store, artifact, log)
    if not tracking.enabled():
        return
    try:
        if artifact.asset in EVALUATIONS:
            model = store.require(EVALUATIONS[artifact.asset].name)
            record_score(recipe.name, model, artifact)
            attach(recipe, store, model, artifact)
        elif artifact.asset in MODELS:
            register(recipe.name, artifact)
            attach(recipe, store, artifact)
        elif artifact.asset == REPORT:
            attach_page(store, artifact)
    except Exception as error:
        log(f"the model was not recorded in MLflow's registry ({tracking.redacted(str(error))})")


def register(recipe: str, model: Artifact) -> str | None:
    """Register the model as a version of its name, once; returns the version, or None if its run is not tracked."""
    run = tracking.find(model.manifest["fingerprint"])
    if run is None:
        return None
    from mlflow.exceptions import MlflowException

    client, name = tracking.connect(), name_of(recipe, model)
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    registered = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    if registered:
        return str(registered[0].version)
    write_flavour(client, run, model)
    created = client.create_model_version(
        name, source=f"runs:/{run}/{FOLDER}", run_id=run, tags={"slm.version": model.version}
    )
    return str(created.version)


def write_flavour(client: MlflowClient, run: str, model: Artifact) -> None:
    """Write to the run what `mlflow.pyfunc.load_model` needs: the weights stay in the store, if MLflow can read it."""
    with warnings.catch_warnings():  # MLflow warns of the types of its own functions
        warnings.simplefilter("ignore")
        from mlflow.models import Model, ModelSignature
        from mlflow.pyfunc import add_to_model
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    elsewhere = tracking.tracking_uri().startswith("http")
    kinds = {int: "long", float: "double"}
    params = ParamSchema([ParamSpec(name, kinds[type(value)], value) for name, value in flavour.DEFAULTS.items()])
    signature = ModelSignature(Schema([ColSpec("string")]), Schema([ColSpec("string")]), params)
    described = Model(artifact_path=FOLDER, run_id=run, signature=signature)
    add_to_model(described, loader_module=flavour.MODULE, data=flavour.ABOUT)
    answers = BY_NAME[model.asset].answers
    with tempfile.TemporaryDirectory(prefix="slm-flavour-") as folder:
        described.save(str(Path(folder) / "MLmodel"))
        about = {"answers": answers} if elsewhere else {"answers": answers, "directory": str(model.local_directory())}
        (Path(folder) / flavour.ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        client.log_artifacts(run, folder, FOLDER)
    if elsewhere:
        client.log_artifacts(run, str(model.local_directory()), FOLDER)


def attach(recipe: Recipe, store: Store, model: Artifact, evaluation: Artifact | None = None) -> None:
    """Attach cards, tables and figures to the model's run, as the files returned by `documents`."""
    run = tracking.find(model.manifest["fingerprint"])
    if run is None:
        return
    client = tracking.connect()
    for name, content in documents(recipe, store, model, evaluation).items():
        if isinstance(content, str):
            client.log_text(run, content, name)
        elif isinstance(content, dict):
            client.log_table(run, content, name)
        else:
            client.log_figure(run, content, name, save_kwargs={"dpi": 110})


def attach_page(store: Store, page: Artifact) -> None:
    """Attach the page on a recipe to the run of its last model."""
    models = [model for name in MODELS if (model := store.current(name)) is not None]
    run = tracking.find(models[-1].manifest["fingerprint"]) if models else None
    if run is not None:
        for name in page.manifest["files"]:
            tracking.connect().log_artifact(run, str(page.file(name)))


def documents(recipe: Recipe, store: Store, model: Artifact, evaluation: Artifact | None) -> dict[str, Any]:
    """File name -> text, table (column -> list) or figure.

    The resolved recipe, the plan, the loss curve, both cards, and, if the model was evaluated, its figures and samples.
    """
    import polars as pl
    import yaml

    from pipeline.evaluation.report import figures_of, read
    from pipeline.inspect import cards
    from pipeline.inspect.curves import loss_curve
    from pipeline.inspect.lineage import ancestry, in_order
    from pipeline.inspect.rules_reference import reasons_by_asset

    made_of = ancestry(store, model)
    manifests = {name: artifact.manifest for name, artifact in in_order(made_of).items()}
    report = read(evaluation) if evaluation is not None else None
    content = recipe.model_dump(mode="json", by_alias=True)
    files: dict[str, Any] = {
        "recipe.yaml": yaml.safe_dump(content, sort_keys=False, allow_unicode=True),
        "data_card.md": cards.data_card(manifests, reasons_by_asset(recipe.curation)),
        "model_card.md": cards.model_card(model.asset, manifests, report, recipe.evaluation.measures()),
    }
    shards, plan = made_of.get("token_shards"), store.current("training_plan")
    if plan is not None and shards is not None and plan.manifest["inputs"]["token_shards"]["digest"] == shards.digest:
        files["plan.json"] = plan.file("plan.json").read_text()
    curve = loss_curve(model)
    if curve is not None:
        files["loss.png"] = curve
    if evaluation is not None:
        figures = figures_of(evaluation)
        files["evaluation/figures.json"] = {"figure": list(figures), "value": list(figures.values())}
        if "samples.parquet" in evaluation.manifest["files"]:
            table = pl.read_parquet(evaluation.file("samples.parquet"))
            files["evaluation/samples.json"] = {name: table[name].cast(pl.String).to_list() for name in table.columns}
    return files


def record_score(recipe: str, model: Artifact, evaluation: Artifact) -> None:
    """Tag the model's version with its score, and mark it as `best` if no version of its name has a better one."""
    version = register(recipe, model)
    score = json.loads(evaluation.file("report.json").read_text())
    for key in IN_REPORT:
        score = score.get(key) if isinstance(score, dict) else None
    if version is None or score is None:
        return
    from mlflow.exceptions import MlflowException

    client, name = tracking.connect(), name_of(recipe, model)
    client.set_model_version_tag(name, version, SCORE, repr(float(score)))
    try:
        best = client.get_model_version_by_alias(name, BEST).tags.get(SCORE)
    except MlflowException:
        best = None
    if best is None or float(score) <= float(best):
        client.set_registered_model_alias(name, BEST, version)
