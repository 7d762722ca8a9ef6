"""A rule is a reason and a condition under which it removes a document; the first that applies is given."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

Rule = tuple[str, pl.Expr]


def decided_by(signals: pl.DataFrame, rules: Sequence[Rule], score: pl.Expr | None = None) -> pl.DataFrame:
    """`keep`, `reason` and `score` for each row: removed by the first rule whose condition is true (null is false)."""
    given: list[pl.Expr] = [pl.when(condition).then(pl.lit(name)) for name, condition in rules]
    reason = pl.coalesce([*given, pl.lit(None, pl.String)])
    chosen = signals.select(
        reason.alias("reason"), (pl.lit(None) if score is None else score).cast(pl.Float64).alias("score")
    )
    return chosen.select(pl.col("reason").is_null().alias("keep"), "reason", "score")
