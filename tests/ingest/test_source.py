"""The source block of a recipe: what is refused, in a sentence that says what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.ingest import catalogue as catalogue_module
from pipeline.ingest.catalogue import catalogue
from pipeline.ingest.files import FileSource
from pipeline.ingest.source import Source, check_names, parse_source
from pipeline.settings import blocks_of


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "a/b", "kind": "files", "path": "x"}, "cannot be part of a file name"),
        ({"name": ".hidden", "kind": "files", "path": "x"}, "cannot be part of a file name"),
        ({"name": "x" * 65, "kind": "files", "path": "x"}, "at most 64"),
        ({"name": "a"}, "neither `kind` nor `from`"),
        ({"name": "a", "kind": "files"}, "needs `path`"),
        ({"name": "a", "kind": "http"}, "needs `url`"),
        ({"name": "a", "kind": "huggingface", "dataset": "o/n"}, "needs `path`"),
        ({"name": "a", "kind": "common_crawl"}, "needs `crawl`"),
        ({"name": "a", "kind": "bundled", "dataset": "sotuu"}, "no bundled data set is called `sotuu`"),
        ({"name": "a", "kind": "files", "path": "x", "encoding": "utf-9"}, "`encoding: utf-9` is unknown"),
        ({"name": "a", "kind": "files", "path": "x", "columns": {"text": []}}, "names no column"),
        ({"name": "a", "kind": "files", "path": "x", "limit": 0}, "limit"),
        ({"name": "a", "kind": "files", "path": "x", "wieght": 2}, "wieght"),
        ({"name": "a", "kind": "files", "path": "x", "columns": {"txt": "b"}}, "txt"),
        ({"name": "a", "from": "wikipeda"}, "perhaps `wikipedia`"),
        ({"name": "a", "from": "wikipedia"}, "needs `lang`"),
        ({"name": "a", "from": "fineweb2", "lang": "xx"}, "no files for `lang: xx`"),
        ({"name": "a", "from": "aihub"}, "give its `path` too"),
        ({"name": "a", "kind": "common_crawl", "crawl": "c", "segments": []}, "segments"),
        ({"name": "a", "kind": "file", "path": "x"}, "does not match any of the expected tags: 'files', 'bundled'"),
        ({"name": "a", "kind": "files", "path": "x", "dataset": "o/n"}, "dataset"),
        ({"name": "a", "kind": "bundled", "dataset": "sotu", "columns": {"text": "x"}}, "columns"),
        ({"name": "a", "kind": "http", "url": "http://a/b", "revision": "main"}, "revision"),
        ({"name": "a", "kind": "huggingface", "dataset": "o/n", "path": "x", "crawl": "c"}, "crawl"),
        ({"name": "a", "kind": "common_crawl", "crawl": "c", "path": "x"}, "path"),
    ],
)
def test_a_mistake_is_named(given: dict, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        parse_source(given)
    assert said in str(error.value)


def test_names_differ_in_more_than_case() -> None:
    one = FileSource(name="Notes", path=["x"])
    two = FileSource(name="notes", path=["y"])
    check_names([one])
    with pytest.raises(ValueError, match="two sources are called `notes`"):
        check_names([one, two])


def test_the_catalogue_fills_in_what_is_not_given() -> None:
    source = parse_source({"name": "wiki", "from": "wikipedia", "lang": "ko", "limit": 10000})
    assert source.kind == "huggingface"
    assert source.dataset == "wikimedia/wikipedia"
    assert source.path == ["20231101.ko/*.parquet"]
    assert source.license and "CC-BY-SA" in source.license
    own = parse_source({"name": "wiki", "from": "wikipedia", "lang": "ko", "path": "20220301.ko/*.parquet"})
    assert own.path == ["20220301.ko/*.parquet"]


def test_languages_are_told_to_a_data_set_in_its_own_words() -> None:
    source = parse_source({"name": "web", "from": "fineweb2", "lang": "ko"})
    assert source.path == ["data/kor_Hang/train/*.parquet"]
    assert source.lang == "ko"


def test_a_source_survives_being_dumped_and_read_again() -> None:
    source = parse_source({"name": "web", "from": "fineweb2", "lang": "ko", "weight": 2})
    assert parse_source(source.model_dump(mode="json")) == source


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_entry_of_the_catalogue_is_a_source(name: str) -> None:
    entry = catalogue()[name]
    for told in ("about", "size", "good_for"):
        assert entry.get(told), f"{name} does not say `{told}`"
    assert entry.get("license")
    given = {"name": "x", "from": name}
    addresses = str(entry.get("path", "")) + str(entry.get("url", ""))
    if "{lang}" in addresses:
        given["lang"] = next(iter(entry.get("languages", {"ko": "ko"})))
    if entry["kind"] == "files":
        given["path"] = "x/*.json"
    if entry["kind"] == "common_crawl" and "crawl" not in entry:
        given["crawl"] = "CC-MAIN-2025-05"
    source = parse_source(given)
    assert source.name == "x" and source.kind == entry["kind"]


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_an_entry_of_the_catalogue_has_no_key_that_its_kind_does_not_know(name: str) -> None:
    entry = catalogue()[name]
    block = blocks_of(Source)[entry["kind"]]
    known = {field.alias or key for key, field in block.model_fields.items()} | {"languages", *catalogue_module.TOLD}
    assert set(entry) <= known


RECORDED = json.loads((Path(__file__).parent / "identities.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded["given"]["name"])
def test_the_identity_is_the_one_that_version_0_1_gave(recorded: dict) -> None:
    """Another identity would make every such source be read again; these were computed when one block served all."""
    assert parse_source(recorded["given"]).identity("observed") == recorded["identity"]


def test_every_kind_of_version_0_1_has_a_recorded_identity() -> None:
    kinds = {parse_source(recorded["given"]).kind for recorded in RECORDED}
    assert kinds == set(blocks_of(Source)) - {"generated", "python"}


def test_identity_follows_contents_and_not_places() -> None:
    source = FileSource(name="a", path=["/one/*.txt"])
    elsewhere = FileSource(name="a", path=["/other/*.txt"], weight=3)
    assert source.identity("d") == elsewhere.identity("d")
    assert source.identity("d") != source.identity("e")
    assert source.identity("d") != FileSource(name="a", path=["/one/*.txt"], limit=5).identity("d")


def test_relative_paths_start_at_the_recipes_folder() -> None:
    given = {"name": "a", "kind": "files", "path": ["notes/*.md", "/abs/*.md"]}
    source = parse_source(given, Path("/recipes/mine"))
    assert source.path == ["/recipes/mine/notes/*.md", "/abs/*.md"]


KINDS = {
    "files": ({"path": ["a/*.md", "b.csv"]}, "a/*.md, b.csv"),
    "bundled": ({"dataset": "sotu"}, "the bundled data set `sotu`"),
    "generated": ({"dataset": "village"}, "the made-up data set `village`"),
    "http": ({"url": "http://a.org/b.csv"}, "http://a.org/b.csv"),
    "huggingface": ({"dataset": "o/n", "path": "*.parquet"}, "the data set `o/n` of Hugging Face"),
    "common_crawl": ({"crawl": "CC-MAIN-2025-05"}, "Common Crawl `CC-MAIN-2025-05`"),
    "python": ({"file": "mine.py"}, "the records of `mine.py`"),
}


@pytest.mark.parametrize("kind", sorted(blocks_of(Source)))
def test_every_kind_says_where_its_text_is(kind: str, tmp_path) -> None:
    (tmp_path / "mine.py").write_text("def records(settings): ...\n")
    given, said = KINDS[kind]
    source = parse_source({"name": "a", "kind": kind, **given}, None if kind == "files" else tmp_path)
    assert source.describe() == said and source.icon.islower() and source.kind == kind
