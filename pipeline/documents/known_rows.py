"""Rows of a changed fragment that an earlier version of it had: what was computed of them is used again.

New documents are spread over all fragments, since a document's hash says where it stands. A signal is a pure function
of its own row, so in a fragment that has changed, signals are computed for the rows that are new alone. A row is known
if all that `signals` sees of it is as it was, to the byte: its text, its source, its language. So the bytes that are
written are those of a run from nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.documents.view import Documents
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store


@dataclass(frozen=True)
class Remembered:
    """A table of an earlier version of a stage whose columns may be used again.

    documents: what it was made of, with this fragment alone; None if its rows are those of the fragment as it is.
    """

    table: Path
    documents: Documents | None = None

    def rows(self, frame: pl.DataFrame, fragment: str) -> pl.DataFrame:
        """Its row for each row of `frame`, all null for rows that it does not know.

        frame: what the stage sees of the fragment's rows; it has the columns doc_id and text.
        """
        table = pl.read_parquet(self.table)
        if self.documents is None:
            return table
        return table.select(pl.all().gather(places(frame, self.documents.read(fragment).select(frame.columns))))


def places(frame: pl.DataFrame, before: pl.DataFrame) -> pl.Series:
    """For each row of `frame`, the number of a row of `before` that is equal in all columns; null if there is none."""
    marked = [table.select("doc_id", mark=pl.col("text").hash()) for table in (frame, before)]
    known = marked[1].with_row_index("place").unique(["doc_id", "mark"], keep="first")
    place = marked[0].join(known, on=["doc_id", "mark"], how="left", maintain_order="left")["place"]
    # An id is of the words alone, and a hash may be another text's by chance.
    then = before.select(pl.all().gather(place))
    same = reduce(lambda one, other: one & other, (frame[name].eq_missing(then[name]) for name in frame.columns))
    return pl.select(pl.when(same & place.is_not_null()).then(place)).to_series()


class EarlierVersions:
    """The earlier versions of an artifact of decisions that fit, with what they were made of."""

    def __init__(self, draft: Draft, store: Store, documents: Documents, fits: Callable[[dict[str, Any]], bool]):
        """fits: whether what a version was made of (`made_of`) is what signals depend on here, but for the rows."""
        self._draft, self._found = draft, list[tuple[Artifact, Documents]]()
        for version in draft.earlier():
            if not fits(version.manifest["made_of"]):
                continue
            raw = _input(store, version, documents.raw)
            languages = None if documents.languages is None else _input(store, version, documents.languages)
            if raw is not None and (documents.languages is None or languages is not None):
                self._found.append((version, Documents(raw, None, languages)))

    def remembered(self, fragment: str) -> Remembered | None:
        """The first whose rows of this fragment can be read again."""
        name = f"{fragment}.parquet"
        for version, documents in self._found:
            sources = [artifact for artifact in (documents.raw, documents.languages) if artifact is not None]
            # Without `parts`, the stage was switched off there, or the fragment was set aside.
            whole = version.manifest["files"].get(name, {}).get("parts") and self._draft.usable(version, name)
            if whole and all(name in of.manifest["files"] and self._draft.usable(of, name) for of in sources):
                return Remembered(version.place(name), documents.only(fragment))
        return None


def _input(store: Store, version: Artifact, like: Artifact) -> Artifact | None:
    """The version of the artifact `like` that another artifact was made from; None if it is gone."""
    given = version.manifest["inputs"].get(like.asset)
    return store.version(like.asset, given["version"]) if isinstance(given, dict) else None
