"""Rows of a changed fragment that an earlier version of it had: what was computed of them is used again.

New documents are spread over all fragments, since a document's hash says where it stands. A signal is a pure function
of its own row, so in a fragment that has changed, signals are computed for the rows that are new alone. A row is known
if all that `signals` sees of it is as it was, to the byte: its text, its source, its language. So the bytes that are
written are those of a run from nothing.

A source that has grown much is cut into twice as many fragments, of other names. Then a fragment's rows are taken from
the tables of the one that it was cut from. (Where a source has shrunk, so that a fragment holds the rows of several,
all of it is computed.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.documents.changes import Change, change_of
from pipeline.documents.document import holders
from pipeline.documents.view import Documents
from pipeline.store.artifact import Artifact
from pipeline.store.bytes_check import Damaged
from pipeline.store.draft import Draft
from pipeline.store.store import Store


@dataclass(frozen=True)
class Remembered:
    """A table of an earlier version of a stage whose columns may be used again.

    documents: what it was made of, with the one fragment that it is about; None if its rows are those of the fragment
    as it is.
    """

    table: Path
    documents: Documents | None = None


class Rows:
    """The rows of a fragment beside those that an earlier version of a table was made of.

    Text is read only where it is asked for, and if all of it is of new documents, from what is known of the change.
    """

    def __init__(
        self,
        documents: Documents,
        fragment: str,
        remembered: Remembered | None,
        columns: Sequence[str] = ("doc_id", "text", "source", "lang"),
    ):
        """columns: of documents, that a stage sees; `doc_id` and `text` among them."""
        self.documents, self.fragment, self.remembered = documents, fragment, remembered
        plain = documents.read(fragment, [name for name in columns if name != "text"])
        self.plain, self.kept = plain.drop("kept"), plain["kept"]  # all columns but the text
        self._seen = [*columns, *(name for name in self.plain.columns if name not in columns)]
        self._change: Change | None = None

    def earlier(self) -> pl.DataFrame | None:
        """The row of the remembered table for each row, all null where it is not known; None if there is no table."""
        if self.remembered is None:
            return None
        table = pl.read_parquet(self.remembered.table)
        if self.remembered.documents is None:
            return table
        place, _ = self._places(self.remembered.documents)
        return table.select(pl.all().gather(place))

    def earlier_kept(self) -> pl.Series | None:
        """For each of the kept rows, its place among those that were kept then, null if it was not; None if there is no
        earlier version."""
        if self.remembered is None or self.remembered.documents is None:
            return None
        place, kept = self._places(self.remembered.documents)
        among = pl.select(pl.when(kept).then(kept.cum_sum().cast(pl.UInt32) - 1)).to_series()
        return among.gather(place).filter(self.kept)

    def frame(self, chosen: pl.Series) -> pl.DataFrame:
        """The columns, text among them, of the rows at which `chosen` is true."""
        return self.plain.filter(chosen).with_columns(self._texts(chosen)).select(self._seen)

    def _texts(self, chosen: pl.Series) -> pl.Series:
        change = self._change
        if not chosen.any():
            return pl.Series("text", [], dtype=pl.String)
        if change is not None and change.texts is not None and not (chosen & change.place.is_not_null()).any():
            return change.texts.filter(chosen)
        path = self.documents.raw.table(self.fragment)
        return pl.read_parquet(path, columns=["text"])["text"].filter(chosen)

    def _places(self, then: Documents) -> tuple[pl.Series, pl.Series]:
        """For each row, the place of one that was equal in all columns, null if there is none; and, of the rows then,
        which were kept."""
        [holder] = then.fragments
        self._change = change_of(then.raw, holder, self.documents.raw, self.fragment)
        before = then.read(holder, self.plain.columns)
        place, same = self._change.place, self._change.place.is_not_null()
        for name in self.plain.columns:
            if name != "doc_id":
                same &= self.plain[name].eq_missing(before[name].gather(place))
        return pl.select(pl.when(same).then(place)).to_series(), before["kept"]


class EarlierVersions:
    """The earlier versions of an artifact of decisions that fit, with what they were made of."""

    def __init__(
        self,
        draft: Draft,
        store: Store,
        documents: Documents,
        fits: Callable[[dict[str, Any]], bool],
        only_kept: bool = False,
    ):
        """fits: whether a version's `made_of` is what the tables depend on here, but for the documents. only_kept:
        whether the rows of tables are those that the previous stage kept."""
        self._draft, self._found = draft, list[tuple[Artifact, Documents]]()
        views = (documents.raw, documents.previous if only_kept else None, documents.languages)
        for version in draft.earlier():
            if fits(version.manifest["made_of"]):
                then = [None if now is None else _input(store, version, now) for now in views]
                same = [now is None for now in views] == [one is None for one in then]
                # They are not in force, so `slm store prune` would delete them before they are read.
                if same and then[0] is not None and draft.hold(filter(None, then)):
                    self._found.append((version, Documents(then[0], then[1], then[2])))

    def remembered(
        self, fragment: str, table: str = "", parts: Mapping[str, str] | None = None, companion: str = ""
    ) -> Remembered | None:
        """The first whose table of this fragment, or of the one that it was cut from, can be read again.

        table: its name, if it is a side table: a folder's and the fragment's. parts: keys that its parts must have.
        companion: suffix of a file of the same name that has to exist as well.
        """
        folder = table.removesuffix(fragment)
        for (version, documents), holder in product(self._found, holders(fragment)):
            names = [f"{folder}{holder}{suffix}" for suffix in (".parquet", companion) if suffix]
            entry = version.manifest["files"].get(names[0], {})
            # Without `parts`, the stage was switched off there, or the fragment was set aside.
            fits = bool(entry) if table else "parts" in entry
            if fits and (parts or {}).items() <= entry.get("parts", {}).items():
                sources = [of for of in (documents.raw, documents.previous, documents.languages) if of is not None]
                needed = [(version, name) for name in names] + [(of, f"{holder}.parquet") for of in sources]
                if all(name in of.manifest["files"] and self._draft.usable(of, name) for of, name in needed):
                    return Remembered(version.place(names[0]), documents.only(holder))
        return None


def same_but_documents(
    code_version: str, settings: dict[str, Any], inputs: Mapping[str, Artifact | str], documents: Documents
) -> Callable[[dict[str, Any]], bool]:
    """Whether an earlier version (its `made_of`) was made as this one is, of other documents or decisions on them."""
    of_documents = asset_names(documents)
    digests = {name: given if isinstance(given, str) else given.digest for name, given in inputs.items()}

    def rest(given: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in given.items() if name not in of_documents}

    plain = json.loads(json.dumps(settings))  # as a manifest has it

    def fits(made: dict[str, Any]) -> bool:
        same = made["code_version"] == code_version and made["settings"] == plain
        return same and made["inputs"].keys() == digests.keys() and rest(made["inputs"]) == rest(digests)

    return fits


def asset_names(documents: Documents) -> set[str]:
    """The artifacts that a view of documents consists of."""
    return {artifact.asset for artifact in (documents.raw, documents.previous, documents.languages) if artifact}


def rows_found(
    documents: Documents,
    fragment: str,
    columns: Sequence[str],
    remembered: Remembered | None,
    find: Callable[[pl.DataFrame], pl.DataFrame],
    order: Sequence[str],
) -> pl.DataFrame:
    """The table of what `find` finds in the kept rows of a fragment, computed for those that are not known.

    columns: of documents, that `find` sees, `text` among them. find: kept rows -> any number of rows, of which `row`
    (UInt32) is the place of the document among those given, and nothing depends on the documents beside. order: columns
    that the table is sorted by; `row` is the first, and together they are unique.
    """
    rows = Rows(documents, fragment, remembered, ["doc_id", *columns])
    place = rows.earlier_kept()
    if remembered is None or place is None:
        return find(rows.frame(rows.kept)).sort(order)
    new = place.is_null()
    found = find(rows.frame(spread(new, rows.kept)))
    fresh = found.with_columns(row=new.arg_true().gather(found["row"]).cast(pl.UInt32))
    moved = pl.DataFrame({"row": place, "to": pl.int_range(len(place), dtype=pl.UInt32, eager=True)}).drop_nulls()
    known = pl.read_parquet(remembered.table).join(moved, on="row").with_columns(row="to").select(fresh.columns)
    return pl.concat([fresh, known]).sort(order)


def spread(flags: pl.Series, kept: pl.Series) -> pl.Series:
    """Flags of the kept rows as flags of all rows; false where a row is not kept."""
    return pl.repeat(False, len(kept), dtype=pl.Boolean, eager=True).scatter(kept.arg_true(), flags)


def _input(store: Store, version: Artifact, like: Artifact) -> Artifact | None:
    """The version of the artifact `like` that another artifact was made from; None if it is gone or damaged."""
    given = version.manifest["inputs"].get(like.asset)
    if isinstance(given, dict):
        with suppress(Damaged):
            return store.version(like.asset, given["version"])
    return None
