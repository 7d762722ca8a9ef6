"""Candidates for near-duplicates, found in partitions of the bands: memory of a task is bounded whatever the corpus.

Documents are candidates if they share the value of a band. Bands are independent, and so are ranges of a band's values.
So a partition is some bands or, where one alone is too large, a range of one: a task that reads these columns of the
fragments' tables of signatures, which are stored uncompressed, and finds the members of its buckets. Nothing is
shuffled on disk: of the columns, each task keeps its range. The number of partitions follows from the number of
documents; the members, and so all that is decided, are the same for any number, and wherever the tasks run
(clusters.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.curation.duplicates import selection
from pipeline.curation.duplicates.signature_tables import column_of, read_columns
from pipeline.documents.partitions import LAST_HASH, hash_ranges

PARTITION_BYTES = 96 << 20  # of values and documents in one task; sorting them takes as much again
BYTES_OF_VALUE = 12  # the value (8) and its document (4)


class Partition(NamedTuple):
    """Some bands, and the range of their values that counts."""

    bands: tuple[int, ...]
    first: int
    last: int  # inclusive


class BandTable(NamedTuple):
    """A table of signatures (signature_tables.py), and the position of its first document."""

    path: Path
    first: int


def partitions(documents: int, bands: int) -> list[Partition]:
    """The partitions of so many documents and bands: as few as keep each within PARTITION_BYTES, except for chance."""
    of_band = BYTES_OF_VALUE * documents
    if of_band > PARTITION_BYTES:
        ranges = hash_ranges(of_band, PARTITION_BYTES)
        return [Partition((band,), first, last) for band in range(bands) for first, last in ranges]
    groups = np.array_split(np.arange(bands), -(-bands // max(1, PARTITION_BYTES // max(of_band, 1))))
    return [Partition(tuple(group.tolist()), 0, LAST_HASH) for group in groups]


def members(tables: list[BandTable], part: Partition) -> np.ndarray:
    """The members of a partition's buckets: sorted uint64, bucket << 32 | position."""
    columns: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in part.bands]
    for table in tables:
        names = [f"band {band}" for band in part.bands]
        read = read_columns(table.path, ["words", *names])
        # A document without words resembles nothing.
        written = np.flatnonzero(column_of(read, "words") > 0)
        for name, column in zip(names, columns, strict=True):
            values, documents = column_of(read, name)[written], written
            if part.first > 0 or part.last < LAST_HASH:
                inside = (values >= np.uint64(part.first)) & (values <= np.uint64(part.last))
                values, documents = values[inside], documents[inside]
            column.append((values, (table.first + documents).astype(np.uint32)))
    return selection.buckets_of(_joined(column) for column in columns)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Values and documents of one band; the parts are emptied, so that only one band is in memory twice."""
    values = np.concatenate([np.zeros(0, np.uint64), *(part[0] for part in parts)])
    documents = np.concatenate([np.zeros(0, np.uint32), *(part[1] for part in parts)])
    parts.clear()
    return values, documents
