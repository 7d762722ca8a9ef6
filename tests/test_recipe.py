"""The recipe: all mistakes at once, with lines and the closest known keys; nothing starts before it is valid."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

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
        "my.yaml:6: `sources.0.dataset` is not a key of `kind: files`, but of `bundled`, `generated` and "
        "`huggingface`.",
        "my.yaml:8: `sources.0.columns.txt` is not a key; did you mean `text`?",
        "my.yaml:10: `sources.1.kind`: `fils` is no kind; did you mean `files`?",
        "my.yaml:16: `sources.2.revison` is not a key; did you mean `revision`?",
        "my.yaml:20: `curation.contamination.sets.0.colums` is not a key; did you mean `columns`?",
        "my.yaml:24: `curation.contamination.sets.1.path` is not a key of `kind: http`, but of `files` and "
        "`huggingface`.",
        "my.yaml:28: `instructions.sources.0.kind`: `common_crawl` is no kind; known here: files, bundled, "
        "generated, annotated, http, huggingface.",
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
    with pytest.raises(UserError, match=r"There is no recipe at .*my\.yaml .*or write a first one with `slm init"):
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


@pytest.mark.parametrize(
    ("word", "value"), [("on", "on"), ("off", "off"), ("auto", "auto"), ("true", "on"), ("no", "off")]
)
@pytest.mark.parametrize("key", ["sharding", "compile"])
def test_on_and_off_are_what_they_say_although_yaml_reads_booleans(key, word, value):
    for block in ("pretraining", "sft", "preference"):
        assert getattr(getattr(parse(f"{SMALL}{block}: {{{key}: {word}}}\n"), block), key) == value


Number = tuple[str, Any, bool]  # where it is, its type with its range, whether it has a least and a greatest value


def numbers(annotation: Any, metadata: list[Any], place: str) -> Iterator[Number]:
    """All numbers that a recipe can hold, in blocks of every kind, in lists and in mappings."""
    if get_origin(annotation) is Annotated:
        inner = [of for field in get_args(annotation)[1:] for of in getattr(field, "metadata", [field])]
        yield from numbers(get_args(annotation)[0], [*metadata, *inner], place)
    elif annotation in (int, float):
        least = any(getattr(of, "ge", None) is not None or getattr(of, "gt", None) is not None for of in metadata)
        most = any(getattr(of, "le", None) is not None or getattr(of, "lt", None) is not None for of in metadata)
        yield place, Annotated[annotation, *metadata] if metadata else annotation, least and most
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            yield from numbers(field.annotation, list(field.metadata), f"{place}.{name}")
    else:
        for argument in get_args(annotation):
            yield from numbers(argument, metadata, place)


def test_every_number_of_a_recipe_has_a_range():
    every = list(numbers(Recipe, [], "recipe"))
    places = {place for place, _, _ in every}
    assert {"recipe.model.layers", "recipe.pretraining.betas", "recipe.pretraining.loss_chunk"} <= places
    assert {"recipe.sources.segments", "recipe.pretraining.feed.curriculum.source_weights", "recipe.seed"} <= places
    assert [place for place, _, bounded in every if not bounded] == []


def test_no_number_of_a_recipe_can_be_absurd():
    for place, kind, _ in numbers(Recipe, [], "recipe"):
        for absurd in (10**20, -(10**20)):
            with pytest.raises(ValidationError):
                TypeAdapter(kind).validate_python(absurd)
                pytest.fail(f"{place} takes {absurd}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: {layers: 10000}", "`model.layers`: Input should be less than or equal to 1000 (given: 10000)"),
        ("model: {vocab_size: 1000000000}", "`model.vocab_size`: Input should be less than or equal to 1048576"),
        ("model: {context: 100000000}", "`model.context`: Input should be less than or equal to 1048576"),
        ("model: {norm_eps: .inf}", "`model.norm_eps`: Input should be a finite number"),
        ("tokenizer: {vocab_size: 2000000}", "`tokenizer.vocab_size`: Input should be less than or equal to 1048576"),
        ("pretraining: {loss_chunk: -5}", "`pretraining.loss_chunk`: Input should be greater than or equal to 0"),
        (
            "pretraining: {loss_chunk: few}",
            "`pretraining.loss_chunk`: Input should be 'auto' or a number (given: 'few'",
        ),
        ("pretraining: {learning_rate: .nan}", "`pretraining.learning_rate`: Input should be a finite number"),
        ("sft: {betas: [0.9, 1.0]}", "`sft.betas.1`: Input should be less than 1 (given: 1.0)"),
        ("sft: {betas: [-0.1, 0.9]}", "`sft.betas.0`: Input should be greater than or equal to 0 (given: -0.1)"),
        ("preference: {beta: 1000}", "`preference.beta`: Input should be less than or equal to 100"),
        ("evaluation: {temperature: 100}", "`evaluation.temperature`: Input should be less than or equal to 10"),
        (
            "pretraining: {feed: {source_weights: {notes: -1}}}",
            "`pretraining.feed.source_weights.notes`: Input should be greater than or equal to 0 (given: -1)",
        ),
    ],
)
def test_absurd_numbers_are_refused_in_one_sentence(text, sentence):
    (mistake,) = mistakes(SMALL + text)
    assert mistake.startswith(f"my.yaml:4: {sentence}")


def test_the_reference_shows_the_range_of_a_number():
    from pipeline.inspect.reference import reference

    page = reference()
    assert "| `layers` | whole number from 1 to 1,000 |" in page
    assert "| `betas` | list of numbers at least 0, below 1 |" in page
    assert "| `loss_chunk` | `auto` \\| whole number from 0 to 10^9 |" in page
    assert "| `vocab_size` | whole number from 0 to 2^20 |" in page
