"""Documents that must not be used: a removal list that ingest obeys from then on.

The list lies beside the artifacts of the recipe, one line a document: its id, why, and when. It holds no text. Since
it is an input of `raw_documents`, everything that the document went into is made again by the next job.
"""

from __future__ import annotations

import json
from datetime import date

from pipeline.errors import UserError
from pipeline.store.store import Store

LIST = "forgotten.jsonl"
KEYS = ("doc_id", "reason", "date")


def records(store: Store) -> list[dict[str, str]]:
    """All entries of the list: doc_id, reason, date. Raises UserError if a line of it is damaged."""
    return entries(store.read_record(LIST))


def entries(text: str | None) -> list[dict[str, str]]:
    """The entries of a list. What cannot be read is never passed over: it may name somebody's document."""
    found = []
    for number, line in enumerate((text or "").split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if not all(isinstance(entry[key], str) for key in KEYS):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"Line {number} of the removal list {LIST} is damaged: put the file back from a backup, or correct the "
                f"line ({', '.join(KEYS)}), so that no document is used that must not be."
            ) from None
        found.append(entry)
    return found


def forgotten(store: Store) -> frozenset[str]:
    """Ids of the documents that must not be used."""
    return frozenset(record["doc_id"] for record in records(store))


def forget(store: Store, doc_ids: list[str], reason: str) -> list[str]:
    """Put documents on the list; returns those that were not on it yet. Several processes may do so at once."""
    new: list[str] = []
    today = date.today().isoformat()

    def changed(before: str | None) -> str:
        known = entries(before)
        new[:] = sorted(set(doc_ids) - {entry["doc_id"] for entry in known})
        known += [{"doc_id": doc_id, "reason": reason, "date": today} for doc_id in new]
        return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in known)

    store.change_record(LIST, changed)
    return new
