"""What has to be known of all documents before any is chosen, found in partitions of hashes.

Who shares the value of a band with another document (band_partitions.py), who has the id of another one, and which
lines are at the edges of many documents. All others are kept, whatever is decided, so none of their figures are read
into one process: what is in memory grows with the documents that resemble another one, and by one byte with all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.files import whole
from pipeline.curation.duplicates import band_partitions, selection
from pipeline.curation.duplicates.band_partitions import PLACED, BandTable
from pipeline.curation.duplicates.signature_tables import column_of, matrix_of, read_columns
from pipeline.curation.duplicates.tidiness import EDGE, frequent_lines
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.partitions import HALF, RANGES, by_range, written
from pipeline.store.draft import Draft
from pipeline.text.words import repeated_places

FOLDER = "candidates"
BYTES_OF_EDGES = 4 * 2 * EDGE
NO_LINES = np.zeros(0, np.uint32)


@dataclass
class Clusters:
    """What the partitions found. Members of buckets stay in files until they are needed."""

    positions: np.ndarray  # int64, sorted: the documents that share a value of a band, or their id, with another one
    frequent: np.ndarray  # uint32, sorted: lines at the edges of many documents
    files: list[Path]  # members of buckets: uint64, bucket << 32 | position

    def members(self, positions: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Members of all buckets with more than one document: sorted uint64, bucket << 32 | number, as in `selection`.

        positions: sorted, at least those of the clusters. places: the number of each of them; -1 to ignore it.
        """
        return _numbered(_arrays(self.files), positions, places)


def find(
    draft: Draft, tables: Sequence[BandTable], documents: int, bands: int, execution: ExecutionSettings
) -> Clusters:
    """Search the tables of signatures of all documents. tables: in order of their positions."""
    parts = partitions_of(documents, bands)
    read = (8 * bands + PLACED.itemsize + BYTES_OF_EDGES) * documents
    files = written(draft, FOLDER, write_part, list(tables), parts, execution, read)
    found: dict[str, list[Path]] = {kind: [] for kind in FINDERS}
    for (kind, _), path in zip(parts, files, strict=True):
        found[kind].append(path)
    alike = np.zeros(documents, bool)
    for positions in _arrays(found["members"] + found["equal ids"]):
        alike[(positions & np.uint64(0xFFFFFFFF)).astype(np.int64)] = True
    frequent = np.unique(np.concatenate([NO_LINES, *_arrays(found["common lines"])]))
    return Clusters(np.flatnonzero(alike), frequent, found["members"])


def partitions_of(documents: int, bands: int) -> list[tuple[str, Any]]:
    """All partitions of the search among so many documents, each with its kind, a key of FINDERS."""
    # The longest first, so that none is left over when the others are through.
    return [
        ("common lines", band_partitions.ranges_of(documents, BYTES_OF_EDGES)),
        ("equal ids", band_partitions.ranges_of(documents, PLACED.itemsize)),
        *(("members", part) for part in band_partitions.partitions(documents, bands)),
    ]


def write_part(tables: list[BandTable], kind: str, part: Any, target: Path) -> int:
    """Write what is found in one partition, of a kind of FINDERS; returns how many values. Runs in a worker."""
    written = 0
    with whole(target) as unfinished, open(unfinished, "wb") as file:
        for found in FINDERS[kind](tables, part, target.with_name(f"{target.name}{RANGES}")):
            np.save(file, found)
            written += len(found)
    return written


def equal_ids(tables: list[BandTable], ranges: int, folder: Path) -> Iterator[np.ndarray]:
    """Positions (uint64) of the documents that share the second half of their id with another one, by range."""
    for rows in by_range(map(_ids, tables), lambda rows: rows["value"], ranges, folder):
        low = rows["value"].copy()
        some = repeated_places(low)
        some = some[np.argsort(low[some])]
        yield rows["document"][some[selection.repeated(low[some])]].astype(np.uint64)


def _ids(table: BandTable) -> np.ndarray:
    """The second halves of a table's ids, as rows of PLACED."""
    low = column_of(read_columns(table.path, ["low"]), "low")
    rows = np.empty(len(low), PLACED)
    rows["value"], rows["document"] = low, table.first + np.arange(len(low))
    return rows


def common_lines(tables: list[BandTable], ranges: int, folder: Path) -> Iterator[np.ndarray]:
    """The lines (uint32) at the edges of many documents, by range."""
    for lines in by_range(map(_edges, tables), lambda lines: lines.astype(np.uint64) << HALF, ranges, folder):
        lines.sort()
        yield frequent_lines(lines)


def _edges(table: BandTable) -> np.ndarray:
    """The lines (uint32) at the edges of a table's documents."""
    edges = matrix_of(read_columns(table.path, ["edges"]), "edges", np.uint32, 2 * EDGE).ravel()
    return edges[edges > 0]


FINDERS: dict[str, Callable[[list[BandTable], Any, Path], Iterator[np.ndarray]]] = {
    "members": band_partitions.members,
    "equal ids": equal_ids,
    "common lines": common_lines,
}


def _arrays(files: Iterable[Path]) -> Iterator[np.ndarray]:
    """What `write_part` left in files."""
    for path in files:
        size = path.stat().st_size
        with open(path, "rb") as file:
            while file.tell() < size:
                yield np.load(file)


def _numbered(parts: Iterable[np.ndarray], positions: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The members with numbers in place of positions; buckets in which only one document is left are none."""
    members, buckets = [np.zeros(0, np.uint64)], 0
    for part in parts:
        number = places[np.searchsorted(positions, (part & np.uint64(0xFFFFFFFF)).astype(np.int64))]
        left = number >= 0
        keys = part[left] >> np.uint64(32) << np.uint64(32) | number[left].astype(np.uint64)
        keys.sort()
        found = selection.shared_only(keys, buckets)
        members.append(found)
        buckets += int(found[-1] >> np.uint64(32)) - buckets if len(found) else 0
    return np.concatenate(members)
