"""The removal list: it names ids and reasons, never the text, and can be taken back until a run obeys it."""

import pytest

from pipeline.errors import UserError
from pipeline.ingest.forgetting import forget, forgotten, pending, records, undo
from pipeline.store.artifact import digest
from pipeline.store.store import Store


def test_what_is_forgotten_stays_forgotten_once(tmp_path):
    store = Store(tmp_path, "r")
    assert forgotten(store) == frozenset()
    assert forget(store, ["b", "a", "b"], "asked for") == ["a", "b"]
    assert forget(store, ["c", "a"], "또 다른 이유") == ["c"]
    assert forgotten(Store(tmp_path, "r")) == {"a", "b", "c"}
    assert [(r["doc_id"], r["reason"]) for r in records(store)] == [
        ("a", "asked for"), ("b", "asked for"), ("c", "또 다른 이유"),
    ]  # fmt: skip
    assert all(record.keys() == {"doc_id", "reason", "date"} for record in records(store))


def obey(store):
    """As a run does: raw documents made with the list as it is now."""
    settings = {"sources": {}, "forgotten": digest(sorted(forgotten(store)))}
    store.make("raw_documents", code_version="1", settings=settings, inputs={}, build=lambda draft: None, log=print)


def test_what_was_forgotten_can_be_taken_back_until_a_run_obeys_it(tmp_path):
    store = Store(tmp_path, "r")
    forget(store, ["a"], "asked for")
    obey(store)
    assert pending(store) == []
    forget(store, ["b", "c"], "by mistake")
    assert [entry["doc_id"] for entry in pending(store)] == ["b", "c"]
    with pytest.raises(UserError, match="a cannot be taken off"):
        undo(store, ["a"])
    assert undo(store, ["b"]) == ["b"] and forgotten(store) == {"a", "c"}
    assert undo(store) == ["c"] and forgotten(store) == {"a"}
    with pytest.raises(UserError, match="nothing to undo"):
        undo(store)
    forget(store, ["d"], "asked for")
    obey(store)
    with pytest.raises(UserError, match="nothing to undo"):
        undo(store)
