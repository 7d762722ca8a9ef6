"""What changed in a fragment is found out once; without it, or with a wrong one, the tables are the same."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.curation.filters import keywords, language
from pipeline.documents import changes
from pipeline.store.artifact import CHANGES, Artifact
from pipeline.store.store import Store
from tests.curation.written_documents import raw_documents
from tests.making import after, context

FRAGMENT = "s-all"


def rows(first: int, end: int) -> list[dict[str, Any]]:
    return [
        {"text": f"This is the story number {number} of a long series.", "lang": "en"} for number in range(first, end)
    ]


def judged(store: Store, raw: Artifact) -> list[Artifact]:
    """Two stages, one after the other."""
    found = language.STAGE.make(context(store), after(raw), language.Settings(allow=[]))
    settings = keywords.Settings()
    return [found, keywords.STAGE.make(context(store), after(raw, found, languages=found), settings)]


@pytest.fixture
def grown(tmp_path: Path) -> tuple[Store, Artifact, list[str], Path]:
    """A store of two stages, new raw documents, the digests of both stages from nothing, and where changes are kept."""
    fresh = Store(tmp_path / "fresh", "r")
    full = [made.digest for made in judged(fresh, raw_documents(fresh, rows(0, 44)))]
    store = Store(tmp_path / "store", "r")
    before = raw_documents(store, rows(0, 40))
    judged(store, before)
    return store, raw_documents(store, rows(0, 44)), full, before.directory.parent / CHANGES / FRAGMENT


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The versions of fragments that were compared."""
    seen: list[Path] = []
    compare = changes._compared
    monkeypatch.setattr(changes, "_compared", lambda before, now: seen.append(now) or compare(before, now))
    return seen


def test_two_versions_are_compared_once_and_no_other_text_is_read(
    grown: tuple[Store, Artifact, list[str], Path], compared: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, raw, full, kept = grown
    read, unpacked = pl.read_parquet, list[Any]()

    def read_parquet(source: Any, *given: Any, columns: Any = None, **named: Any) -> pl.DataFrame:
        if isinstance(source, Path) and "text" in (columns or []):
            unpacked.append(source)
        return read(source, *given, columns=columns, **named)

    monkeypatch.setattr(pl, "read_parquet", read_parquet)
    assert [made.digest for made in judged(store, raw)] == full
    assert len(compared) == 1 and len(unpacked) == 2 and kept.exists()  # of two stages, and the text of two versions


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:40] + b"\xff" + path.read_bytes()[41:]),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: changes._write(path, b"other versions", pl.DataFrame({"place": [0] * 44, "text": [None] * 44})),
    ],
    ids=["empty", "cut off", "another byte", "a folder", "of other versions"],
)
def test_what_is_damaged_or_of_other_versions_is_compared_again(
    grown: tuple[Store, Artifact, list[str], Path], compared: list[Path], damage: Callable[[Path], Any]
) -> None:
    store, raw, full, kept = grown
    found = language.STAGE.make(context(store), after(raw), language.Settings(allow=[]))
    damage(kept)
    made = keywords.STAGE.make(context(store), after(raw, found, languages=found), keywords.Settings())
    assert [found.digest, made.digest] == full and len(compared) == 2


def test_where_it_cannot_be_written_both_stages_compare(
    grown: tuple[Store, Artifact, list[str], Path], compared: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, raw, full, kept = grown

    def refused(path: Path, *given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(changes, "_write", refused)
    assert [made.digest for made in judged(store, raw)] == full
    assert len(compared) == 2 and not kept.exists()


def test_of_many_new_documents_no_text_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, "r")
    before, few = raw_documents(store, rows(0, 40)), raw_documents(store, rows(0, 44))
    many = raw_documents(store, rows(0, 80))
    texts = changes.change_of(before, FRAGMENT, few, FRAGMENT).texts
    assert texts is not None and sorted(texts.drop_nulls()) == sorted(row["text"] for row in rows(40, 44))
    change = changes.change_of(before, FRAGMENT, many, FRAGMENT)
    assert change.texts is None and change.place.null_count() == 40


def test_prune_deletes_it(grown: tuple[Store, Artifact, list[str], Path]) -> None:
    store, raw, full, kept = grown
    judged(store, raw)
    assert kept.exists()
    store.prune("raw_documents", 5, log=lambda line: None)
    assert not kept.parent.exists()
    assert [made.digest for made in judged(store, raw)] == full
