"""The documents of a run that may be duplicates as a few numbers each, for the global part of the search.

A document is identified by its position in the order of precedence. Number 0 takes precedence over every other
document, so "the earlier one is kept" is a comparison of two integers, and no later code deals with fragments or
sources.

Only documents that have a candidate or an exact copy are known here (clusters.py): the others stay, whatever is
decided. Where every document has to be compared (`containment`, `semantic`), all are known. Memory: some 50 bytes for
each that is known, twice that while they are put in order. Texts are read again only for documents that have a
candidate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipeline.context import RunContext
from pipeline.curation.duplicates import clusters, index, selection, shingle_files, tidiness
from pipeline.curation.duplicates.band_partitions import BandTable
from pipeline.curation.duplicates.clusters import Clusters
from pipeline.curation.duplicates.signature_tables import (
    SignatureTable,
    id_halves,
    join_id_halves,
    read_signature_table,
    side_table,
    write_signature_table,
    write_signatures,
)
from pipeline.curation.duplicates.signatures import band_hashes, texts_to_compare
from pipeline.curation.duplicates.similarity import shingle_sets
from pipeline.documents.view import Documents
from pipeline.store.draft import Draft

if TYPE_CHECKING:
    from pipeline.curation.duplicates.duplicate_settings import Settings

FOREIGN = "foreign"  # folder of the bands of indexes, until they are read
# Up to 1/8 of a fragment's documents are looked up by id; for more, the whole fragment is read.
ID_LOOKUP_RATIO = 8


@dataclass
class Corpus:
    """Documents in order of precedence; all arrays have one value per known document unless stated otherwise.

    The position of a document counts all, known or not: those of indexes first, then fragment after fragment.
    """

    documents: Documents
    fragments: list[str]
    clusters: Clusters
    positions: np.ndarray  # int64, sorted: of the known documents
    order: np.ndarray  # number -> index in `positions`
    high: np.ndarray  # uint64, the first half of doc_id
    low: np.ndarray
    origin: np.ndarray  # int32: index into `fragments`; for foreign documents, -1 - index into `indexes`
    row: np.ndarray  # int32: among the kept rows of the fragment
    words: np.ndarray  # int32
    source: np.ndarray  # int32: index into `sources`; for foreign documents, as in `origin`
    sources: list[str]
    indexes: list[Path]
    foreign_names: list[str]
    foreign_total: int  # documents of all indexes, known or not
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

    def by_fragment(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Fragment by fragment: its name, which of its kept rows are known here, and the numbers of these documents."""
        number = np.empty(len(self), np.int64)  # of each known position
        number[self.order] = np.arange(len(self))
        first = self.foreign_total
        for fragment in self.fragments:
            end = first + self.heights[fragment]
            known = slice(*np.searchsorted(self.positions, [first, end]).tolist())
            yield fragment, self.positions[known] - first, number[known]
            first = end

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
    draft: Draft, context: RunContext, documents: Documents, settings: Settings, sources: list[str]
) -> Corpus:
    """The kept documents, and those of the indexes, that may be duplicates, in order of precedence.

    sources: every source, in order of precedence.
    """
    write_signatures(draft, context, documents, settings)
    fragments = documents.fragments
    heights = {fragment: int(draft.entries[f"{side_table(fragment)}.parquet"]["rows"]) for fragment in fragments}
    indexes = [Path(path) for path in settings.indexes]
    foreign = [_foreign_table(path, settings, draft.scratch(FOREIGN) / path.name) for path in indexes]
    paths = [path for path, _ in foreign] + [draft.path(f"{side_table(fragment)}.parquet") for fragment in fragments]
    sizes = [size for _, size in foreign] + [heights[fragment] for fragment in fragments]
    firsts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()
    tables = [BandTable(path, first) for path, first in zip(paths, firsts[:-1], strict=True)]
    found = clusters.find(draft, tables, firsts[-1], settings.banding()[0], context.execution)
    known = found.positions if settings.compares_candidates_only() else np.arange(firsts[-1])
    of_indexes = [-1 - which for which in range(len(indexes))]
    of_sources = [sources.index(documents.source(fragment)) for fragment in fragments]
    origins = [*of_indexes, *range(len(fragments))], [*of_indexes, *of_sources]
    high, low, words, row, rank, origin, source = _columns(tables, known, origins, found.frequent)
    order = precedence(source, rank, words, high, low)
    # One column at a time, so that only one is in memory twice.
    high = high[order]
    low = low[order]
    origin = origin[order]
    row = row[order]
    words = words[order]
    source = source[order]
    return Corpus(
        documents, fragments, found, known, order, high, low, origin, row, words, source, sources, indexes,
        [path.stem for path in indexes], sum(size for _, size in foreign), heights,
        draft.directory if settings.keep_shingles else None,
    )  # fmt: skip


def _foreign_table(index_: Path, settings: Settings, path: Path) -> tuple[Path, int]:
    """Write the table of signatures of an index to `path`; returns this path and the number of documents."""
    table = index.read_signatures(index_, settings)
    signatures = signature_matrix(table["signature"], settings.permutations)
    bands = band_hashes(signatures, *settings.banding())
    # They come first whatever they look like: nothing of an index is ever removed.
    tidy = tidiness.empty(len(signatures))
    high, low = id_halves(table["doc_id"])
    write_signature_table(SignatureTable(high, low, table["words"].to_numpy(), signatures, bands, tidy), path)
    return path, len(high)


def _columns(
    tables: list[BandTable], known: np.ndarray, origins: tuple[list[int], list[int]], frequent: np.ndarray
) -> tuple[np.ndarray, ...]:
    """high, low, words, row, rank, origin and source of the known documents, by position.

    known: their positions, sorted. origins: the origin, and the source, of each table. frequent: lines at the edges of
    many documents.
    """
    count = len(known)
    high, low = np.empty(count, np.uint64), np.empty(count, np.uint64)
    words, row = np.empty(count, np.int32), np.empty(count, np.int32)
    rank = np.empty(count, np.uint16)
    origin, source = np.empty(count, np.int32), np.empty(count, np.int32)
    bounds = [*np.searchsorted(known, [table.first for table in tables]).tolist(), count]
    for table, (first, end), of, of_source in zip(tables, pairwise(bounds), *origins, strict=True):
        if first == end:
            continue
        here, rows = slice(first, end), known[first:end] - table.first
        signed = read_signature_table(table.path, 0, signatures=False, bands=False)
        high[here], low[here], words[here] = signed.high[rows], signed.low[rows], signed.words[rows]
        rank[here] = tidiness.ranks(signed.tidiness.where(rows), signed.words[rows], frequent)
        row[here], origin[here], source[here] = rows, of, of_source
    return high, low, words, row, rank, origin, source


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
    tied = selection.repeated(key[order])
    among = order[tied]
    order[tied] = among[np.lexsort((among, low[among], high[among], -words[among], rank[among], source[among]))]
    return order


def documents_with_equal_ids(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Positions of documents that share their id with another one, grouped by id, in order within a group."""
    order = np.argsort(low)
    among = order[selection.repeated(low[order])]
    return among[np.lexsort((among, low[among], high[among]))]
