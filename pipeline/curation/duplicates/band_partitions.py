"""Candidates for near-duplicates, found in partitions of the bands: memory of a task is bounded whatever the corpus.

Documents are candidates if they share the value of a band. Bands are independent, and so are ranges of a band's values.
So a partition is some bands or, where one alone is too large, one of them in ranges: a task that reads these columns of
the fragments' tables of signatures once, which are stored uncompressed, and finds the members of their buckets. The
number of partitions and ranges follows from the number of documents; the members, and so all that is decided, are the
same for any number, and wherever the tasks run (clusters.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.curation.duplicates import selection
from pipeline.curation.duplicates.signature_tables import column_of, read_columns
from pipeline.documents.partitions import by_range

PARTITION_BYTES = 96 << 20  # of values and documents in memory at once; sorting them takes as much again
PLACED = np.dtype([("value", "<u8"), ("document", "<u4")])


class Partition(NamedTuple):
    """Some bands, and in how many ranges each is searched: more than one only where a band alone is too large."""

    bands: tuple[int, ...]
    ranges: int


class BandTable(NamedTuple):
    """A table of signatures (signature_tables.py), and the position of its first document."""

    path: Path
    first: int


def ranges_of(rows: int, row_bytes: int) -> int:
    """As few ranges as hold PARTITION_BYTES of so many rows each, except for chance."""
    return max(1, -(-rows * row_bytes // PARTITION_BYTES))


def partitions(documents: int, bands: int) -> list[Partition]:
    """The partitions of so many documents and bands: as few as keep what is in memory within PARTITION_BYTES."""
    ranges = ranges_of(documents, PLACED.itemsize)
    if ranges > 1:
        return [Partition((band,), ranges) for band in range(bands)]
    together = max(1, PARTITION_BYTES // max(PLACED.itemsize * documents, 1))
    groups = np.array_split(np.arange(bands), -(-bands // together))
    return [Partition(tuple(group.tolist()), 1) for group in groups]


def members(tables: list[BandTable], part: Partition, folder: Path) -> Iterator[np.ndarray]:
    """The members of a partition's buckets: for each range, sorted uint64, bucket << 32 | position.

    folder: where rows of other ranges are while one is searched.
    """
    read = (_placed(table, part.bands) for table in tables)
    if part.ranges > 1:
        for rows in by_range((band for (band,) in read), lambda rows: rows["value"], part.ranges, folder):
            yield selection.buckets_of([_columns([rows])])
    else:
        by_band = zip(*read, strict=True)
        yield selection.buckets_of(_columns(rows) for rows in by_band)


def _placed(table: BandTable, bands: tuple[int, ...]) -> list[np.ndarray]:
    """Of each of some bands, the values of a table's documents, as rows of PLACED."""
    names = [f"band {band}" for band in bands]
    read = read_columns(table.path, ["words", *names])
    written = np.flatnonzero(column_of(read, "words") > 0)  # a document without words resembles nothing
    found = [np.empty(len(written), PLACED) for _ in bands]
    for rows, name in zip(found, names, strict=True):
        rows["value"] = column_of(read, name)[written]
        rows["document"] = table.first + written
    return found


def _columns(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Values and documents of rows of PLACED, each in a column of its own."""
    return np.concatenate([rows["value"] for rows in parts]), np.concatenate([rows["document"] for rows in parts])
