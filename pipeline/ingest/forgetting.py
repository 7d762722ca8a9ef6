"""Documents that must not be used: a removal list that ingest obeys from then on.

The list lies beside the artifacts of the recipe, one line a document: its id, why, and when. It holds no text. Since
it is an input of `raw_documents`, everything that the document went into is made again by the next job.

A second list of the same form, EXACT, is of what models forget exactly: the tables stay as they are, and trainings
leave the places of its documents, conversations and pairs empty (`pipeline/training/slots.py`).
"""

from __future__ import annotations

import json
from datetime import date

from pipeline.errors import UserError
from pipeline.store.artifact import digest
from pipeline.store.store import Store

LIST = "forgotten.jsonl"
EXACT = "forgotten_exactly.jsonl"
KEYS = ("doc_id", "reason", "date")
OBEYING = "raw_documents"  # the artifact whose settings say which list it was made with


def records(store: Store, name: str = LIST) -> list[dict[str, str]]:
    """All entries of a list: doc_id, reason, date. Raises UserError if a line of it is damaged."""
    return entries(store.read_record(name), name)


def entries(text: str | None, name: str = LIST) -> list[dict[str, str]]:
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
                f"Line {number} of the removal list {name} is damaged: put the file back from a backup, or correct the "
                f"line ({', '.join(KEYS)}), so that no document is used that must not be."
            ) from None
        found.append(entry)
    return found


def forgotten(store: Store) -> frozenset[str]:
    """Ids of the documents that must not be used."""
    return frozenset(record["doc_id"] for record in records(store))


def forget(store: Store, doc_ids: list[str], reason: str, name: str = LIST) -> list[str]:
    """Put documents on a list; returns those that were not on it yet. Several processes may do so at once."""
    new: list[str] = []
    today = date.today().isoformat()

    def changed(before: str | None) -> str:
        known = entries(before, name)
        new[:] = sorted(set(doc_ids) - {entry["doc_id"] for entry in known})
        known += [{"doc_id": doc_id, "reason": reason, "date": today} for doc_id in new]
        return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in known)

    store.change_record(name, changed)
    return new


def forgotten_exactly(store: Store) -> frozenset[str]:
    """Ids of the documents, conversations and pairs whose places trainings leave empty."""
    return frozenset(record["doc_id"] for record in records(store, EXACT))


def take_off(store: Store, doc_ids: list[str] | None, name: str = EXACT) -> list[str]:
    """Take documents off a list, whether a run has obeyed them or not (None: all of them); returns their ids.

    Raises UserError if one of `doc_ids` is not on it.
    """
    there = [entry["doc_id"] for entry in records(store, name)]
    for doc_id in doc_ids or ():
        if doc_id not in there:
            raise UserError(f"{doc_id} is not on the list of what is forgotten exactly (`slm forget --list`).")
    chosen = there if doc_ids is None else doc_ids

    def changed(before: str | None) -> str:
        left = [entry for entry in entries(before, name) if entry["doc_id"] not in chosen]
        return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in left)

    store.change_record(name, changed)
    return chosen


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
