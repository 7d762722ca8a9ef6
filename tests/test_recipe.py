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


def test_mistakes_in_blocks_of_several_kinds_keep_their_lines_and_words():
    text = """name: mine
sources:
  - name: a
    kind: files
    path: x
    dataset: o/n
    columns:
      txt: b
  - name: b
    kind: fils
    path: x
  - name: c
    kind: huggingface
    dataset: o/n
    path: x
    revison: main
curation:
  contamination:
    sets:
      - {name: a, path: x, colums: [b]}
      - name: b
        kind: http
        url: x
        path: y
instructions:
  sources:
    - name: a
      kind: common_crawl
    - name: b
"""
    assert sorted(mistakes(text), key=lambda line: int(line.split(":")[1])) == [
        "my.yaml:6: `sources.0.dataset` is not a key of `kind: files`, but of `bundled` and `huggingface`.",
        "my.yaml:8: `sources.0.columns.txt` is not a key; did you mean `text`?",
        "my.yaml:10: `sources.1.kind`: `fils` is no kind; did you mean `files`?",
        "my.yaml:16: `sources.2.revison` is not a key; did you mean `revision`?",
        "my.yaml:20: `curation.contamination.sets.0.colums` is not a key; did you mean `columns`?",
        "my.yaml:24: `curation.contamination.sets.1.path` is not a key of `kind: http`, but of `files` and "
        "`huggingface`.",
        "my.yaml:28: `instructions.sources.0.kind`: `common_crawl` is no kind; known here: files, bundled, http, "
        "huggingface.",
        "my.yaml:29: `instructions.sources.1`: set `b` of kind `files` needs `path`",
    ]


def test_a_recipe_survives_being_printed_and_loaded_again():
    import yaml

    recipe = load(ROOT / "recipes" / "demo.yaml")
    printed = yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False)
    assert parse(printed) == recipe


def test_the_reference_shows_the_keys_of_each_kind():
    from pipeline.inspect.reference import reference

    page = reference()
    sections = {part.splitlines()[0]: part for part in page.split("\n## ")}
    assert "| `weight` |" in sections["`sources[]`, every kind"]
    assert "| `crawl` |" in sections["`sources[]` of `kind: common_crawl`: files of a crawl of Common Crawl"]
    assert "| `columns` |" in sections["`sources[]` of `kind: files`, `http`, `huggingface`"]
    assert "| `set` |" in sections["`instructions.sources[]` of `kind: bundled`: from the installed packages"]


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
