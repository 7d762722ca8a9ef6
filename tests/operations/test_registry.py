"""A model that was made, by whatever command: its version, its files in MLflow, and which one is best."""

import json
import warnings
from pathlib import Path

import mlflow
import pytest
from fastapi.testclient import TestClient

from pipeline import tracking
from pipeline.graph import Project
from pipeline.inspect import registry
from pipeline.run import make_with_inputs
from tests import tiny

EVALUATION = "\nevaluation: {answers: 2, answer_tokens: 4, validation_tokens: 1000, prompts: [The harbour]}\n"


@pytest.mark.timeout(300)
def test_a_model_that_was_made_without_dagster_stands_in_mlflow_with_all_that_belongs_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny.write(tmp_path)
    recipe.write_text(recipe.read_text() + EVALUATION)
    monkeypatch.delenv("SLM_TRACKING", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    said_by_log: list[str] = []
    project = Project.open(recipe, log=said_by_log.append)
    make_with_inputs(project, "pretrained_evaluation")
    assert [line for line in said_by_log if "was not recorded" in line] == []

    model = project["pretrained_model"]
    client, run = tracking.connect(), tracking.find(model.manifest["fingerprint"])
    assert run is not None
    about = client.get_run(run)
    assert client.get_experiment(about.info.experiment_id).name == "tiny"
    assert about.info.run_name.startswith("tiny · pretrained · ")
    assert about.info.run_name.endswith(model.manifest["fingerprint"][:8])
    assert len(about.data.params) < 30 and about.data.params["model.layers"] == "1", about.data.params
    assert about.data.params["pretraining.optimiser"] == project.recipe.pretraining.optimiser, "runs are compared by it"
    assert "model.bias" not in about.data.params, "settings that are as by default are left to recipe.yaml"
    steps = [point.step for point in client.get_metric_history(run, "train/loss")]
    first = [point.step for point in client.get_metric_history(run, "curves/loss")]
    assert first == steps and client.get_metric_history(run, "curves/validation_bits_per_byte")
    assert max(steps) == model.facts["tokens"], "the step of a figure is its number of tokens"

    there = {of.path for of in client.list_artifacts(run)}
    assert {"recipe.yaml", "plan.json", "loss.png", "data_card.md", "model_card.md", "samples", "evaluation"} <= there
    text = {name: Path(client.download_artifacts(run, name)) for name in there}
    assert "vocab_size: 320" in text["recipe.yaml"].read_text()
    assert text["loss.png"].read_bytes().startswith(b"\x89PNG")
    assert "| first | own |" in text["data_card.md"].read_text()
    assert (
        "bits per byte" in text["model_card.md"].read_text()
        and "| vocabulary | 320 |" in text["model_card.md"].read_text()
    )
    figures = json.loads((text["evaluation"] / "figures.json").read_text())
    assert any("language_modelling.all.bits_per_byte" in row for row in figures["data"])

    name = registry.name_of("tiny", model)
    (version,) = client.search_model_versions(f"name = '{name}'")
    assert version.run_id == run and registry.SCORE in version.tags
    assert client.get_model_version_by_alias(name, "best").version == version.version
    latest = client.get_latest_versions(name)
    assert [of.version for of in latest] == [version.version]

    registry.record(project.recipe, project.store, project.make("report"), said_by_log.append)
    assert "report.html" in {of.path for of in client.list_artifacts(run)}

    loaded = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
    params = {"max_tokens": 4, "temperature": 0.0}
    said = loaded.predict(["The harbour", "She read"], params=params)
    assert len(said) == 2 and all(isinstance(text, str) for text in said)
    assert loaded.predict(["The harbour"], params=params) == said[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow about itself
        from mlflow.pyfunc import scoring_server
    scored = TestClient(scoring_server.init(loaded)).post(  # what `mlflow models serve` runs
        "/invocations", json={"inputs": ["The harbour", "She read"], "params": params}
    )
    assert scored.status_code == 200 and scored.json()["predictions"] == said
    files = {path.suffix for path in Path(client.download_artifacts(run, registry.FOLDER)).rglob("*") if path.is_file()}
    assert ".pkl" not in files and ".safetensors" not in files, "the weights stay in the store"
