"""The recipe: all mistakes at once, with lines and the closest known keys; nothing starts before it is valid."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.recipe import Recipe, load, parse

ROOT = Path(__file__).resolve().parent.parent
SMALL = "name: mine\nsources:\n  - {name: notes, kind: files, path: 'notes/*.md', lang: ko, license: own}\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        parse(text, "my.yaml")
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_two_keys_are_enough():
    recipe = parse(SMALL)
    assert recipe.name == "mine" and recipe.sources[0].lang == "ko"
    assert recipe.curation.duplicates.threshold == 0.8


def test_every_recipe_that_comes_along_is_valid():
    paths = [path for path in sorted((ROOT / "recipes").glob("*.yaml")) if path.name != "catalog.yaml"]
    assert ROOT / "recipes" / "demo.yaml" in paths
    for path in paths:
        assert isinstance(load(path), Recipe), path


def test_an_unknown_key_names_the_nearest_one_and_its_line():
    assert mistakes(SMALL + "curation:\n  duplicates: {treshold: 0.7}\n") == [
        "my.yaml:5: `curation.duplicates.treshold` is not a key; did you mean `threshold`?"
    ]


def test_all_mistakes_are_shown_at_once():
    text = "name: my model\nsource: []\nsources:\n  - {name: a, kind: files, path: x, limt: 3}\nmodel: {layers: none}\n"
    found = mistakes(text)
    assert len(found) == 4
    assert found[0].startswith("my.yaml:1: `name`")
    assert any(line.startswith("my.yaml:2: `source` is not a key; did you mean `sources`?") for line in found)
    assert any(line.startswith("my.yaml:4: ") and "did you mean `limit`?" in line for line in found)
    assert any(line.startswith("my.yaml:5: `model.layers`") and "none" in line for line in found)


def test_two_sources_of_one_name_are_refused():
    text = SMALL + "  - {name: notes, kind: files, path: 'more/*.md'}\n"
    assert "two sources are called `notes`" in mistakes(text)[0]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"There is no recipe at .*my\.yaml: set SLM_RECIPE"):
        load(tmp_path / "my.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [", "my.yaml line 1 is not YAML"),
        ("- a\n- b\n", "my.yaml is not a recipe"),
        ("", "my.yaml is not a recipe"),
    ],
)
def test_a_file_that_is_no_recipe(text, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(text, "my.yaml")


def test_what_is_left_out_is_named():
    assert mistakes("sources:\n  - {name: a, kind: files, path: x}\n") == [
        "my.yaml:1: `name`: is needed and is not there"
    ]


def test_the_environment_names_the_recipe(tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL)
    monkeypatch.setenv("SLM_RECIPE", str(path))
    assert load().name == "mine"


def test_the_reference_page_is_what_the_settings_say():
    from pipeline.inspect.reference import reference

    page = (ROOT / "docs" / "guide" / "recipe.md").read_text(encoding="utf-8")
    assert page == reference(), "run `slm recipe --reference > docs/guide/recipe.md`"
    assert "| `threshold` |" in page
