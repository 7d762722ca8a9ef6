"""What a person is told of sources before anything runs."""

from __future__ import annotations

import json

import pytest

from pipeline.curation.filters import language
from pipeline.errors import UserError
from pipeline.ingest import preview as look
from pipeline.ingest.files import FileSource
from pipeline.ingest.source import Source


def silent(message: str) -> None:
    pass


@pytest.fixture
def notes(tmp_path) -> Source:
    lines = [{"text": f"문서 {i} " + "글 " * i, "lang": "ko" if i % 2 else "en"} for i in range(1, 31)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [{"text": ""}, *lines]))
    return FileSource(name="notes", path=[str(tmp_path / "*.jsonl")], license="own")


def test_a_check_shows_sizes_languages_and_samples(notes, store) -> None:
    checked = look.check(notes, store, silent)
    assert (checked.documents, checked.whole) == (30, True)
    assert checked.languages == {"en": 15, "ko": 15} and checked.licenses == {"own": 30}
    assert checked.skipped == {"empty": 1} and len(checked.samples) == 3
    lines = list(look.described(checked))
    assert lines[0].startswith("notes (files): 30 documents, ")
    assert " kB, all of it" in lines[0], "not 0.0 MB"
    assert any("left out: 1 empty (no text" in line for line in lines)
    assert store.current("raw_documents") is None


def test_a_check_finds_the_languages_that_nothing_declares(tmp_path, store) -> None:
    texts = ["러스트에서 값은 언제나 한 소유자가 있고, 소유자가 사라지면 값도 사라진다.", "Each value has one owner."]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [{"text": texts[0]}, {"text": texts[1], "lang": "fr"}])
    )
    source = FileSource(name="notes", path=[str(tmp_path / "a.jsonl")])
    assert look.check(source, store, silent).languages == {"unknown": 1, "fr": 1}
    assert look.check(source, store, silent, find=language.labels).languages == {"ko": 1, "fr": 1}


def test_a_check_reads_the_first_documents_only(notes, store) -> None:
    checked = look.check(notes, store, silent, most=10)
    assert (checked.documents, checked.whole) == (10, False)
    assert look.check(notes.model_copy(update={"limit": 5}), store, silent).documents == 5


def test_a_check_of_nothing(tmp_path, store) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(UserError, match="gives no document"):
        look.check(FileSource(name="s", path=[str(tmp_path / "a.jsonl")]), store, silent)


def test_the_listing_tells_what_changed_and_what_is_missing(notes, tmp_path, store, make) -> None:
    gone = FileSource(name="gone", path=[str(tmp_path / "no*.txt")])
    first = list(look.listing([notes, gone], store, silent))
    assert first[0].changed and first[0].documents is None and first[0].observed["files"] == 1
    assert first[1].observed is None and "no file matches" in first[1].problem
    make(notes)
    assert [(seen.changed, seen.documents) for seen in look.listing([notes], store, silent)] == [(False, 30)]
    (tmp_path / "b.jsonl").write_text('{"text": "more"}\n')
    assert [seen.changed for seen in look.listing([notes], store, silent)] == [True]


def test_the_catalogue_is_listed() -> None:
    names = [name for name, about, size in look.entries() if about and size]
    assert "wikipedia" in names and len(names) >= 20
