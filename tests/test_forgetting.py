"""The removal list: it names ids and reasons, and never the text."""

from pipeline.ingest.forgetting import forget, forgotten, records
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
