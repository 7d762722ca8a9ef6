"""Tables: a few strings taken from a column do not keep the whole column in memory."""

from __future__ import annotations

import polars as pl

from pipeline.store.tables import compact


def held(texts: pl.Series) -> int:
    """Bytes of the memory that the strings lie in."""
    return sum(part.size for part in texts.to_arrow(compat_level=pl.CompatLevel.newest()).buffers() if part)


def test_what_is_taken_from_a_column_does_not_hold_on_to_it():
    column = pl.Series("text", [f"{number} " + "가나다" * 3000 for number in range(500)])
    taken = column.gather([3, 400])
    copied = compact(taken)
    assert copied.to_list() == taken.to_list() and copied.name == "text"
    assert held(copied) < 3 * sum(taken.str.len_bytes()) < held(taken) / 50
    assert compact(column.filter(pl.Series([False] * 500))).to_list() == []
    assert compact(pl.Series("text", ["a", None])).to_list() == ["a", None]
