"""All documents of a run as a few numbers each, for the global part of the search for duplicates.

A document is identified by its position in the order of precedence. Number 0 takes precedence over every other
document, so "the earlier one is kept" is a comparison of two integers, and no later code deals with fragments or
sources.

Memory: some 40 bytes per document, twice that while it is put in order. Bands are not among them: their buckets are
found in partitions (band_partitions.py). Texts are read again only for documents that have a candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipeline.curation.duplicates import band_partitions, index, shingle_files, tidiness
from pipeline.curation.duplicates.band_partitions import BandTable
from pipeline.curation.duplicates.signature_tables import (
    SignatureTable,
    id_halves,
    join_id_halves,
    read_signature_table,
    side_table,
    write_signatures,
)
from pipeline.curation.duplicates.signatures import band_hashes, texts_to_compare
from pipeline.curation.duplicates.similarity import shingle_sets
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.view import Documents
from pipeline.store.draft import Draft

if TYPE_CHECKING:
    from pipeline.curation.duplicates.duplicate_settings import Settings

FOREIGN = "foreign"  # folder of the bands of indexes, until they are read
# Up to 1/8 of a fragment's documents are looked up by id; for more, the whole fragment is read.
ID_LOOKUP_RATIO = 8


@dataclass
class Corpus:
    """Documents in order of precedence; all arrays have one value per document unless stated otherwise."""

    documents: Documents
    fragments: list[str]
    order: np.ndarray  # number -> position (foreign documents come first, then fragment after fragment)
    high: np.ndarray  # uint64, the first half of doc_id
    low: np.ndarray
    origin: np.ndarray  # int32: index into `fragments`; for foreign documents, -1 - index into `indexes`
    row: np.ndarray  # int32: among the kept rows of the fragment
    words: np.ndarray  # int32
    source: np.ndarray  # int32: index into `sources`; for foreign documents, as in `origin`
    sources: list[str]
    indexes: list[Path]
    foreign_names: list[str]
    tables: list[BandTable]  # the bands of all documents, by position
    heights: dict[str, int]  # documents of each fragment
    shingle_directory: Path | None  # where the shingles are, if they are stored

    def __len__(self) -> int:
        return len(self.order)

    @property
    def foreign(self) -> np.ndarray:
        """Which documents belong to an index of another corpus; these are never removed."""
        return self.origin < 0

    def may_remove(self, settings: Settings) -> np.ndarray:
        """Which documents may cause the removal of others."""
        if settings.within:
            return np.ones(len(self), bool)
        return self.source < len(settings.against)

    def _group_by_fragment(self, numbers: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        """Documents of this corpus by fragment: (its name, positions in `numbers` in the order of its rows)."""
        by_place = np.lexsort((self.row[numbers], self.origin[numbers]))
        origins = self.origin[numbers[by_place]]
        for origin in np.unique(origins):
            yield self.fragments[origin], by_place[origins == origin]

    def texts(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, pl.Series]]:
        """The texts of documents of this corpus, fragment by fragment: (positions in `numbers`, texts)."""
        for fragment, places in self._group_by_fragment(numbers):
            path, requested = self.documents.raw.table(fragment), numbers[places]
            if ID_LOOKUP_RATIO * len(requested) <= self.heights[fragment]:
                # Pages that hold none of them are not decompressed. For equal ids any text will do: the words are the
                # same.
                ids = self.ids(requested)
                table = pl.scan_parquet(path, parallel="prefiltered").select("doc_id", "text")
                found = table.filter(pl.col("doc_id").is_in(ids.implode())).collect().unique("doc_id", keep="first")
                yield places, ids.to_frame().join(found, on="doc_id", how="left", maintain_order="left")["text"]
                continue
            # Rows are counted among those that earlier stages kept.
            rows = self.documents.kept(fragment).arg_true().gather(self.row[requested])
            yield places, pl.read_parquet(path, columns=["text"])["text"].gather(rows)

    def shingles(self, numbers: np.ndarray, settings: Settings) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The sets of shingles of the documents, a fragment at a time: (positions in `numbers`, hashes, sizes)."""
        own = np.flatnonzero(self.origin[numbers] >= 0)
        if self.shingle_directory is None:
            for places, texts in self.texts(numbers[own]):
                yield own[places], *shingle_sets(texts_to_compare(texts, settings), settings.shingle)
        else:
            for fragment, places in self._group_by_fragment(numbers[own]):
                words = pq.read_table(self.shingle_directory / f"{side_table(fragment)}.parquet", columns=["words"])[
                    "words"
                ]
                path = self.shingle_directory / f"{side_table(fragment)}{shingle_files.SUFFIX}"
                rows = self.row[numbers[own[places]]]
                yield own[places], *shingle_files.read_sets(path, words.to_numpy(), rows, settings.shingle)
        for which, path in enumerate(self.indexes):
            places = np.flatnonzero(self.origin[numbers] == -1 - which)
            if places.size:
                yield places, *index.shingles(path, self.row[numbers[places]])

    def numbers_by_fragment(self) -> Iterator[np.ndarray]:
        """For each fragment, the numbers of its documents in the order of its kept rows."""
        number = np.empty(len(self), np.int64)  # of each position
        number[self.order] = np.arange(len(self))
        at = int(self.foreign.sum())
        for fragment in self.fragments:
            yield number[at : at + self.heights[fragment]]
            at += self.heights[fragment]

    def source_names(self, sources: np.ndarray) -> pl.Series:
        """The names of sources (numbers as in `source`); for foreign documents, the name of their index."""
        names = pl.Series([*self.sources, *reversed(self.foreign_names)], dtype=pl.String)
        return names.gather(np.where(sources < 0, sources + len(names), sources))

    def pair_ids(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The halves of the doc_ids of pairs of documents."""
        return self.high[left], self.low[left], self.high[right], self.low[right]

    def ids(self, numbers: np.ndarray) -> pl.Series:
        """doc_ids as strings."""
        return join_id_halves(self.high[numbers], self.low[numbers])


def signature_matrix(values: pl.Series, columns: int) -> np.ndarray:
    """Binary values of equal length as a matrix of uint32: shape (rows, columns)."""
    array = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    if not len(array):
        return np.zeros((0, columns), np.uint32)
    start = 4 * columns * array.offset
    flat = np.frombuffer(array.buffers()[2], np.uint32, offset=start, count=len(array) * columns)
    return flat.reshape(len(array), columns)


# -- the global columns ------------------------------------------------------------------------------------------------


def load_corpus(
    draft: Draft, documents: Documents, settings: Settings, execution: ExecutionSettings, sources: list[str]
) -> Corpus:
    """All kept documents and those of the indexes, in order of precedence.

    sources: every source, in order of precedence.
    """
    write_signatures(draft, documents, settings, execution)
    fragments = documents.fragments
    heights = {fragment: draft.entries[f"{side_table(fragment)}.parquet"]["rows"] for fragment in fragments}
    indexes = [Path(path) for path in settings.indexes]
    foreign = [_foreign(path, settings) for path in indexes]
    total = sum(len(signed.high) for signed in foreign) + sum(heights.values())
    high, low = np.empty(total, np.uint64), np.empty(total, np.uint64)
    words, row = np.empty(total, np.int32), np.empty(total, np.int32)
    origin, source = np.empty(total, np.int32), np.empty(total, np.int32)
    tidy, tables, at = tidiness.empty(total), [], 0
    for which in [-1 - which for which in range(len(indexes))] + list(range(len(fragments))):
        if which < 0:
            signed, of = foreign[-1 - which], which
            path = draft.scratch(FOREIGN) / f"{-1 - which}.parquet"
            band_partitions.write_table(signed.words, signed.bands, path)
        else:
            path = draft.path(f"{side_table(fragments[which])}.parquet")
            signed = read_signature_table(path, 0, signatures=False, bands=False)
            of = sources.index(documents.source(fragments[which]))
        height = len(signed.high)
        here = slice(at, at + height)
        high[here], low[here], words[here] = signed.high, signed.low, signed.words
        row[here], origin[here], source[here] = np.arange(height), which, of
        for column, values in zip(tidy, signed.tidiness, strict=True):
            column[here] = values
        tables.append(BandTable(path, at))
        at += height
    rank = tidiness.ranks(tidy, words)
    del tidy, foreign
    order = precedence(source, rank, words, high, low)
    # One column at a time, so that only one is in memory twice.
    high = high[order]
    low = low[order]
    origin = origin[order]
    row = row[order]
    words = words[order]
    source = source[order]
    return Corpus(
        documents, fragments, order, high, low, origin, row, words, source, sources, indexes,
        [path.stem for path in indexes], tables, heights, draft.directory if settings.keep_shingles else None,
    )  # fmt: skip


def _foreign(path: Path, settings: Settings) -> SignatureTable:
    table = index.read_signatures(path, settings)
    signatures = signature_matrix(table["signature"], settings.permutations)
    bands = band_hashes(signatures, *settings.banding())
    # They come first whatever they look like: nothing of an index is ever removed.
    tidy = tidiness.empty(len(signatures))
    return SignatureTable(*id_halves(table["doc_id"]), table["words"].to_numpy(), signatures, bands, tidy)


def precedence(
    source: np.ndarray, rank: np.ndarray, words: np.ndarray, high: np.ndarray, low: np.ndarray
) -> np.ndarray:
    """Positions in order of precedence: by source, by rank (tidiness.py), longer documents first, then by doc_id.

    One 64-bit key nearly always decides: 16 bits of source, 16 of rank, 24 of words, 8 of doc_id.
    """
    place = source.astype(np.int64) - (int(source.min()) if len(source) else 0)
    if len(place) and int(place.max()) >= 1 << 16:
        return np.lexsort((low, high, -words, rank, source))
    most = (1 << 24) - 1
    key = place.astype(np.uint64) << np.uint64(48)
    key |= rank.astype(np.uint64) << np.uint64(32)
    key |= (most - np.minimum(words, most)).astype(np.uint64) << np.uint64(8)
    key |= high >> np.uint64(56)
    order = np.argsort(key)
    tied = _repeated_mask(key[order])
    among = order[tied]
    order[tied] = among[np.lexsort((among, low[among], high[among], -words[among], rank[among], source[among]))]
    return order


def _repeated_mask(values: np.ndarray) -> np.ndarray:
    """Which of the sorted values occur more than once."""
    result = np.zeros(len(values), bool)
    same = values[1:] == values[:-1]
    result[1:] = same
    result[:-1] |= same
    return result


def documents_with_equal_ids(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Positions of documents that share their id with another one, grouped by id, in order within a group."""
    order = np.argsort(low)
    among = order[_repeated_mask(low[order])]
    return among[np.lexsort((among, low[among], high[among]))]
