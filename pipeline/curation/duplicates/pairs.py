"""Pairs of documents with known similarity: stored in the artifact and reused by the next version.

A pair's similarity depends on the words of the two documents alone, so it can be remembered under their doc_ids. Which
pairs are needed, and the decisions that follow, are computed anew each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.store.artifact import digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table
from pipeline.text.words import mix

if TYPE_CHECKING:
    from pipeline.curation.duplicates.corpus import Corpus
    from pipeline.curation.duplicates.duplicate_settings import Settings

TABLE = "pairs/compared"  # left, right (doc_ids; left takes precedence), jaccard

# Of pairs: the high and low half of one id, then of the other.
Ids = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class KnownSimilarities:
    """The similarities that an earlier version computed."""

    def __init__(self, draft: Draft, settings: Settings):
        from pipeline.curation.duplicates.signature_tables import id_halves

        path = draft.earlier_part(TABLE, "pairs", digest(settings.about_text()))
        self._low_halves: np.ndarray | None = None
        if path is None:
            self.keys, self.values, self.ids = np.zeros(0, np.uint64), np.zeros(0), np.zeros((4, 0), np.uint64)
            return
        table = pl.read_parquet(path)
        ids = _sorted_pairs((*id_halves(table["left"]), *id_halves(table["right"])))
        keys = _keys(ids)
        order = np.argsort(keys)
        self.keys, self.values, self.ids = keys[order], table["jaccard"].to_numpy()[order], ids[:, order]

    def look_up(self, ids: Ids) -> np.ndarray:
        """The similarity of each pair; NaN if it is unknown."""
        result = np.full(len(ids[0]), np.nan)
        if len(self.keys):
            pairs = _sorted_pairs(ids)
            places = np.minimum(np.searchsorted(self.keys, _keys(pairs)), len(self.keys) - 1)
            known = (self.ids[:, places] == pairs).all(axis=0)
            result[known] = self.values[places[known]]
        return result

    def contains(self, low: np.ndarray) -> np.ndarray:
        """Whether each document (second half of its id) is in any known pair."""
        if self._low_halves is None:
            self._low_halves = np.unique(np.concatenate([self.ids[1], self.ids[3]]))
        if not len(self._low_halves):
            return np.zeros(len(low), bool)
        return self._low_halves[np.minimum(np.searchsorted(self._low_halves, low), len(self._low_halves) - 1)] == low


def _sorted_pairs(ids: Ids) -> np.ndarray:
    """The four id halves of each pair as rows, the smaller id first."""
    swap = (ids[0] > ids[2]) | ((ids[0] == ids[2]) & (ids[1] > ids[3]))
    return np.stack([np.where(swap, ids[(part + 2) % 4], ids[part]) for part in range(4)])


def _keys(ids: np.ndarray) -> np.ndarray:
    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)
    return mix((ids * factors[:, None]).sum(axis=0, dtype=np.uint64))


def write_pairs(
    draft: Draft, settings: Settings, corpus: Corpus, left: np.ndarray, right: np.ndarray, similarity: np.ndarray
) -> None:
    """Write the table of compared pairs; left and right are numbers of documents."""
    table = pl.DataFrame(
        {"left": corpus.ids(left), "right": corpus.ids(right), "jaccard": pl.Series(similarity, dtype=pl.Float64)}
    )
    path = draft.path(f"{TABLE}.parquet")
    write_table(table, path)
    about = digest(settings.about_text())
    draft.record(TABLE, {"pairs": about}, rows=table.height, facts={}, parts={"pairs": about})
