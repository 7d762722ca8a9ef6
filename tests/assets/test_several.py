"""Several recipes and stores in one Dagster: keys of their own, so that no graph holds another recipe's assets."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import AssetKey, AssetSpec

from assets import keys, several
from pipeline import locations
from pipeline.errors import UserError
from pipeline.recipe import load

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "name: {name}\nsources:\n  - {{name: speeches, kind: bundled, dataset: sotu, limit: 3}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(keys.PREFIX, raising=False)
    several._listed.cache_clear()
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


LOADED = """
import json, sys
from dagster._core.workspace.autodiscovery import loadable_targets_from_python_file
found = {}
for target in loadable_targets_from_python_file(sys.argv[1]):
    held = target.target_definition
    graph = held.asset_graph
    found[held.name] = {
        "keys": sorted(key.to_user_string() for key in graph.get_all_asset_keys()),
        "groups": sorted({graph.get(key).group_name for key in graph.get_all_asset_keys()}),
        "jobs": sorted(name for name in held.job_names if not name.startswith("__")),
        "sensors": sorted(of.name for of in held.sensor_defs),
        "tags": dict(held.get_job("tokenize_job").tags) if "tokenize_job" in held.job_names else {},
        "keeps": str([of for of in held.schedule_defs if of.name == "tokens_nightly"] and
                     held.get_schedule_def("tokens_nightly")._run_config_fn(None)),
        "told": sorted({graph.get(key).description for key in graph.get_all_asset_keys() if "broken" in str(key)}),
        "owners": sorted({owner for key in graph.get_all_asset_keys() for owner in graph.get(key).owners}),
    }
print(json.dumps(found))
"""


def loaded(module: str, **environment: str) -> dict[str, Any]:
    """What a code server finds in the module of a location: its repositories by name."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    said = subprocess.run([sys.executable, "-c", LOADED, module], env=given, capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


def entries_of(workspace: Path) -> list[dict[str, str]]:
    return [entry["python_file"] for entry in yaml.safe_load(workspace.read_text())["load_from"]]


def test_each_recipe_of_a_folder_is_a_repository_whose_graph_is_its_own(folder: Path, tmp_path: Path) -> None:
    (shown,) = several.chosen()
    assert (shown.name, shown.store, shown.recipes) == ("mine", "", str(folder))
    assert list(several.recipes_in(folder)[0]) == ["first", "second_one"]
    (folder / "third.yaml").write_text(RECIPE.format(name="third") + "nonsense: 1\n")
    (folder / "fourth.yaml").write_text(RECIPE.format(name="first"))
    told = several.mistakes([shown])
    assert len(told) == 2 and "`nonsense` is not a key" in told[1]
    (entry,) = entries_of(several.write_workspace(tmp_path / "home", [shown]))
    assert entry["location_name"] == "mine"
    found = loaded(entry["relative_path"])
    assert list(found) == ["broken_fourth", "first", "second_one", "third"]
    second = found["second_one"]
    assert "second_one_curation" in second["groups"] and all(of.startswith("second_one_") for of in second["groups"])
    assert "second_one/raw_documents" in second["keys"] and "second_one/source/speeches" in second["keys"]
    assert all(key.startswith("second_one/") for key in second["keys"])
    assert "second_one__tokenizer" in second["keeps"] and "first__tokenizer" in found["first"]["keeps"]
    assert found["first"]["sensors"] == ["lost_runs", "sources_changed"] and second["sensors"] == ["sources_changed"]
    assert "`nonsense` is not a key" in found["third"]["told"][0] and found["third"]["groups"] == ["third_broken"]
    assert "are both called `first`" in found["broken_fourth"]["told"][0]


def test_stores_with_the_same_recipes_share_no_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither keys, groups, locations nor tags: only the jobs are called alike, each in its location."""
    file = tmp_path / "locations.yaml"
    file.write_text(
        "locations:\n  ara: {recipes: mine, data: ara}\n"
        "  team-2: {recipes: mine/second-one.yaml, data: team, owner: ben@example.org}\n"
    )
    monkeypatch.setenv(locations.VARIABLE, str(file))
    entries = entries_of(several.write_workspace(tmp_path / "home", several.chosen()))
    assert [entry["location_name"] for entry in entries] == ["ara", "team_2"]
    ara, team = (loaded(entry["relative_path"])["second_one"] for entry in entries)
    assert ara["jobs"] == team["jobs"] and not {*ara["keys"]} & {*team["keys"]}
    assert not {*ara["groups"]} & {*team["groups"]} and "team_2__second_one_curation" in team["groups"]
    assert "team_2/second_one/raw_documents" in team["keys"]
    assert ara["tags"]["slm/store"] == "ara" and team["tags"]["slm/store"] == "team-2"
    assert (ara["owners"], team["owners"]) == (["team:ara"], ["ben@example.org"])


@pytest.mark.parametrize(
    ("owner", "shown"),
    [
        ("ben@example.org", "ben@example.org"),
        ("ara@lab", "team:ara@lab"),
        ("@lab", "team:@lab"),
        ("아라@example.org", "team:아라@example.org"),
        ("lab", "team:lab"),
    ],
)
def test_dagster_takes_every_owner_that_a_location_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, shown: str
) -> None:
    (tmp_path / "locations.yaml").write_text(f"locations: {{ara: {{recipes: r, data: data, owner: '{owner}'}}}}")
    monkeypatch.setenv(locations.VARIABLE, str(tmp_path / "locations.yaml"))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    assert AssetSpec("a", owners=keys.owners()).owners == [shown]


def test_a_location_shows_the_recipes_that_are_in_its_folder_when_it_is_loaded(folder: Path, tmp_path: Path) -> None:
    (entry,) = entries_of(several.write_workspace(tmp_path, several.chosen()))
    (folder / "first.yaml").unlink()
    (folder / "new.yaml").write_text("name: new\nbase: {hub: owner/name}\n")
    assert list(loaded(entry["relative_path"])) == ["new", "second_one"], "without writing the workspace again"
    several.write_workspace(tmp_path, [replace(several.chosen()[0], name="other")])
    assert [path.stem for path in (tmp_path / several.FOLDER).glob("*.py")] == ["slm_location_other"]


@pytest.mark.parametrize("wrong", ["no key of a recipe", "no YAML", "no recipe is YAML"])
def test_a_location_looks_for_lost_runs_whatever_is_wrong_with_its_first_recipe(
    folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv(keys.PREFIX, "")  # put back afterwards, as SLM_RECIPE is
    broken = [folder / "first.yaml"] if wrong != "no recipe is YAML" else list(folder.glob("*.yaml"))
    for file in broken:
        file.write_text(RECIPE.format(name="first") + "nonsense: 1\n" if wrong == "no key of a recipe" else "a: [")
    repository_of, names = several.lazily(str(folder), "")
    looking = [name for name in names() for sensor in repository_of(name).sensor_defs if sensor.name == "lost_runs"]
    assert len(looking) == 1


def test_stores_and_recipes_may_be_called_as_modules_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for old in folder.glob("*.yaml"):
        old.unlink()
    for name in ("os", "several"):
        (folder / f"{name}.yaml").write_text(RECIPE.format(name=name))
    (tmp_path / "locations.yaml").write_text("locations: {pipeline: {recipes: mine, data: data}}")
    monkeypatch.setenv(locations.VARIABLE, str(tmp_path / "locations.yaml"))
    (entry,) = entries_of(several.write_workspace(tmp_path / "home", several.chosen()))
    found = loaded(entry["relative_path"])
    assert list(found) == ["os", "several"] and "pipeline/os/raw_documents" in found["os"]["keys"]


def test_a_run_at_the_terminal_takes_the_location_of_its_recipe(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    several.write_workspace(tmp_path, several.chosen())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("SLM_RECIPE", str(folder / "second-one.yaml"))
    monkeypatch.setenv(keys.PREFIX, "")  # put back afterwards
    assert several.adopt("second-one") == ("mine", "second_one") and keys.prefix() == ["second_one"]
    alone = (None, "__repository__")
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "elsewhere"))
    assert several.adopt("second-one") == alone, "the same recipe in another store is not that one"
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "elsewhere.yaml"))
    assert several.adopt("second-one") == alone, "another recipe of the same name is not that one"
    several.forget_workspace(tmp_path)
    monkeypatch.setenv("SLM_RECIPE", str(folder / "second-one.yaml"))
    assert several.adopt("second-one") == alone


def test_mistakes_are_sentences(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is a folder.*first\.yaml"):
        load()
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="There is no recipe in"):
        several.recipes_in(tmp_path / "none")
    (folder / "broken.yaml").write_text("a: [")
    wrong = several.recipes_in(folder)[1]
    assert wrong["broken_broken"].startswith("broken.yaml line 1 is not YAML: ") and "\n" not in wrong["broken_broken"]
    (folder / "bytes.yaml").write_bytes(b"\xff\xfe")
    assert "bytes.yaml cannot be read: " in several.recipes_in(folder)[1]["broken_bytes"]


@pytest.mark.parametrize("name", ["nmae: letters", "name: 2024"])
def test_a_recipe_whose_name_is_misspelt_is_told_and_not_left_out(folder: Path, name: str) -> None:
    text = RECIPE.format(name="letters").replace("name: letters", name, 1)
    assert name in text
    (folder / "third.yaml").write_text(text)
    (folder / "catalogue.yaml").write_text("wiki: {kind: files}\n")
    found, wrong = several.recipes_in(folder)
    assert list(found) == ["first", "second_one"] and list(wrong) == ["broken_third"]
    assert "third.yaml has sources and no `name`" in wrong["broken_third"]
