"""Documents that must not be used: a removal list that ingest obeys from then on.

The list lies beside the artifacts of the recipe, one line a document: its id, why, and when. It holds no text. Since
it is an input of `raw_documents`, everything that the document went into is made again by the next job.
"""

from __future__ import annotations

import json
from datetime import date

from pipeline.store.store import Store

LIST = "forgotten.jsonl"


def records(store: Store) -> list[dict[str, str]]:
    """All entries of the list: doc_id, reason, date."""
    return [json.loads(line) for line in (store.read_record(LIST) or "").splitlines() if line.strip()]


def forgotten(store: Store) -> frozenset[str]:
    """Ids of the documents that must not be used."""
    return frozenset(record["doc_id"] for record in records(store))


def forget(store: Store, doc_ids: list[str], reason: str) -> list[str]:
    """Put documents on the list; returns those that were not on it yet."""
    new = sorted(set(doc_ids) - forgotten(store))
    today = date.today().isoformat()
    added = [{"doc_id": doc_id, "reason": reason, "date": today} for doc_id in new]
    lines = [json.dumps(record, ensure_ascii=False) for record in records(store) + added]
    store.write_record(LIST, "\n".join(lines) + "\n" if lines else "")
    return new
