"""What is left in MLflow: everything once, also after a resume; and nothing that can stop the work."""

from pathlib import Path

import pytest

from pipeline import places, tracking
from pipeline.errors import UserError
from pipeline.inspect.comparison import compared


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLM_TRACKING", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)


def write(steps: range, resume: str | None = None, **params: object) -> str:
    tags = {tracking.RECIPE: "toy", tracking.FINGERPRINT: "abc"}
    with tracking.run("pretrained_model", "toy", tags, params, resume=resume) as run:
        for step in steps:
            run.metrics({"train/loss": 10.0 - step}, step=step)
    assert run.id
    return run.id


def test_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    first = write(range(5), layers=2)
    again = write(range(3, 8), resume=first, layers=2)  # steps 3 and 4 are gone through again
    assert again == first
    client = tracking.connect()
    steps = [point.step for point in client.get_metric_history(first, "train/loss")]
    assert sorted(steps) == list(range(8))
    assert client.get_run(first).info.status == "FINISHED"
    assert tracking.find("abc") == first

    other = write(range(4), model={"layers": 3, "width": 8})
    experiments = {client.get_run(of).info.experiment_id for of in (first, other)}
    assert [client.get_experiment(one).name for one in experiments] == ["toy"], "an experiment for each recipe"
    assert not any("mlflow.parentRunId" in client.get_run(of).data.tags for of in (first, other)), "none is hidden"
    for of, cpu in ((first, "one CPU"), (other, "another CPU")):
        client.set_tag(of, f"{tracking.MADE_ON}cpu", cpu)
    said = compared([first[:10], other], tmp_path / "curves.png")
    assert "model.width" in said and "train/loss" in said
    assert "are makings of one version" in said  # both runs were written with one fingerprint
    assert "made on" in said and "another CPU" in said
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="No MLflow run matches `zzz`"):
        compared(["zzz"])


def test_files_of_runs_lie_in_the_project_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "")  # so that what is set here is forgotten afterwards
    monkeypatch.delenv("_MLFLOW_SERVER_ARTIFACT_ROOT")
    monkeypatch.setattr(places, "project_folder", lambda: project)
    client = tracking.connect()
    run = client.get_run(write(range(2)))
    assert run.info.artifact_uri.startswith(str(project / "mlruns")), "not beside whoever made the experiment"


def test_an_interrupted_run_is_closed_as_killed_and_a_broken_one_as_failed() -> None:
    for error, status in ((KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")):
        with pytest.raises(error), tracking.run("pretrained_model", "toy", {}, {}) as run:
            raise error
        assert tracking.connect().get_run(run.id).info.status == status


def test_a_server_that_goes_away_does_not_stop_the_work(caplog: pytest.LogCaptureFixture) -> None:
    with tracking.run("pretrained_model", "toy", {}, {}) as run:
        run._client = None  # type: ignore[union-attr,assignment]
        for step in range(3 * tracking.BATCH):
            run.metrics({"loss": 1.0}, step=step)
        run.text("text", "file.txt")
    assert caplog.text.count("is off for the rest of the run") == 1


def test_a_server_that_does_not_answer_is_reported_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match="SLM_TRACKING=off") as caught, tracking.run("x", "x", {}, {}):
        pass
    assert "127.0.0.1:9" in str(caught.value) and "secret" not in str(caught.value)


def test_nothing_is_written_when_tracking_is_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLM_TRACKING", "off")
    with tracking.run("pretrained_model", "toy", {}, {}) as run:
        run.metrics({"loss": 1.0}, step=1)
        run.text("text", "file.txt")
    assert not (tmp_path / "mlflow.db").exists() and run.id == ""


def test_runs_are_named_as_people_tell_them_apart() -> None:
    assert tracking.named("mine", "pretrained_model", "6994ff07aa", 6_540_000) == "mine · pretrained · 6.5 M · 6994ff07"
    assert tracking.named("mine", "sft_evaluation", "c491a0af91") == "mine · sft evaluation · c491a0af"
    assert tracking.named("mine", "pretrained_model", "1234567890", 2304) == "mine · pretrained · 2,304 · 12345678"


def test_a_deleted_experiment_comes_back_with_the_next_run() -> None:
    write(range(2))
    client = tracking.connect()
    found = client.get_experiment_by_name("toy")
    client.delete_experiment(found.experiment_id)
    again = write(range(2))
    assert client.get_run(again).info.experiment_id == found.experiment_id


def test_a_server_that_is_not_there_stops_neither_the_pages_nor_the_cleaning_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`make ui` and the sensor close lost runs; an MLflow that starts later than they do is no reason to end."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert tracking.close_lost(lambda tags: True) == []
    (record,) = [of for of in caplog.records if of.name == tracking.__name__]
    assert "cannot be used now" in record.getMessage() and "secret" not in record.getMessage()
