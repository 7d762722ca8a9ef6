"""A source of one's own: a Python file beside the recipe, with no line of the project changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipeline.errors import UserError
from pipeline.ingest import preview, python_file
from pipeline.ingest.source import Source, parse_source
from pipeline.recipe import load, parse

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_source.py"
MAIL = (
    "From a@b.c Mon Jan  1 00:00:00 2024\nMessage-ID: <{0}@b.c>\nSubject: ticket {0}\n"
    "Content-Type: text/plain; charset=utf-8\n\n{1}\n\n"
)


def own(folder: Path, code: str, **more: object) -> Source:
    """A source of the file with this code."""
    (folder / "mine.py").write_text(code, encoding="utf-8")
    return parse_source({"name": "s", "kind": "python", "file": "mine.py", **more}, folder)


@pytest.fixture
def tickets(tmp_path) -> Path:
    """A folder with the example, its mailbox and a recipe."""
    shutil.copy(EXAMPLE, tmp_path / "own_source.py")
    texts = ["the printer on floor two is broken again", "hi", "문서를 열 수 없다고 나옵니다. 어떻게 하나요?"]
    (tmp_path / "tickets.mbox").write_text("".join(MAIL.format(i, text) for i, text in enumerate(texts)))
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nsources:\n- name: tickets\n  kind: python\n  file: own_source.py\n  lang: en\n  license: own\n"
        "  mailbox: tickets.mbox\n  min_words: 5\n"
    )
    return tmp_path


def test_the_example_is_read_checked_and_made(tickets, store, make) -> None:
    (source,) = load(tickets / "mine.yaml").sources
    checked = preview.check(source, store, lambda line: None)
    assert (checked.documents, checked.whole, checked.licenses) == (2, True, {"own": 2})
    assert next(preview.described(checked)).startswith("tickets (python): 2 documents")
    artifact = make(source)
    assert artifact.counts["kept"] == 2 and artifact.facts["sources"]["tickets"]["observed"]["files"] == 1
    found = pl.read_parquet(artifact.table("tickets-all")).sort("source_id")
    assert found["source_id"].to_list() == ["<0@b.c>", "<2@b.c>"] and set(found["lang"]) == {"en"}
    assert found["meta"][0] == '{"subject": "ticket 0"}'
    assert make(source.model_copy(update={"limit": 1})).counts["kept"] == 1


def test_it_is_read_again_where_its_file_its_settings_or_its_state_changed(tickets, make) -> None:
    recipe = tickets / "mine.yaml"
    first = make(*load(recipe).sources)
    assert make(*load(recipe).sources).version == first.version
    os.utime(tickets / "tickets.mbox", (1, 1))  # what `state` goes by
    second = make(*load(recipe).sources)
    assert second.version != first.version and second.digest == first.digest
    recipe.write_text(recipe.read_text().replace("min_words: 5", "min_words: 0"))
    third = make(*load(recipe).sources)
    assert third.counts["kept"] == 3
    code = (tickets / "own_source.py").read_text()
    (tickets / "own_source.py").write_text(code.replace('yield {"text": text,', 'yield {"text": text.upper(),'))
    fourth = make(*load(recipe).sources)
    assert fourth.version != third.version and fourth.digest != third.digest


def test_it_is_the_same_source_in_another_folder(tmp_path, make) -> None:
    code = "def records(settings):\n    yield {'text': 'a'}\n"
    versions = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        versions.add(make(own(tmp_path / name, code)).version)
    assert len(versions) == 1


def test_every_mistake_in_its_settings_is_shown_with_its_line(tickets) -> None:
    text = (tickets / "mine.yaml").read_text()
    text = text.replace("mailbox:", "mailboks:").replace("min_words: 5", "min_words: few\n  limt: 3\n  limit: 0")
    with pytest.raises(UserError) as caught:
        parse(text, "mine.yaml", tickets)
    said = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert "mine.yaml:3: `sources.0.mailbox`: is needed and is not there" in said
    assert "mine.yaml:8: `sources.0.mailboks` is not a key; did you mean `mailbox`?" in said
    assert any(line.startswith("mine.yaml:9: `sources.0.min_words`: Input should be a valid integer") for line in said)
    assert "mine.yaml:10: `sources.0.limt` is not a key; did you mean `limit`?" in said
    assert any(line.startswith("mine.yaml:11: `sources.0.limit`: Input should be greater") for line in said)
    assert len(said) == 5


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (None, r"mine\.yaml:5: `sources\.0\.file`: There is no file .*own_source\.py: correct `file`"),
        ("def record(): ...\n", r"mine\.yaml:5: .*own_source\.py does not define `records`"),
        ("def records(:\n", r"mine\.yaml:5: .*own_source\.py, line 1, is not valid Python"),
        (
            "1 / 0\ndef records(settings): ...\n",
            r"mine\.yaml:5: .*line 1 failed while it was loaded \(ZeroDivisionError",
        ),
        (
            "class Settings: ...\ndef records(settings): ...\n",
            r"mine\.yaml:5: `sources.0.file`: `Settings` in .* has to be",
        ),
        (
            "from pipeline import settings\nclass Settings(settings.Settings):\n    limit: int = 1\n"
            "def records(settings): ...\n",
            r"mine\.yaml:5: .*may not have the key `limit`, which every source has: rename it",
        ),
    ],
)
def test_a_mistake_in_the_file_is_shown_when_the_recipe_is_loaded(tickets, code, said) -> None:
    if code is None:
        (tickets / "own_source.py").unlink()
    else:
        (tickets / "own_source.py").write_text(code)
    with pytest.raises(UserError, match=said):
        load(tickets / "mine.yaml")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{'id': 1}", r"mine\.py, line 3: record 2 has no `text`: fix it, or say `invalid: skip` in source `s`"),
        ("{'text': None}", "record 2 has no `text`"),
        ("'text'", r"record 2 is of type str and has to be a dict with `text`"),
        ("{'text': 'a', 'licence': 'MIT'}", r"record 2 has the key `licence`; did you mean `license`\?"),
        ("{'text': 'a', 'lang': 3}", "record 2 has a `lang` of type int, which has to be text"),
        ("{'text': 'a', 'meta': {1, 2}}", "record 2 has a `meta` that JSON cannot hold"),
        ("{'text': 'half \\ud83d'}", "record 2 holds half a surrogate pair"),
    ],
)
def test_a_record_that_is_no_document_is_named_with_its_line_or_left_out(tmp_path, read, given, said) -> None:
    code = f"def records(settings):\n    yield {{'text': 'good'}}\n    yield {given}\n"
    with pytest.raises(UserError, match=said):
        read(own(tmp_path, code))
    found, tally = read(own(tmp_path, code, invalid="skip"))
    assert found["text"].to_list() == ["good"] and found["id"].to_list() == ["mine.py#1"]
    assert tally.skipped == {"invalid_encoding" if "half" in given else "malformed": 1}


def test_half_a_surrogate_pair_can_be_replaced(tmp_path, read) -> None:
    code = "def records(settings):\n    yield {'text': 'half \\ud83d'}\n"
    assert read(own(tmp_path, code, invalid="replace"))[0]["text"].to_list() == ["half �"]


def test_an_exception_in_the_file_names_its_line(tmp_path, read) -> None:
    code = "def records(settings):\n    yield {'text': 'a'}\n    yield {'text': {}['b']}\n"
    with pytest.raises(UserError, match=r"mine\.py, line 3 failed at record 2 \(KeyError: 'b'\): fix it"):
        read(own(tmp_path, code))
    code = "def records(settings):\n    yield {'text': 'a'}\n\ndef state(settings):\n    return open('/no/such/file')\n"
    with pytest.raises(UserError, match=r"mine\.py, line 5 failed while `state` was called \(FileNotFoundError"):
        read(own(tmp_path, code))


def test_records_need_no_generator_and_empty_ones_are_counted(tmp_path, read) -> None:
    found, tally = read(own(tmp_path, "def records(settings):\n    return [{'text': ' '}, {'text': 'b', 'id': 7}]\n"))
    assert found.select("text", "id").rows() == [("b", "7")] and tally.skipped == {"empty": 1}
    with pytest.raises(UserError, match=r"mine\.py: record 1 has no `text`"):
        read(own(tmp_path, "def records(settings):\n    return [{}]\n"))


def test_a_limit_stops_the_generator(tmp_path, read) -> None:
    code = "def records(settings):\n    for i in range(10):\n        assert i < 3, i\n        yield {'text': str(i)}\n"
    assert read(own(tmp_path, code, limit=3))[0]["text"].to_list() == ["0", "1", "2"]


def test_many_records_come_in_bounded_pieces(tmp_path, read, monkeypatch) -> None:
    monkeypatch.setattr(python_file, "BATCH", 1000)
    code = "def records(settings):\n    for i in range(100):\n        yield {'text': f'text {i}'}\n"
    found, _ = read(own(tmp_path, code))
    assert found["text"].to_list() == [f"text {i}" for i in range(100)]
    assert found["id"].to_list() == [f"mine.py#{i}" for i in range(1, 101)]


def test_settings_survive_being_dumped_and_read_again(tickets) -> None:
    (source,) = load(tickets / "mine.yaml").sources
    assert parse_source(source.model_dump(mode="json", by_alias=True)) == source
    assert source.model_dump()["min_words"] == 5
