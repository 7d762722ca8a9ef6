"""A column of texts as one run of UTF-8 bytes with offsets, for counting and hashing without making strings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl


def row_blocks(texts: pl.Series, block_bytes: int) -> list[tuple[int, int]]:
    """First and end row of consecutive parts of a column of about so many bytes, small enough for the cache."""
    sizes = texts.str.len_bytes().fill_null(0).cum_sum() // block_bytes
    bounds = [0, *(sizes.diff().fill_null(0) > 0).arg_true().to_list(), len(texts)]
    return [(start, end) for start, end in pairwise(bounds) if end > start]


def buffers(texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes of a column (uint8) and its offsets (int64, one more than texts), without copying.

    Text i is `bytes[offsets[i]:offsets[i + 1]]`; null counts as empty.
    """
    array = texts.fill_null("").rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return content[bounds[0] : bounds[-1]], bounds - bounds[0]


def from_buffers(content: np.ndarray, offsets: np.ndarray) -> pl.Series:
    """The column of texts whose bytes (valid UTF-8) and offsets are these, without copying."""
    import pyarrow as pa

    array = pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(content)
    )
    return pl.Series(array, dtype=pl.String)
