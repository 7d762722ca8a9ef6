"""A corpus as one file that other corpora are compared with: the id, signature and shingles of each document.

Removals in favour of an index are verified exactly, like all others. So an index holds the shingles (48-bit hashes,
some 8 bytes per word), not only the signatures. It holds no text, so it can be shared even if the text cannot.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from model.files import whole
from pipeline.errors import UserError
from pipeline.store.artifact import file_digest

if TYPE_CHECKING:
    from pipeline.curation.duplicates.duplicate_settings import Settings

ABOUT = b"slm.index"  # metadata key of the settings that its signatures and shingles were made with


def digest_of(path: str) -> str:
    """The hash of an index file. Raises UserError if there is no such file."""
    if not Path(path).is_file():
        raise UserError(f"`curation.duplicates.indexes`: there is no file {path}: make it with `slm index FILE`.")
    return file_digest(Path(path))


class Part(NamedTuple):
    """Some documents of an index."""

    ids: pl.Series
    words: pl.Series
    signatures: pl.Series
    hashes: np.ndarray  # their sets of shingles, concatenated
    sizes: np.ndarray


def write(path: Path, parts: Iterable[Part], settings: Settings) -> int:
    """Write an index part by part; returns the number of documents."""
    kind = pa.schema(
        [("doc_id", pa.string()), ("words", pa.int64()), ("signature", pa.binary()),
         ("shingles", pa.large_list(pa.uint64()))],
        metadata={ABOUT: json.dumps(_about(settings), sort_keys=True).encode()},
    )  # fmt: skip
    documents = 0
    with whole(path) as unfinished, pq.ParquetWriter(unfinished, kind, compression="zstd") as writer:
        for part in parts:
            offsets = pa.array(np.concatenate([[0], np.cumsum(part.sizes)]), pa.int64())
            shingles_ = pa.LargeListArray.from_arrays(offsets, pa.array(part.hashes, pa.uint64()))
            columns = [part.ids.to_arrow(), part.words.to_arrow(), part.signatures.to_arrow(), shingles_]
            table = pa.Table.from_arrays([column.cast(field.type) for column, field in zip(columns, kind)], schema=kind)
            writer.write_table(table, row_group_size=4096)
            documents += table.num_rows
    return documents


def _about(settings: Settings) -> dict[str, Any]:
    return {**settings.about_text(), "permutations": settings.permutations}


def read_signatures(path: Path, settings: Settings) -> pl.DataFrame:
    """doc_id, words, signature of an index. Raises UserError if it was made with other settings."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        about = json.loads(metadata[ABOUT])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not an index of documents: make one with `slm index FILE`.") from error
    wanted = _about(settings)
    for name, value in wanted.items():
        if about.get(name) != value:
            raise UserError(
                f"The index {path} was made with `{name}: {about.get(name)}` and this recipe has `{name}: {value}` "
                "in `curation.duplicates`: make the index again, or use the same value."
            )
    return pl.read_parquet(path, columns=["doc_id", "words", "signature"])


def shingles(path: Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(hashes, sizes) of rows of an index, in the order of `rows`."""
    column = pl.read_parquet(path, columns=["shingles"])["shingles"].gather(rows)
    hashes = column.explode(empty_as_null=False).to_numpy().astype(np.uint64)
    return hashes, column.list.len().to_numpy().astype(np.int64)
