"""Candidates for near-duplicates, found in partitions of the bands: memory of a task is bounded whatever the corpus.

Documents are candidates if they share the value of a band. Bands are independent, and so are ranges of a band's values.
So a partition is some bands or, where one alone is too large, a range of one: a task that reads these columns of the
fragments' tables of signatures, which are stored uncompressed, and writes the members of its buckets. Nothing is
shuffled on disk: of the columns, each task keeps its range. The number of partitions follows from the number of
documents; the members, and so all that is decided, are the same for any number, and wherever the tasks run
(pipeline/documents/partitions.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.files import whole
from pipeline.curation.duplicates import selection
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.partitions import LAST_HASH, hash_ranges, results
from pipeline.store.draft import Draft

PARTITION_BYTES = 96 << 20  # of values and documents in one task; sorting them takes as much again
BYTES_OF_VALUE = 12  # the value (8) and its document (4)


class Partition(NamedTuple):
    """Some bands, and the range of their values that counts."""

    bands: tuple[int, ...]
    first: int
    last: int  # inclusive


class BandTable(NamedTuple):
    """A Parquet table of documents with the columns `words` and `band 0`, `band 1`, ..., and its first position."""

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


def write_table(words: np.ndarray, bands: np.ndarray, path: Path) -> None:
    """A table of documents that are in no fragment. bands: uint64 (bands, documents)."""
    columns = {"words": pa.array(words), **{f"band {band}": pa.array(values) for band, values in enumerate(bands)}}
    with whole(path) as unfinished:
        pq.write_table(pa.table(columns), unfinished, compression="none", use_dictionary=False)


def candidates(
    draft: Draft, tables: Sequence[BandTable], bands: int, places: np.ndarray, execution: ExecutionSettings
) -> np.ndarray:
    """Members of all buckets that hold more than one document: sorted uint64, bucket << 32 | number, as in `selection`.

    tables: all documents, in order of their positions. places: the number of the document at each position; -1 to
    ignore it.
    """
    tasks = [(list(tables), part) for part in partitions(len(places), bands)]
    found = results(draft, "candidates", write_members, tasks, execution, 8 * bands * len(places))
    return _with_places(map(np.load, found), places)


def write_members(tables: list[BandTable], part: Partition, target: Path) -> int:
    """Write the members of a partition's buckets (bucket << 32 | position); returns their number. Runs in a worker."""
    columns: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in part.bands]
    for table in tables:
        names = [f"band {band}" for band in part.bands]
        with pq.ParquetFile(table.path, memory_map=True) as file:
            read = file.read(["words", *names], use_threads=False)
        # A document without words resembles nothing.
        written = np.flatnonzero(_column(read, "words") > 0)
        for name, column in zip(names, columns, strict=True):
            values, documents = _column(read, name)[written], written
            if part.first > 0 or part.last < LAST_HASH:
                inside = (values >= np.uint64(part.first)) & (values <= np.uint64(part.last))
                values, documents = values[inside], documents[inside]
            column.append((values, (table.first + documents).astype(np.uint32)))
    members = selection.buckets_of(_joined(column) for column in columns)
    with whole(target) as unfinished, open(unfinished, "wb") as file:
        np.save(file, members)
    return len(members)


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Values and documents of one band; the parts are emptied, so that only one band is in memory twice."""
    values = np.concatenate([np.zeros(0, np.uint64), *(part[0] for part in parts)])
    documents = np.concatenate([np.zeros(0, np.uint32), *(part[1] for part in parts)])
    parts.clear()
    return values, documents


def _column(table: pa.Table, name: str) -> np.ndarray:
    chunks = [chunk.to_numpy() for chunk in table[name].chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [np.zeros(0, np.uint64)])


def _with_places(parts: Iterable[np.ndarray], places: np.ndarray) -> np.ndarray:
    """The members with numbers in place of positions; buckets in which only one document is left are none."""
    members, buckets = [np.zeros(0, np.uint64)], 0
    for part in parts:
        number = places[(part & np.uint64(0xFFFFFFFF)).astype(np.int64)]
        left = number >= 0
        keys = part[left] >> np.uint64(32) << np.uint64(32) | number[left].astype(np.uint64)
        keys.sort()
        found = selection.shared_only(keys, buckets)
        members.append(found)
        buckets += int(found[-1] >> np.uint64(32)) - buckets if len(found) else 0
    return np.concatenate(members)
