"""Token shards, read by row group: which groups there are to train on, their tokens, and the ids of their documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.store.patience import patiently
from pipeline.training.data.stream import Group

if TYPE_CHECKING:
    import polars as pl

    from pipeline.store.artifact import Artifact
    from pipeline.training.slots import Slots

TRAIN = "train"
LEFT_OUT = "checks/near_validation.parquet"
OPEN_FILES = 4


def training_groups(shards: Artifact) -> dict[tuple[str, str], list[Group]]:
    """The training row groups of each (source, language), from the manifest and the list of excluded rows alone."""
    import pyarrow.parquet as pq

    left_out: dict[str, list[tuple[int, int]]] = {}
    if LEFT_OUT in shards.manifest["files"]:
        table = pq.read_table(shards.file(LEFT_OUT), columns=["fragment", "row", "length"])
        for fragment, row, length in zip(*(column.to_pylist() for column in table.columns), strict=True):
            left_out.setdefault(fragment, []).append((row, length))
    groups: dict[tuple[str, str], list[Group]] = {}
    for fragment in shards.fragments:
        facts = shards.entry(fragment)["facts"]
        first = 0
        for number, (split, lang, rows, tokens, _) in enumerate(facts["groups"]):
            out = [(row - first, length) for row, length in left_out.get(fragment, []) if first <= row < first + rows]
            first += rows
            if split == TRAIN and rows > len(out):
                excluded = sum(length for _, length in out)
                kept_rows, kept_tokens = rows - len(out), tokens - excluded
                group = Group(fragment, number, kept_rows, kept_tokens, tuple(sorted(row for row, _ in out)))
                groups.setdefault((facts["source"], lang), []).append(group)
    return groups


class ShardReader:
    """Reads row groups of the shards one at a time, and keeps a few files open.

    Shards that exist only in object storage are read from there by byte ranges: a row group costs the bytes of its own
    columns.
    """

    empty: Slots | None = None  # documents whose slots are left empty

    def __init__(self, shards: Artifact):
        self._shards = shards
        self._open: dict[str, Any] = {}

    def entry(self, fragment: str) -> dict[str, Any]:
        """The manifest's entry for a fragment."""
        return self._shards.entry(fragment)

    def empty_documents(self, groups: list[Group]) -> np.ndarray | None:
        """Which of the groups' documents are slots that are left empty, bool [documents]; None if none is."""
        found = []
        for group in groups:
            facts = self.entry(group.fragment)["facts"]["groups"]
            first, rows = sum(one[2] for one in facts[: group.number]), facts[group.number][2]
            of_group = np.zeros(rows, dtype=bool)
            if self.empty is not None:
                of_group[self.empty.within(group.fragment, first, rows)] = True
            found.append(of_group[kept_rows(group, rows)])
        slots = np.concatenate(found) if found else np.zeros(0, dtype=bool)
        return slots if slots.any() else None

    def tokens(self, groups: list[Group], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Concatenated tokens of the groups' documents, and the length of each document (int64)."""
        tokens, lengths = [np.zeros(0, dtype=dtype)], [np.zeros(0, dtype=np.int64)]
        for group in groups:
            column = self._column(group, "tokens")
            ids, length = column.flatten().to_numpy(), np.diff(column.offsets.to_numpy()).astype(np.int64)
            if group.left_out:
                kept = kept_rows(group, len(length))
                ids, length = ids[np.repeat(kept, length)], length[kept]
            tokens.append(ids)
            lengths.append(length)
        return np.concatenate(tokens), np.concatenate(lengths)

    def ids(self, groups: list[Group]) -> tuple[pl.Series, np.ndarray]:
        """Ids of the groups' documents, and the number of tokens of each."""
        import polars as pl

        ids, lengths = [pl.Series("doc_id", [], dtype=pl.String)], [np.zeros(0, dtype=np.int64)]
        for group in groups:
            names = pl.Series("doc_id", self._column(group, "doc_id")).cast(pl.String)
            # Through Polars, since Arrow imports pandas to make a NumPy array.
            length = pl.Series("length", self._column(group, "length")).cast(pl.Int64).to_numpy()
            kept = kept_rows(group, len(length))
            ids.append(names.filter(pl.Series(kept)))
            lengths.append(length[kept])
        return pl.concat(ids), np.concatenate(lengths)

    def _column(self, group: Group, name: str) -> Any:
        def read() -> Any:
            try:
                table = self._file(group.fragment).read_row_group(group.number, columns=[name], use_threads=False)
            except Exception:
                self._open.pop(group.fragment, None)  # opened anew when it is tried again
                raise
            return table.column(0).combine_chunks()

        address = getattr(self._shards, "address", "")
        return patiently(read, address) if address else read()

    def _file(self, fragment: str) -> Any:
        import pyarrow.parquet as pq

        file = self._open.pop(fragment, None)
        if file is None:
            name = f"{fragment}.parquet"
            address = getattr(self._shards, "address", "")
            if address and not (self._shards.directory / name).exists():
                import fsspec

                filesystem, place = fsspec.core.url_to_fs(f"{address}/{name}")
                file = pq.ParquetFile(filesystem.open(place, "rb", cache_type="none"), pre_buffer=True)
            else:
                file = pq.ParquetFile(self._shards.file(name))
            if len(self._open) >= OPEN_FILES:
                self._open.pop(next(iter(self._open))).close(force=True)
        self._open[fragment] = file
        return file


def kept_rows(group: Group, rows: int) -> np.ndarray:
    kept = np.ones(rows, dtype=bool)
    kept[list(group.left_out)] = False
    return kept
