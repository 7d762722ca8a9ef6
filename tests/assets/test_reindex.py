"""`make reindex` does every recipe that it can, and says what is wrong with the others."""

from pathlib import Path

import pytest
from dagster import DagsterInstance

from assets import keys, reindex, several
from pipeline import locations

RECIPE = "name: {name}\nsources: [{{name: s, kind: bundled, dataset: sotu, limit: 3}}]\n"


def test_recipes_after_a_mistake_are_done_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for store in ("ara", "ben", "nobody"):
        (tmp_path / store).mkdir()
    (tmp_path / "ara" / "first.yaml").write_text(RECIPE.format(name="first") + "nonsense: 1\n")
    (tmp_path / "ara" / "second.yaml").write_text(RECIPE.format(name="second"))
    (tmp_path / "ara" / "third.yaml").write_text("a: [")
    (tmp_path / "ben" / "first.yaml").write_text(RECIPE.format(name="first"))
    places = ", ".join(f"{of}: {{recipes: {of}, data: {of}/data}}" for of in ("nobody", "ara", "ben"))
    (tmp_path / "locations.yaml").write_text(f"locations: {{{places}}}")
    monkeypatch.setenv(locations.VARIABLE, str(tmp_path / "locations.yaml"))
    monkeypatch.setenv("SLM_DATA", "")  # put back afterwards
    monkeypatch.setenv(keys.PREFIX, "")
    several._listed.cache_clear()
    with DagsterInstance.ephemeral() as instance:
        monkeypatch.setattr(DagsterInstance, "get", lambda: instance)
        with pytest.raises(SystemExit) as ended:
            reindex.main()
    said = capsys.readouterr().out.splitlines()
    assert [line.split("`")[1] for line in said] == ["ara/second", "ben/first"]
    wrong = str(ended.value).splitlines()
    assert "There is no recipe in" in wrong[0] and "third.yaml line 1 is not YAML" in wrong[1]
    assert "`nonsense` is not a key" in wrong[-1]


def test_one_recipe_with_a_mistake_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.yaml").write_text("name: r\nnonsense: 1\n")
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "r.yaml"))
    monkeypatch.delenv(locations.VARIABLE, raising=False)
    monkeypatch.setenv(keys.PREFIX, "")  # put back afterwards
    with DagsterInstance.ephemeral() as instance:
        monkeypatch.setattr(DagsterInstance, "get", lambda: instance)
        with pytest.raises(SystemExit, match="`nonsense` is not a key"):
            reindex.main()
