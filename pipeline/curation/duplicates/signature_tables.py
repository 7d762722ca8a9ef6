"""The signatures of each fragment's documents, in a side table of their own, and how they are remembered.

A document that an earlier version of the table holds, to the byte, is not signed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from model.files import whole
from pipeline.context import RunContext
from pipeline.curation.duplicates import shingle_files
from pipeline.curation.duplicates import tidiness as tidying
from pipeline.curation.duplicates.duplicate_settings import Settings
from pipeline.curation.duplicates.signatures import band_hashes, signatures_of, texts_to_compare
from pipeline.curation.duplicates.tidiness import EDGE, Tidiness, tidiness_of
from pipeline.documents.fragment_tables import TableTask, make_tables
from pipeline.documents.known_rows import EarlierVersions, Remembered, Rows, spread
from pipeline.documents.view import Documents
from pipeline.store.artifact import digest
from pipeline.store.draft import Draft
from pipeline.text.words import blocks, shingle_count, words_of

TIDINESS_VERSION = "1"


def side_table(fragment: str) -> str:
    """Name of a fragment's table of signatures within the artifact."""
    return f"signatures/{fragment}"


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


class SignatureTable(NamedTuple):
    """The signatures of the kept documents of one fragment, in the order of its rows."""

    high: np.ndarray  # uint64, the first half of doc_id
    low: np.ndarray
    words: np.ndarray  # int64
    signatures: np.ndarray  # uint32 (documents, permutations)
    bands: np.ndarray  # uint64 (bands, documents)
    tidiness: Tidiness


def signature_key(settings: Settings) -> str:
    """Digest of what a signature depends on in addition to the document's words."""
    about = {**settings.about_text(), "permutations": settings.permutations, "shingles": settings.keep_shingles}
    about["tidiness"] = TIDINESS_VERSION
    return digest(about)


def write_signatures(draft: Draft, context: RunContext, documents: Documents, settings: Settings) -> None:
    """Write the signatures of every fragment to the draft; remembered ones are linked."""
    about = {"signatures": signature_key(settings)}
    versions = EarlierVersions(draft, context.store, documents, lambda made: True, only_kept=True)

    def table_task(fragment: str) -> TableTask:
        name = side_table(fragment)
        key = {**documents.key(fragment), **about, "bands": list(settings.banding())}

        def arguments(target: Path) -> tuple[Any, ...]:
            companion = shingle_files.SUFFIX if settings.keep_shingles else ""
            earlier = versions.remembered(fragment, name, about, companion)
            return documents.only(fragment), fragment, settings, earlier, target

        return TableTask(name, key, 2 * documents.bytes(fragment), arguments, about)

    tables = [table_task(fragment) for fragment in documents.fragments]
    make_tables(draft, tables, write_fragment_signatures, context.execution, "signatures")
    if settings.keep_shingles:
        for table in tables:  # a worker writes them before the table, so they exist
            draft.file(f"{table.name}{shingle_files.SUFFIX}", table.key, lambda path: {})


def write_fragment_signatures(
    documents: Documents, fragment: str, settings: Settings, earlier: Remembered | None, target: Path
) -> tuple[int, dict[str, Any]]:
    """Write the signatures of one fragment's kept documents; returns (rows, no facts). Runs in a worker."""
    rows = Rows(documents, fragment, earlier, ["doc_id", "text"])
    high, low = id_halves(rows.plain["doc_id"].filter(rows.kept))
    words, begins = np.zeros(len(high), np.int64), np.zeros(len(high), np.int64)
    signatures = np.empty((len(high), settings.permutations), np.uint32)
    tidiness = tidying.empty(len(high))
    fresh = np.ones(len(high), bool)
    place_then = rows.earlier_kept()
    if earlier is not None and place_then is not None:
        before = read_signature_table(earlier.table, settings.permutations)
        # The words of two texts of one id are the same, their lines (`tidiness`) may not be.
        place = place_then.cast(pl.Int64).fill_null(-1).to_numpy()
        fresh = place < 0
        known = place[~fresh]
        words[~fresh], signatures[~fresh] = before.words[known], before.signatures[known]
        for column, known_column in zip(tidiness, before.tidiness.where(known), strict=True):
            column[~fresh] = known_column
        held = shingle_count(before.words, settings.shingle)
        begins[~fresh] = (np.cumsum(held) - held)[known]
    made: list[np.ndarray] = [np.zeros((0, shingle_files.WIDTH), np.uint8)]
    if fresh.any():
        texts = rows.frame(spread(pl.Series(fresh), rows.kept))["text"]
        keep = (lambda shingles: made.append(shingle_files.pack(shingles))) if settings.keep_shingles else None
        compared, looks = texts_to_compare(texts, settings), []
        look = (lambda *block: looks.append(tidiness_of(*block))) if compared is texts else None
        signatures[fresh], words[fresh] = signatures_of(compared, settings.shingle, settings.permutations, keep, look)
        if look is None:  # the looks of a document are those of its text, whatever a comparison ignores
            looks = [tidiness_of(data, offsets, words_of(data, offsets)) for *_, data, offsets in blocks(texts)]
        for column, fresh_column in zip(tidiness, tidying.join(looks), strict=True):
            column[fresh] = fresh_column
    if settings.keep_shingles:
        shingles = earlier.table.with_suffix(shingle_files.SUFFIX) if earlier else None
        sizes = shingle_count(words, settings.shingle)
        parts = shingle_files.merge(fresh, sizes, np.concatenate(made), shingles, begins)
        shingle_files.write(parts, target.with_suffix(shingle_files.SUFFIX))
    write_signature_table(
        SignatureTable(high, low, words, signatures, band_hashes(signatures, *settings.banding()), tidiness), target
    )
    return len(high), {}


def write_signature_table(signed: SignatureTable, path: Path) -> None:
    """Write a table of signatures, uncompressed: hashes do not compress."""
    columns = {"high": pa.array(signed.high), "low": pa.array(signed.low), "words": pa.array(signed.words)}
    columns |= {f"band {number}": pa.array(values) for number, values in enumerate(signed.bands)}
    columns |= {"tags": pa.array(signed.tidiness.tags), "repeated": pa.array(signed.tidiness.repeated)}
    columns |= {"edges": _binary(signed.tidiness.edges)}
    columns["signature"] = _binary(signed.signatures)
    with whole(path) as unfinished:
        pq.write_table(
            pa.table(columns), unfinished, row_group_size=max(1, len(signed.high)), compression="none",
            use_dictionary=False, write_statistics=False,
        )  # fmt: skip


def read_signature_table(path: Path, permutations: int, signatures: bool = True, bands: bool = True) -> SignatureTable:
    """A table of signatures. signatures, bands: False leaves these out, for which the others are enough."""
    with pq.ParquetFile(path, memory_map=True) as file:
        names = file.schema_arrow.names
        left_out = {name for name in names if name == "signature" and not signatures}
        left_out |= {name for name in names if name.startswith("band ") and not bands}
        table = file.read([name for name in names if name not in left_out], use_threads=False)

    made = np.zeros((0, permutations), np.uint32)
    if signatures:
        made = matrix_of(table, "signature", np.uint32, permutations)
    of_bands = [column_of(table, name) for name in names if name.startswith("band ") and bands]
    values = np.stack(of_bands) if bands else np.zeros((0, len(table)), np.uint64)
    tidiness = Tidiness(
        column_of(table, "tags").astype(np.uint32), column_of(table, "repeated").astype(np.uint32),
        matrix_of(table, "edges", np.uint32, 2 * EDGE),
    )  # fmt: skip
    high, low, words = (column_of(table, name) for name in ("high", "low", "words"))
    return SignatureTable(high, low, words.astype(np.int64), made, values, tidiness)


def read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Some columns of a table of signatures."""
    with pq.ParquetFile(path, memory_map=True) as file:
        return file.read(list(names), use_threads=False)


def column_of(table: pa.Table, name: str) -> np.ndarray:
    """A column of numbers."""
    chunks = [chunk.to_numpy() for chunk in table[name].chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [np.zeros(0, np.uint64)])


def matrix_of(table: pa.Table, name: str, kind: type[np.generic], width: int) -> np.ndarray:
    """A column of binary values, each of `width` numbers, as rows."""
    size = width * np.dtype(kind).itemsize
    parts = [
        np.frombuffer(chunk.buffers()[1], kind, width * len(chunk), size * chunk.offset)
        for chunk in table[name].chunks
        if len(chunk)
    ]
    return np.concatenate(parts).reshape(-1, width) if parts else np.zeros((0, width), kind)
