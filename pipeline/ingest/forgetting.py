"""Documents that must not be used: a removal list that ingest obeys from then on.

The list lies beside the artifacts of the recipe, one line a document: its id, why, and when. It holds no text. Since
it is an input of `raw_documents`, everything that the document went into is made again by the next job.
"""

from __future__ import annotations

import json
from datetime import date

from pipeline.errors import UserError
from pipeline.store.artifact import digest
from pipeline.store.store import Store

LIST = "forgotten.jsonl"
KEYS = ("doc_id", "reason", "date")
OBEYING = "raw_documents"  # the artifact whose settings say which list it was made with


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


def pending(store: Store) -> list[dict[str, str]]:
    """The entries that no run has obeyed yet, in the order of the list: those added since `raw_documents` was made.

    All of them where it was not made yet; none where what it was made with is no beginning of the list.
    """
    known = records(store)
    made = store.current(OBEYING)
    if made is None:
        return known
    obeyed = made.manifest["made_of"]["settings"]["forgotten"]
    for count in range(len(known), -1, -1):
        if digest(sorted(entry["doc_id"] for entry in known[:count])) == obeyed:
            return known[count:]
    return []


def undo(store: Store, doc_ids: list[str] | None = None) -> list[str]:
    """Take documents off the list that no run has obeyed yet (None: all of these); returns their ids.

    Raises UserError if there is none, or if one of `doc_ids` is not among them.
    """
    open_to_undo = [entry["doc_id"] for entry in pending(store)]
    if not open_to_undo:
        raise UserError(
            "There is nothing to undo: a run has obeyed every entry of the removal list (`slm forget --list`)."
        )
    chosen = open_to_undo if doc_ids is None else doc_ids
    for doc_id in chosen:
        if doc_id not in open_to_undo:
            raise UserError(f"{doc_id} cannot be taken off the removal list: a run has obeyed it, or it is not on it.")

    def changed(before: str | None) -> str:
        left = [entry for entry in entries(before) if entry["doc_id"] not in chosen]
        return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in left)

    store.change_record(LIST, changed)
    return chosen
