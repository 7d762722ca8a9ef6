"""Slots that a training leaves empty: where the data holds what is forgotten exactly.

The tables stay as they are, and so does the place of everything in every batch. In a slot, nothing is a target and
nothing is shown: its tokens are the one that ends a document, or padding. All that is left of what stood there is how
long it was. So a training that began before the first of these slots can resume there (`ladder.py`), and ends with
the bytes of one that had the slots empty from its first step on.

A slot is (table, row) of the data: of a fragment of the token shards, or of a table of conversations or of preferences.
The artifact that lists them holds no ids and no text:

    slots.parquet      table, row
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from pipeline.context import RunContext
from pipeline.errors import UserError
from pipeline.ingest.forgetting import forgotten_exactly
from pipeline.store.artifact import Artifact, digest
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table

VERSION = "1"
TABLE = "slots"
OF_SHARDS, OF_CONVERSATIONS, OF_PREFERENCES = "forgotten_slots", "forgotten_conversations", "forgotten_pairs"
ASSETS = {  # of the slots, by the data that they are of
    "token_shards": OF_SHARDS,
    "instruction_data": OF_CONVERSATIONS,
    "curated_instructions": OF_CONVERSATIONS,
    "preference_data": OF_PREFERENCES,
}
ID = {OF_SHARDS: "doc_id"}  # column with the ids; else `id`
Places = frozenset[tuple[str, int]]


@dataclass(frozen=True)
class Slots:
    """Slots of one data set: (table, row) of each."""

    places: Places

    @cached_property
    def rows(self) -> Mapping[str, np.ndarray]:
        """The rows of each table that has any, int64, ascending."""
        found: dict[str, list[int]] = {}
        for table, row in sorted(self.places):
            found.setdefault(table, []).append(row)
        return {table: np.array(rows, np.int64) for table, rows in found.items()}

    def within(self, table: str, first: int, count: int) -> np.ndarray:
        """The slots among `count` rows of a table from row `first` on, counted from there."""
        rows = self.rows.get(table, np.zeros(0, np.int64))
        low, high = np.searchsorted(rows, (first, first + count))
        return rows[low:high] - first


def made_for(context: RunContext, data: Artifact) -> Artifact | None:
    """The artifact of the slots of `data` that the list in force leaves empty; None if there are none.

    Every process of a training calls it.
    """
    ids = forgotten_exactly(context.store)
    found = places_of(data, ids) if ids else frozenset()
    if not found:
        return None

    def build(draft: Draft) -> None:
        rows = {"table": [table for table, _ in sorted(found)], "row": [row for _, row in sorted(found)]}
        write_table(pl.DataFrame(rows, schema={"table": pl.String, "row": pl.UInt32}), draft.path(f"{TABLE}.parquet"))
        draft.counts["slots"] = len(found)

    return context.store.make(
        ASSETS[data.asset],
        code_version=VERSION,
        settings={"slots": digest(sorted(found))},
        inputs={data.asset: data},
        build=build,
        log=context.log,
    )


def places_of(data: Artifact, ids: frozenset[str]) -> Places:
    """Where the data holds documents, conversations or pairs with these ids."""
    column = ID.get(ASSETS[data.asset], "id")
    found = set()
    for table in data.fragments:
        tables = pl.scan_parquet(data.table(table))
        if column not in tables.collect_schema().names():  # such as what people said of pairs
            continue
        rows = tables.select(pl.col(column).cast(pl.String)).with_row_index("row")
        found |= {(table, row) for row in rows.filter(pl.col(column).is_in(list(ids))).collect()["row"].to_list()}
    return frozenset(found)


def read(artifact: Artifact | None) -> Slots | None:
    """The slots of an artifact of them; None for none."""
    if artifact is None:
        return None
    return Slots(frozenset(pl.read_parquet(artifact.table(TABLE)).iter_rows()))


def inputs_with(data: Mapping[str, Artifact], slots: Artifact | None) -> dict[str, Artifact]:
    """The inputs of a training, with its slots if there are any: without, its fingerprint is as it always was."""
    return {**data, **({slots.asset: slots} if slots is not None else {})}


def refuse(context: RunContext, data: Artifact, what: str) -> None:
    """Raises UserError if something of `data` is to be forgotten exactly, which `what` cannot."""
    if made_for(context, data) is not None:
        raise UserError(
            f"{what} cannot leave slots of {data.asset} empty: take them off the list (`slm forget --exact --undo`)"
            " and remove them otherwise (`slm forget` without `--exact`, or at their source), or switch it off in the"
            " recipe."
        )
