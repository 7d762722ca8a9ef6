"""Parquet tables: written whole or not at all, and the same rows always as the same bytes.

Nothing that changes from run to run (time, host, writer's order) gets into a file; Polars and Arrow write none by
themselves as long as the rows, the row-group size and the compression are fixed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

# Small enough to be read a piece at a time, large enough that compression finds something to work with.
ROW_GROUP_ROWS = 16_384


def write_table(frame: pl.DataFrame | pa.Table, path: Path, row_group_rows: int | None = None) -> None:
    """Write `frame` as Parquet (zstd) at `path`, which appears whole or not at all."""
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
        # Polars hides the error number of a full disk in its own exception.
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
    put_in_place(temporary, path)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a small file so that it appears whole or not at all, also after a power cut."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary.write_bytes(data)
    put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Flush `temporary` to the disk, then give it its name. The rename is what makes it exist."""
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def compact(texts: pl.Series) -> pl.Series:
    """The same strings in memory of their own. What is gathered or cut from a column else holds on to all of it."""
    values = pl.from_arrow(texts.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(values, pl.Series)
    return values.alias(texts.name)


def gather_texts(places: pl.DataFrame, read: Callable[[str], pl.Series]) -> pl.Series:
    """The texts at `places` (fragment, row), in their order; `read` gives a fragment's, one at a time."""
    parts = [pl.DataFrame(schema={"place": pl.UInt32, "text": pl.String})]
    in_order = places.with_row_index("place").sort("fragment", "row")
    for (fragment,), rows in in_order.group_by("fragment", maintain_order=True):
        parts.append(rows.select("place", compact(read(str(fragment)).gather(rows["row"])).alias("text")))
    return pl.concat(parts).sort("place")["text"]


def scan_tables(tables: Mapping[str, Path]) -> pl.LazyFrame:
    """Many tables as one, in their order, with the column `fragment` (the name): one query, not one for each."""
    names = {str(path): name for name, path in tables.items()}
    frame = pl.scan_parquet(list(tables.values()), include_file_paths="fragment")
    return frame.with_columns(pl.col("fragment").replace_strict(names, return_dtype=pl.String))


def in_batches(tables: Mapping[str, Path], rows: Mapping[str, int], most: int) -> Iterator[dict[str, Path]]:
    """The tables some at a time, so that no batch has more than `most` rows, unless one table has."""
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
