"""Raw documents seen through the decisions made so far.

The decisions of a stage say of each row: kept here, removed here, or removed before. So the last stage's table is
enough to know what is left, and `key` is all that a by-fragment result can depend on: the bytes of the fragment and
which of its rows are left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.documents.document import source_of
from pipeline.store.artifact import Artifact


@dataclass(frozen=True)
class Documents:
    """`raw` through `previous`, the decisions of the stage before (None: every document is still there)."""

    raw: Artifact
    previous: Artifact | None = None

    @property
    def fragments(self) -> list[str]:
        return self.raw.fragments

    def only(self, fragment: str) -> Documents:
        """The view of one fragment alone, small enough to be sent to a worker."""
        previous = None if self.previous is None else self.previous.only(fragment)
        return Documents(self.raw.only(fragment), previous)

    def key(self, fragment: str) -> dict[str, str]:
        """What a result made from this fragment depends on."""
        kept = "all" if self.previous is None else self.previous.entry(fragment)["facts"]["mask"]
        return {"raw": self.raw.entry(fragment)["sha256"], "kept": kept}

    def rows(self, fragment: str) -> int:
        return self.raw.entry(fragment)["rows"]

    def bytes(self, fragment: str) -> int:
        """Size of the fragment's file."""
        return self.raw.entry(fragment)["bytes"]

    def source(self, fragment: str) -> str:
        return source_of(fragment)

    def kept(self, fragment: str) -> pl.Series:
        """For each row of the fragment, whether no stage so far has removed it."""
        if self.previous is None:
            return pl.repeat(True, self.rows(fragment), dtype=pl.Boolean, eager=True).alias("kept")
        keep = pl.read_parquet(self.previous.table(fragment), columns=["keep"])["keep"]
        return keep.fill_null(False).alias("kept")

    def read(self, fragment: str, columns: Sequence[str] = ("doc_id", "text", "source", "lang")) -> pl.DataFrame:
        """All rows of the fragment, in its order, with the column `kept` beside those asked for."""
        frame = pl.read_parquet(self.raw.table(fragment), columns=list(columns))
        return frame.with_columns(self.kept(fragment))

    def each(self, columns: Sequence[str] = ("doc_id", "text", "source", "lang")) -> Iterator[tuple[str, pl.DataFrame]]:
        """Fragment by fragment, the documents that are left."""
        for fragment in self.fragments:
            yield fragment, self.read(fragment, columns).filter("kept").drop("kept")
