"""Commands work from any folder, and write to the project's folder wherever one stands."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import places, tracking
from pipeline.cli import main
from pipeline.graph import Project


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Standing in a folder of one's own, with the project somewhere else."""
    project, own = tmp_path / "project", tmp_path / "own"
    (project / "recipes").mkdir(parents=True)
    own.mkdir()
    (project / places.MARK).touch()
    (project / "recipes" / "demo.yaml").write_text("name: demo\nsources: [{name: a, kind: files, path: 'texts'}]\n")
    monkeypatch.setattr(places, "CODE", project)
    for name in ("SLM_DATA", "SLM_RECIPE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(own)
    return project, own


def test_artifacts_and_records_are_the_projects_wherever_one_stands(elsewhere):
    project, own = elsewhere
    opened = Project.open()
    assert opened.store.root == project / "data" and opened.recipe.name == "demo"
    assert tracking.tracking_uri() == f"sqlite:///{project}/mlflow.db"
    assert opened.recipe.sources[0].path == [str(project / "recipes" / "texts")]
    assert list(own.iterdir()) == []


def test_in_the_projects_folder_paths_are_as_they_were(elsewhere, monkeypatch):
    project, _ = elsewhere
    monkeypatch.chdir(project)
    assert places.data() == "data" and places.recipe_file("recipes/demo.yaml") == Path("recipes/demo.yaml")
    monkeypatch.setenv("SLM_DATA", "s3://bucket/folder")
    assert places.data() == "s3://bucket/folder"


def test_a_recipe_of_the_folder_in_which_one_stands_comes_first(elsewhere):
    _, own = elsewhere
    (own / "recipes").mkdir()
    (own / "recipes" / "demo.yaml").write_text("name: mine\nsources: [{name: a, kind: files, path: 'texts'}]\n")
    assert Project.open("recipes/demo.yaml").recipe.name == "mine"


def test_a_recipe_that_is_nowhere_is_a_sentence_with_the_projects_folder(elsewhere):
    project, _ = elsewhere
    result = CliRunner().invoke(main, ["--recipe", "my.yaml", "summary"])
    assert result.exit_code == 1
    assert f"There is no recipe at my.yaml (looked here and in the project's folder, {project})" in result.output
    assert "`slm init FOLDER`" in result.output
