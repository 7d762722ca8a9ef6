"""A source that has got more files: these alone are read, and what comes out is what reading all would give."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.context import RunContext
from pipeline.ingest import fragments, raw_documents
from pipeline.ingest.files import InFiles
from pipeline.ingest.forgetting import forget
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from tests.ingest.test_raw_documents import documents, rows, silent, source, write

NOTE = "s.read.parquet"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    real = InFiles.opened.__wrapped__  # type: ignore[attr-defined]

    def generator(self: InFiles, observed: Any, reading: Any) -> Any:
        for parts in real(self, observed, reading):
            yield (names.append(part.name) or part for part in parts)

    from contextlib import contextmanager

    monkeypatch.setattr(InFiles, "opened", contextmanager(generator))
    return names


def made(store: Store, folder: Path, **more: Any) -> Artifact:
    return raw_documents.make(RunContext(store, silent), {}, [source(folder / "*", **more)])


def from_nothing(tmp_path: Path, folder: Path, gone: list[str] | None = None, **more: Any) -> Artifact:
    store = Store(tmp_path / "fresh", "r")
    forget(store, gone or [], "asked for")
    return made(store, folder, **more)


def same(one: Artifact, other: Artifact) -> bool:
    return all(getattr(one, what) == getattr(other, what) for what in ("digest", "facts", "counts"))


@pytest.fixture(autouse=True)
def small_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments, "FRAGMENT_BYTES", 4000)


@pytest.mark.parametrize("count", [1, 30])
def test_new_files_alone_are_read(tmp_path: Path, opened: list[str], count: int) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    write(folder / "b.jsonl", [{**row, "license": "own", "lang": "ko"} for row in rows(200)])
    made(store, folder)
    write(folder / "a.jsonl", [{**row, "lang": "en"} for row in rows(count, 1)] + [{"text": " "}])
    opened.clear()
    grown = made(store, folder)
    assert opened == ["a.jsonl"]
    assert same(grown, from_nothing(tmp_path, folder))
    assert len(grown.fragments) > 8 and grown.counts["removed"] == {"empty": 1}
    assert grown.facts["sources"]["s"]["languages"] == {"ko": 200, "en": count}
    write(folder / "c.jsonl", rows(1, 2))
    opened.clear()
    assert made(store, folder).counts["kept"] == 201 + count
    assert opened == ["c.jsonl"]


@pytest.mark.parametrize("memory", [fragments.MEMORY_BYTES, 9000], ids=["in memory", "in buckets"])
def test_new_files_alone_are_read_where_they_make_fragments_too_large(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    monkeypatch.setattr(fragments.Sorter.__init__, "__defaults__", (memory, 0))
    write(folder / "b.jsonl", [{**row, "lang": "ko"} for row in rows(200)])
    before = made(store, folder)
    gone = documents(before)["doc_id"].to_list()[:2]
    forget(store, gone, "asked for")
    write(folder / "a.jsonl", [*rows(500, 1), {"text": " "}, {**rows(200)[5], "id": "copy"}])
    opened.clear()
    grown = made(store, folder)
    assert opened == ["a.jsonl"] and len(grown.fragments) == 4 * len(before.fragments)
    assert grown.counts["removed"] == {"empty": 1, "forgotten": 2}
    assert same(grown, from_nothing(tmp_path, folder, gone))


def another(folder: Path) -> None:
    write(folder / "a.jsonl", rows(10, 1))


def changed(folder: Path) -> None:
    another(folder)
    write(folder / "b.jsonl", rows(201))


def renamed(folder: Path) -> None:
    another(folder)
    (folder / "b.jsonl").rename(folder / "c.jsonl")


def same_id(folder: Path) -> None:
    """The order of files decides which of two comes first: a copy of another language."""
    write(folder / "a.jsonl", [{**rows(200)[7], "lang": "xx"}])


def same_id_among_many(folder: Path) -> None:
    write(folder / "a.jsonl", [{**rows(200)[7], "lang": "xx"}, *rows(300, 1)])


def other_kind(folder: Path) -> None:
    (folder / "a.txt").write_text("Another text.")


@pytest.mark.parametrize(
    "change", [changed, renamed, same_id, same_id_among_many, other_kind], ids=lambda case: case.__name__
)
def test_all_is_read_where_more_may_have_changed(
    tmp_path: Path, opened: list[str], change: Callable[[Path], None]
) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    write(folder / "b.jsonl", rows(200))
    made(store, folder)
    change(folder)
    opened.clear()
    grown = made(store, folder)
    assert {"b.jsonl", "c.jsonl"} & set(opened)
    assert same(grown, from_nothing(tmp_path, folder))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 9), "stale"])
def test_all_is_read_where_the_note_is_not_of_the_version(tmp_path: Path, opened: list[str], damage: Any) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    note = Path(store.root) / ".sources" / NOTE
    write(folder / "b.jsonl", rows(200))
    made(store, folder)
    if damage == "stale":
        old = note.read_bytes()
        write(folder / "c.jsonl", rows(5, 2))
        made(store, folder)
        note.write_bytes(old)
    else:
        damage(note)
    another(folder)
    opened.clear()
    assert same(made(store, folder), from_nothing(tmp_path, folder))
    assert "b.jsonl" in opened


@pytest.mark.parametrize("settings", [{"limit": 203}, {"license": "own"}])
def test_all_is_read_with_a_limit_or_other_settings(
    tmp_path: Path, opened: list[str], settings: dict[str, Any]
) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    write(folder / "b.jsonl", rows(200))
    made(store, folder, **({} if "license" in settings else settings))
    another(folder)
    opened.clear()
    assert same(made(store, folder, **settings), from_nothing(tmp_path, folder, **settings))
    assert "b.jsonl" in opened


def test_documents_to_be_forgotten_are_left_out_of_old_and_new_files(tmp_path: Path, opened: list[str]) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    write(folder / "b.jsonl", rows(200))
    ids = documents(made(store, folder))["doc_id"].to_list()
    forget(store, ids[:1], "asked for")
    made(store, folder)
    another(folder)
    new = [row for row in documents(from_nothing(tmp_path, folder))["doc_id"].to_list() if row not in ids]
    gone = [*ids[:3], *ids[-2:], new[4]]
    forget(store, gone, "asked for")
    opened.clear()
    grown = made(store, folder)
    assert opened == ["a.jsonl"] and grown.counts["removed"] == {"forgotten": 6}
    assert same(grown, from_nothing(tmp_path / "again", folder, gone))


@pytest.mark.parametrize("count", [40, 300], ids=["as it was cut", "cut anew"])
def test_all_is_read_where_a_fragment_is_damaged(tmp_path: Path, opened: list[str], count: int) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    write(folder / "b.jsonl", rows(200))
    before = made(store, folder)
    os.truncate(before.place(f"{before.fragments[0]}.parquet"), 100)
    write(folder / "a.jsonl", rows(count, 1))
    opened.clear()
    assert same(made(store, folder), from_nothing(tmp_path, folder))
    assert "b.jsonl" in opened


@pytest.mark.parametrize("count", [40, 300], ids=["as it was cut", "cut anew"])
def test_a_run_that_was_killed_ends_with_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    folder, store = tmp_path / "files", Store(tmp_path / "store", "r")
    write(folder / "b.jsonl", rows(200))
    made(store, folder)
    write(folder / "a.jsonl", rows(count, 1))
    record, written = Draft.record, list[str]()

    def killed(self: Draft, name: str, *given: Any, **named: Any) -> Any:
        written.append(name)
        if len(written) == 3:
            raise KeyboardInterrupt
        return record(self, name, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Draft, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            made(store, folder)
    grown = made(store, folder)
    assert same(grown, from_nothing(tmp_path, folder))
