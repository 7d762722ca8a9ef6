"""Several recipes in one Dagster: a code location each, with keys of its own, so that neither graph holds the other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dagster import AssetKey

from assets import keys, several
from pipeline.errors import UserError
from pipeline.recipe import load

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "name: {name}\nsources:\n  - {{name: speeches, kind: bundled, dataset: sotu, limit: 3}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(keys.PREFIX, raising=False)
    recipes = tmp_path / "mine"
    recipes.mkdir()
    for name in ("first", "second-one"):
        (recipes / f"{name}.yaml").write_text(RECIPE.format(name=name))
    (recipes / "catalogue.yaml").write_text("wikipedia: {kind: http}\n")
    monkeypatch.setenv("SLM_RECIPE", str(recipes))
    return recipes


def test_keys_begin_with_the_name_of_a_recipe_only_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keys.PREFIX, raising=False)
    assert keys.key("raw_documents") == AssetKey("raw_documents") and keys.op_name("tokenizer") == "tokenizer"
    monkeypatch.setenv(keys.PREFIX, "first")
    assert keys.key("source", "speeches") == AssetKey(["first", "source", "speeches"])
    assert keys.op_name("tokenizer") == "first__tokenizer"


def test_names_in_other_letters_are_told_apart() -> None:
    assert keys.as_name("second-one") == "second_one"
    assert keys.as_name("일기").startswith("ilgi_") and keys.as_name("내 노트 2").startswith("nae_noteu_2_")
    assert keys.as_name("가나") != keys.as_name("간아"), "both are spelt gana"
    assert keys.as_name("日記").isidentifier() and keys.as_name("☃").isidentifier()
    assert keys.recipe_tag("second-one") == {keys.RECIPE_TAG: "second-one"}
    assert keys.recipe_tag("일기") == {keys.RECIPE_TAG: keys.as_name("일기")}


def test_each_recipe_of_a_folder_is_a_location_whose_graph_is_its_own(folder: Path, tmp_path: Path) -> None:
    assert several.chosen() == folder
    recipes = several.recipes_in(folder)
    assert list(recipes) == ["first", "second_one"]
    workspace = several.write_workspace(tmp_path / "home", recipes)
    entries = [entry["python_file"] for entry in yaml.safe_load(workspace.read_text())["load_from"]]
    assert [entry["location_name"] for entry in entries] == ["first", "second_one"]
    program = (
        "import runpy, sys; defs = runpy.run_path(sys.argv[1])['defs'];"
        "graph = defs.resolve_asset_graph();"
        "print(*sorted({key.to_user_string() for key in graph.get_all_asset_keys()}));"
        "print(*sorted({node.group_name for node in graph.asset_nodes}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SLM_DATA": str(tmp_path / "data")}
    said = subprocess.run(
        [sys.executable, "-c", program, entries[1]["relative_path"]], env=environment, capture_output=True, text=True,
        cwd=ROOT,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    found, groups = (line.split() for line in said.stdout.strip().splitlines()[-2:])
    assert "second_one_curation" in groups and all(name.startswith("second_one_") for name in groups)
    assert "second_one/raw_documents" in found and "second_one/source/speeches" in found
    assert all(key.startswith("second_one/") for key in found)


def test_a_recipe_that_is_gone_has_no_location_any_more(folder: Path, tmp_path: Path) -> None:
    several.write_workspace(tmp_path, several.recipes_in(folder))
    (folder / "first.yaml").unlink()
    several.write_workspace(tmp_path, several.recipes_in(folder))
    assert [path.stem for path in (tmp_path / several.FOLDER).glob("*.py")] == ["second_one"]


def test_a_run_at_the_terminal_takes_the_location_of_its_recipe(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several.write_workspace(tmp_path, several.recipes_in(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("SLM_RECIPE", str(folder / "second-one.yaml"))
    monkeypatch.setenv(keys.PREFIX, "")  # put back afterwards
    assert several.adopt("second-one") == "second_one" and keys.prefix() == ["second_one"]
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "elsewhere.yaml"))
    assert several.adopt("second-one") is None, "another recipe of the same name is not that one"
    several.forget_workspace(tmp_path)
    monkeypatch.setenv("SLM_RECIPE", str(folder / "second-one.yaml"))
    assert several.adopt("second-one") is None


def test_mistakes_are_sentences(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder.*first\.yaml"):
        load()
    (folder / "third.yaml").write_text(RECIPE.format(name="first"))
    with pytest.raises(UserError, match="are both called `first`"):
        several.recipes_in(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="There is no recipe in"):
        several.recipes_in(tmp_path / "none")
