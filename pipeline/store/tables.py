"""Parquet tables: written atomically, and the same rows always give the same bytes.

Nothing that changes from run to run (time, host, order of writing) gets into a file. Polars and Arrow add nothing of
the kind as long as the rows, the row-group size and the compression are fixed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

# Small enough to be read one at a time, large enough to compress well.
ROW_GROUP_ROWS = 16_384


def write_table(frame: pl.DataFrame | pa.Table, path: Path, row_group_rows: int | None = None) -> None:
    """Write `frame` as Parquet (zstd) to `path`, atomically."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    rows = row_group_rows or ROW_GROUP_ROWS
    try:
        if isinstance(frame, pl.DataFrame):
            frame.write_parquet(temporary, compression="zstd", compression_level=3, row_group_size=rows)
        else:
            import pyarrow.parquet as pq

            pq.write_table(frame, temporary, compression="zstd", compression_level=3, row_group_size=rows)
    except (pl.exceptions.ComputeError, OSError) as error:
        # Polars wraps the error of a full disk in an exception of its own, without the error number.
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    put_in_place(temporary, path)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file atomically; it is whole or absent even after a power cut."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary.write_bytes(data)
    put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Flush `temporary` to disk, then rename it to `path`; the rename makes it visible."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def compact(texts: pl.Series) -> pl.Series:
    """The same strings in memory of their own; a slice or gather would otherwise keep the whole column alive."""
    values = pl.from_arrow(texts.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(values, pl.Series)
    return values.alias(texts.name)


def gather_texts(places: pl.DataFrame, read: Callable[[str], pl.Series]) -> pl.Series:
    """The texts at `places` (fragment, row), in that order. read: returns all texts of a fragment."""
    parts = [pl.DataFrame(schema={"place": pl.UInt32, "text": pl.String})]
    in_order = places.with_row_index("place").sort("fragment", "row")
    for (fragment,), rows in in_order.group_by("fragment", maintain_order=True):
        parts.append(rows.select("place", compact(read(str(fragment)).gather(rows["row"])).alias("text")))
    return pl.concat(parts).sort("place")["text"]


def scan_tables(tables: Mapping[str, Path]) -> pl.LazyFrame:
    """Many tables as one lazy frame, in their order, with their names in the column `fragment`."""
    names = {str(path): name for name, path in tables.items()}
    frame = pl.scan_parquet(list(tables.values()), include_file_paths="fragment")
    return frame.with_columns(pl.col("fragment").replace_strict(names, return_dtype=pl.String))


def in_batches(tables: Mapping[str, Path], rows: Mapping[str, int], most: int) -> Iterator[dict[str, Path]]:
    """The tables in batches of at most `most` rows; a larger table is a batch of its own."""
    batch: dict[str, Path] = {}
    total = 0
    for name, path in tables.items():
        if batch and total + rows[name] > most:
            yield batch
            batch, total = {}, 0
        batch[name] = path
        total += rows[name]
    if batch:
        yield batch
