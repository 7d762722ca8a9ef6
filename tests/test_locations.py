"""The file of locations: which stores there are, under which names, and what is wrong with one, in a sentence."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import locations, tracking
from pipeline.cli import main
from pipeline.errors import UserError

FILE = """
locations:
  ara: {recipes: ara/recipes, data: ara/data}
  lab-1: {recipes: lab.yaml, data: "s3://lab/slm/", owner: lab}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "locations.yaml"
    made.write_text(FILE)
    monkeypatch.setenv(locations.VARIABLE, str(made))
    return made


def test_paths_start_at_the_file_and_addresses_stay_as_they_are(file: Path) -> None:
    found = locations.known()
    assert found["ara"] == locations.Location("ara", file.parent / "ara/recipes", str(file.parent / "ara/data"), "ara")
    assert (found["lab-1"].data, found["lab-1"].owner) == ("s3://lab/slm", "lab")


def test_the_name_of_a_store_follows_from_its_address(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data, name in ((f"{file.parent}/ara/../ara/data", "ara"), ("s3://lab/slm", "lab-1"), ("/elsewhere", "")):
        monkeypatch.setenv("SLM_DATA", data)
        assert locations.store_name() == name
    assert locations.scoped("notes") == "notes", "a store without a name changes nothing"
    monkeypatch.delenv(locations.VARIABLE)
    monkeypatch.setenv("SLM_DATA", f"{file.parent}/ara/data")
    assert locations.store_name() == "", "without a file there are no names"


@pytest.mark.parametrize(
    ("data", "set_before", "seen"),
    [("ara/data", None, "1,2"), ("ara/data", "0", "0"), ("ara/data", "", ""), ("other", None, None)],
)
def test_commands_use_the_gpus_of_the_location_of_their_store(
    file: Path, monkeypatch: pytest.MonkeyPatch, data: str, set_before: str | None, seen: str | None
) -> None:
    file.write_text(FILE.replace("ara/data}", 'ara/data, gpus: "1,2"}'))
    locations._read.cache_clear()
    monkeypatch.setenv("SLM_DATA", str(file.parent / data))
    monkeypatch.setenv(locations.VISIBLE, set_before or "")  # put back afterwards
    if set_before is None:
        monkeypatch.delenv(locations.VISIBLE)
    assert CliRunner().invoke(main, ["reap", "--nonsense"]).exit_code == 2
    assert os.environ.get(locations.VISIBLE) == set_before, "it starts what is of all locations"
    assert CliRunner().invoke(main, ["rules"]).exit_code == 0
    assert os.environ.get(locations.VISIBLE) == seen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("locations: {ara: {recipe: a, data: b}}", "`locations.ara.recipe` is not a key; did you mean `recipes`?"),
        ("locations: {ara: {recipes: a}}", "`locations.ara.data` is needed and is not there"),
        ("locations: {a__b: {recipes: a, data: b}}", "`a__b` is no name"),
        ("locations: {a-b: {recipes: a, data: b}, A_b: {recipes: a, data: c}}", "differ only in"),
        ("locations: {a: {recipes: a, data: b}, c: {recipes: a, data: ./b}}", "have the same `data`"),
        ("locations: {}", "`locations` names nothing: add an entry"),
        ("locations: {ara: a}", "`locations.ara` takes keys of its own"),
        ("locations: [ara]", "`locations` takes keys of its own"),
        ("locations: {ara: {recipes: 1, data: b}}", "`locations.ara.recipes` takes text: write it in quotes"),
        ("locations: {ara: {recipes: a, data: [b]}}", "`locations.ara.data` takes text, not a list"),
        ("locations: {ara: {recipes: a, data: b, gpus: true}}", "`locations.ara.gpus` takes text"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_mistake_in_the_file_is_a_sentence(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    locations._read.cache_clear()
    with pytest.raises(UserError) as told:
        locations.known()
    assert said in str(told.value) and str(file) in str(told.value)


def test_the_number_of_a_gpu_needs_no_quotes(file: Path) -> None:
    file.write_text("locations: {ara: {recipes: a, data: b, gpus: 1}, ben: {recipes: a, data: c, gpus: '0,1'}}")
    locations._read.cache_clear()
    assert [of.gpus for of in locations.known().values()] == ["1", "0,1"]


def test_a_file_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(locations.VARIABLE, str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match=r"SLM_LOCATIONS=.*cannot be read"):
        locations.known()


def test_two_stores_with_one_recipe_keep_their_runs_apart(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same recipe makes the same fingerprint in both: neither store finds the other's run or experiment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file.parent}/mlflow.db")
    monkeypatch.delenv("SLM_TRACKING", raising=False)
    tags = {tracking.RECIPE: "notes", tracking.FINGERPRINT: "f" * 64}
    made = {}
    for store in ("ara/data", "other", "s3"):
        monkeypatch.setenv("SLM_DATA", "s3://lab/slm" if store == "s3" else str(file.parent / store))
        if store == "s3":
            assert tracking.find("f" * 64) is None, "the run of another store"
        with tracking.run("pretrained_model", "notes", tags, {}) as run:
            made[store] = run.id
        assert tracking.find("f" * 64) == run.id
    client = tracking.connect()
    names = {store: client.get_experiment(client.get_run(run).info.experiment_id).name for store, run in made.items()}
    assert names == {"ara/data": "ara/notes", "other": "notes", "s3": "lab-1/notes"}
    assert "curves" not in tracking.curves("notes") and "compareRunsMode" in tracking.curves("notes")
