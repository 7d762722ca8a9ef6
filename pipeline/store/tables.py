"""Parquet tables: written atomically, and the same rows always give the same bytes.

Nothing that changes from run to run (time, host, order of writing) gets into a file. Polars and Arrow add nothing of
the kind as long as the rows, the row-group size and the compression are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

from model.files import put_in_place as put_in_place
from model.files import whole
from model.files import write_whole as write_whole

# Small enough to be read one at a time, large enough to compress well.
ROW_GROUP_ROWS = 16_384


def write_table(frame: pl.DataFrame | pa.Table, path: Path, row_group_rows: int | None = None) -> None:
    """Write `frame` as Parquet (zstd) to `path`, atomically."""
    rows = row_group_rows or ROW_GROUP_ROWS
    with whole(path) as unfinished:
        if isinstance(frame, pl.DataFrame):
            frame.write_parquet(unfinished, compression="zstd", compression_level=3, row_group_size=rows)
        else:
            import pyarrow.parquet as pq

            pq.write_table(frame, unfinished, compression="zstd", compression_level=3, row_group_size=rows)


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
