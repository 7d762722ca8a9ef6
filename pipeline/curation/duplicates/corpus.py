"""All documents of a run as a few numbers each, for the global part of the search for duplicates.

A document is identified by its position in the order of precedence. Number 0 takes precedence over every other
document, so "the earlier one is kept" is a comparison of two integers, and no later code deals with fragments or
sources.

Memory: some 50 bytes per document. Bands (8 bytes per document and band) are kept in an unnamed file if they are large,
and are read one at a time. Texts are read again only for documents that have a candidate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from model.files import whole
from pipeline.curation.duplicates import index, shingle_files
from pipeline.curation.duplicates.signatures import band_hashes, signatures_of, texts_to_compare
from pipeline.curation.duplicates.similarity import shingle_sets
from pipeline.documents.execution import ExecutionSettings
from pipeline.documents.fragment_tables import TableTask, make_tables
from pipeline.documents.view import Documents
from pipeline.store.artifact import digest
from pipeline.store.draft import Draft
from pipeline.text.words import shingle_count

if TYPE_CHECKING:
    from pipeline.curation.duplicates.duplicate_settings import Settings

IN_MEMORY_BYTES = 256 << 20  # larger band hashes are kept in a file
# Up to 1/8 of a fragment's documents are looked up by id; for more, the whole fragment is read.
ID_LOOKUP_RATIO = 8


def side_table(fragment: str) -> str:
    """Name of a fragment's table of signatures within the artifact."""
    return f"signatures/{fragment}"


@dataclass
class Corpus:
    """Documents in order of precedence; all arrays have one value per document unless stated otherwise."""

    documents: Documents
    fragments: list[str]
    order: np.ndarray  # number -> position (foreign documents come first, then fragment after fragment)
    high: np.ndarray  # uint64, the first half of doc_id
    low: np.ndarray
    origin: np.ndarray  # int32: index into `fragments`; for foreign documents, -1 - index into `indexes`
    row: np.ndarray  # int64: among the kept rows of the fragment
    words: np.ndarray
    source: np.ndarray  # int32: index into `sources`; for foreign documents, as in `origin`
    sources: list[str]
    indexes: list[Path]
    foreign_names: list[str]
    bands: np.ndarray = field(repr=False)  # uint64 (bands, documents), by position; may be in a file
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


def id_halves(doc_ids: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """128-bit ids in hex as two columns of uint64."""
    array = doc_ids.str.decode("hex").to_arrow(compat_level=pl.CompatLevel.oldest())
    if not len(array):
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    data = np.frombuffer(array.buffers()[2], dtype=">u8", offset=16 * array.offset, count=2 * len(array))
    return data[0::2].astype(np.uint64), data[1::2].astype(np.uint64)


def join_id_halves(high: np.ndarray, low: np.ndarray) -> pl.Series:
    """The inverse of `halves`."""
    return binary_column(np.stack([high, low], axis=1).astype(">u8")).bin.encode("hex").alias("doc_id")


def binary_column(rows: np.ndarray) -> pl.Series:
    """A column of binary values, each the bytes of one row of a two-dimensional array."""
    values = pl.from_arrow(_binary(rows)) if len(rows) else pl.Series([], dtype=pl.Binary)
    assert isinstance(values, pl.Series)
    return values


def _binary(rows: np.ndarray) -> pa.Array:
    rows = np.ascontiguousarray(rows)
    kind = pa.binary(rows.dtype.itemsize * rows.shape[1])
    return pa.Array.from_buffers(kind, len(rows), [None, pa.py_buffer(rows)])


def signature_matrix(values: pl.Series, columns: int) -> np.ndarray:
    """Binary values of equal length as a matrix of uint32: shape (rows, columns)."""
    array = values.to_arrow(compat_level=pl.CompatLevel.oldest())
    if not len(array):
        return np.zeros((0, columns), np.uint32)
    start = 4 * columns * array.offset
    flat = np.frombuffer(array.buffers()[2], np.uint32, offset=start, count=len(array) * columns)
    return flat.reshape(len(array), columns)


# -- signatures, by fragment -------------------------------------------------------------------------------------------


class SignatureTable(NamedTuple):
    """The signatures of the kept documents of one fragment, in the order of its rows."""

    high: np.ndarray  # uint64, the first half of doc_id
    low: np.ndarray
    words: np.ndarray  # int64
    signatures: np.ndarray  # uint32 (documents, permutations)
    bands: np.ndarray  # uint64 (bands, documents)


def signature_key(settings: Settings) -> str:
    """Digest of what a signature depends on in addition to the document's words."""
    about = {**settings.about_text(), "permutations": settings.permutations, "shingles": settings.keep_shingles}
    return digest(about)


def write_signatures(draft: Draft, documents: Documents, settings: Settings, execution: ExecutionSettings) -> None:
    """Write the signatures of every fragment to the draft; remembered ones are linked."""
    about = signature_key(settings)

    def table_task(fragment: str) -> TableTask:
        name = side_table(fragment)
        key = {**documents.key(fragment), "signatures": about, "bands": list(settings.banding())}

        def arguments(target: Path) -> tuple[Any, ...]:
            companion = shingle_files.SUFFIX if settings.keep_shingles else ""
            earlier = draft.earlier_part(name, "signatures", about, companion)
            return documents.only(fragment), fragment, settings, earlier, target

        return TableTask(name, key, 2 * documents.bytes(fragment), arguments, {"signatures": about})

    tables = [table_task(fragment) for fragment in documents.fragments]
    make_tables(draft, tables, write_fragment_signatures, execution, "signatures")
    if settings.keep_shingles:
        for table in tables:  # a worker writes them before the table, so they exist
            draft.file(f"{table.name}{shingle_files.SUFFIX}", table.key, lambda path: {})


def write_fragment_signatures(
    documents: Documents, fragment: str, settings: Settings, earlier: Path | None, target: Path
) -> tuple[int, dict[str, Any]]:
    """Write the signatures of one fragment's kept documents; returns (rows, no facts). Runs in a worker."""
    frame = documents.read(fragment, ["doc_id"])
    kept = frame["kept"]
    high, low = id_halves(frame["doc_id"].filter(kept))
    words, begins = np.zeros(len(high), np.int64), np.zeros(len(high), np.int64)
    signatures = np.empty((len(high), settings.permutations), np.uint32)
    fresh = np.ones(len(high), bool)
    if earlier is not None:
        before = read_signature_table(earlier, settings.permutations)
        place = _places(high, low, before)
        fresh = place < 0
        known = place[~fresh]
        words[~fresh], signatures[~fresh] = before.words[known], before.signatures[known]
        held = shingle_count(before.words, settings.shingle)
        begins[~fresh] = (np.cumsum(held) - held)[known]
    made: list[np.ndarray] = [np.zeros((0, shingle_files.WIDTH), np.uint8)]
    if fresh.any():
        wanted = spread_mask(kept, fresh)
        texts = pl.read_parquet(documents.raw.table(fragment), columns=["text"])["text"].filter(wanted)
        keep = (lambda shingles: made.append(shingle_files.pack(shingles))) if settings.keep_shingles else None
        signatures[fresh], words[fresh] = signatures_of(
            texts_to_compare(texts, settings), settings.shingle, settings.permutations, keep
        )
    if settings.keep_shingles:
        shingles = earlier.with_suffix(shingle_files.SUFFIX) if earlier else None
        sizes = shingle_count(words, settings.shingle)
        parts = shingle_files.merge(fresh, sizes, np.concatenate(made), shingles, begins)
        shingle_files.write(parts, target.with_suffix(shingle_files.SUFFIX))
    write_signature_table(
        SignatureTable(high, low, words, signatures, band_hashes(signatures, *settings.banding())), target
    )
    return len(high), {}


def _places(high: np.ndarray, low: np.ndarray, before: SignatureTable) -> np.ndarray:
    """The position of each document in `before`; -1 if it is not there."""
    if not len(before.low):
        return np.full(len(low), -1, np.int64)
    order = np.argsort(before.low, kind="stable")
    place = order[np.minimum(np.searchsorted(before.low[order], low), len(order) - 1)]
    return np.where((before.low[place] == low) & (before.high[place] == high), place, -1)


def spread_mask(mask: pl.Series, values: np.ndarray) -> pl.Series:
    """A mask as long as `mask`, true where both `mask` and the value for that position are true."""
    result = mask.to_numpy().copy()
    result[result] = values
    return pl.Series(result)


def write_signature_table(signed: SignatureTable, path: Path) -> None:
    """Write a table of signatures, uncompressed: hashes do not compress."""
    columns = {"high": pa.array(signed.high), "low": pa.array(signed.low), "words": pa.array(signed.words)}
    columns |= {f"band {number}": pa.array(values) for number, values in enumerate(signed.bands)}
    columns["signature"] = _binary(signed.signatures)
    with whole(path) as unfinished:
        pq.write_table(
            pa.table(columns), unfinished, row_group_size=max(1, len(signed.high)), compression="none",
            use_dictionary=False, write_statistics=False,
        )  # fmt: skip


def read_signature_table(path: Path, permutations: int, signatures: bool = True) -> SignatureTable:
    """A table of signatures. signatures: False reads all but these, which is enough to search for candidates."""
    with pq.ParquetFile(path, memory_map=True) as file:
        names = file.schema_arrow.names
        table = file.read([name for name in names if signatures or name != "signature"], use_threads=False)

    def column(name: str) -> np.ndarray:
        return np.concatenate([chunk.to_numpy() for chunk in table[name].chunks]) if len(table) else np.zeros(0, "u8")

    made = np.zeros((0, permutations), np.uint32)
    if signatures and len(table):
        chunks = table["signature"].chunks
        flat = [
            np.frombuffer(chunk.buffers()[1], np.uint32, permutations * len(chunk), 4 * permutations * chunk.offset)
            for chunk in chunks
        ]
        made = np.concatenate(flat).reshape(len(table), permutations)
    bands = np.stack([column(name) for name in names if name.startswith("band ")])
    return SignatureTable(column("high"), column("low"), column("words").astype(np.int64), made, bands)


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
    words, row = np.empty(total, np.int64), np.empty(total, np.int64)
    origin, source = np.empty(total, np.int32), np.empty(total, np.int32)
    values = allocate(settings.banding()[0], total, draft.directory)
    at = 0
    for which in [-1 - which for which in range(len(indexes))] + list(range(len(fragments))):
        if which < 0:
            signed, of = foreign[-1 - which], which
        else:
            signed = read_signature_table(draft.path(f"{side_table(fragments[which])}.parquet"), 0, signatures=False)
            of = sources.index(documents.source(fragments[which]))
        height = len(signed.high)
        here = slice(at, at + height)
        high[here], low[here], words[here] = signed.high, signed.low, signed.words
        row[here], origin[here], source[here] = np.arange(height), which, of
        values[:, here] = signed.bands
        # A document without words resembles nothing: it gets a unique value in every band.
        empty = at + np.flatnonzero(signed.words == 0)
        values[:, empty] = empty.astype(np.uint64)
        at += height
    order = precedence(source, words, high, low)
    return Corpus(
        documents, fragments, order, high[order], low[order], origin[order], row[order], words[order], source[order],
        sources, indexes, [path.stem for path in indexes], values, heights,
        draft.directory if settings.keep_shingles else None,
    )  # fmt: skip


def _foreign(path: Path, settings: Settings) -> SignatureTable:
    table = index.read_signatures(path, settings)
    signatures = signature_matrix(table["signature"], settings.permutations)
    bands = band_hashes(signatures, *settings.banding())
    return SignatureTable(*id_halves(table["doc_id"]), table["words"].to_numpy(), signatures, bands)


def precedence(source: np.ndarray, words: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Positions in order of precedence: by source, longer documents first, then by doc_id, then by position.

    One 64-bit key nearly always decides: 16 bits of source, 24 of words, 24 of doc_id.
    """
    rank = source.astype(np.int64) - (int(source.min()) if len(source) else 0)
    if len(rank) and int(rank.max()) >= 1 << 16:
        return np.lexsort((low, high, -words, source))
    most = (1 << 24) - 1
    key = rank.astype(np.uint64) << np.uint64(48)
    key |= (most - np.minimum(words, most)).astype(np.uint64) << np.uint64(24)
    key |= high >> np.uint64(40)
    order = np.argsort(key)
    tied = _repeated_mask(key[order])
    among = order[tied]
    order[tied] = among[np.lexsort((among, low[among], high[among], -words[among], source[among]))]
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


def allocate(rows: int, columns: int, directory: Path) -> np.ndarray:
    """An uninitialised array of uint64, in memory if it is small, else in an unnamed file that no kill leaves
    behind."""
    if 8 * rows * columns <= IN_MEMORY_BYTES:
        return np.empty((rows, columns), np.uint64)
    with tempfile.TemporaryFile(dir=directory) as file:
        return np.memmap(file, np.uint64, "w+", shape=(rows, columns))
