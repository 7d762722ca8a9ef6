"""Rules: why a curation stage removes documents, and from which limit on, as data.

A stage declares its rules once. The decisions, the limits drawn in histograms in Dagster, the explanation of each
reason, and the table of all rules in the documentation follow from them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel

from pipeline.documents.reasons import Reason

# A condition on the rows of a table of signals; a function of the stage's settings if it depends on them.
Condition = pl.Expr | Callable[[Any], pl.Expr]
Side = Literal["<", ">", ">="]
COMPARE = {"<": operator.lt, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Scope:
    """The documents that a rule or a limit applies to."""

    words: str
    condition: Condition


@dataclass(frozen=True, eq=False)
class Limit:
    """A figure of a document is beyond a limit if it compares with the value of `setting` as `removes` says."""

    signal: str  # name of the figure: a column of the table unless `figure` is given
    removes: Side
    setting: str  # dotted name in the stage's settings; elements of a list by number (`word_length.0`)
    scope: Scope | None = None  # None: all documents that have the figure
    figure: pl.Expr | None = None  # the figure, if it is not the column `signal` itself

    def measured(self) -> pl.Expr:
        """The figure that is compared with the limit."""
        return pl.col(self.signal) if self.figure is None else self.figure

    def value(self, settings: BaseModel) -> Any:
        """The limit in force according to the settings."""
        return setting_of(settings, self.setting)

    def broken(self, settings: BaseModel) -> pl.Expr:
        """Whether a document is beyond the limit; null if it has no such figure.

        The value is a plain literal, so it is compared in the precision of the figure: a Float32 share of exactly 0.7
        is not below 0.7, although as a Float64 it would be.
        """
        beyond: pl.Expr = COMPARE[self.removes](self.measured(), self.value(settings))
        return beyond if self.scope is None else resolved(self.scope.condition, settings) & beyond


@dataclass(frozen=True, eq=False)
class Rule(Reason):
    """A reason and the condition for removing a document: a flag, or limits.

    A rule with neither describes a stage that decides in another way, such as by comparing documents.
    """

    flag: Condition | None = None
    limits: tuple[Limit, ...] = ()
    every: bool = False  # True: removes only documents beyond all limits; False: beyond any limit
    scope: Scope | None = None  # None: all documents
    switches: tuple[str, ...] = ()  # settings without which the rule is off: false, empty or null

    def in_force(self, settings: BaseModel) -> bool:
        """Whether the settings switch the rule on."""
        return all(setting_of(settings, name) for name in self.switches)

    def broken(self, settings: BaseModel) -> pl.Expr:
        """Whether a document breaks the rule; null counts as false. Raises ValueError if the rule has no condition."""
        parts = [limit.broken(settings) for limit in self.limits]
        if self.flag is not None:
            parts.append(resolved(self.flag, settings))
        if not parts:
            raise ValueError(f"the rule `{self.name}` has neither a flag nor a limit")
        condition = reduce(operator.and_ if self.every else operator.or_, parts)
        return condition if self.scope is None else resolved(self.scope.condition, settings) & condition


def setting_of(settings: BaseModel, name: str) -> Any:
    """The value of a setting by its dotted name, such as `gopher.word_length.0`; None in a block that is left out."""
    value: Any = settings
    for part in name.split("."):
        if value is None:
            return None
        value = value[int(part)] if part.isdigit() else getattr(value, part)
    return value


def resolved(condition: Condition, settings: BaseModel) -> pl.Expr:
    """The condition as an expression."""
    return condition if isinstance(condition, pl.Expr) else condition(settings)


def in_force(rules: Iterable[Reason], settings: BaseModel) -> list[Rule]:
    """The rules that the settings switch on, in order."""
    return [rule for rule in rules if isinstance(rule, Rule) and rule.in_force(settings)]


def decided_by(
    signals: pl.DataFrame,
    rules: Sequence[Rule],
    settings: BaseModel,
    score: pl.Expr | None = None,
    spared: pl.Expr | None = None,
) -> pl.DataFrame:
    """`keep`, `reason` and `score` for each row: removed by the first rule in force that it breaks.

    score: null if not given. spared: rows that are kept whatever rules they break.
    """
    reasons: list[pl.Expr] = []
    for rule in in_force(rules, settings):
        broken = rule.broken(settings)
        reasons.append(pl.when(broken if spared is None else broken & ~spared).then(pl.lit(rule.name)))
    none = pl.repeat(None, pl.len(), dtype=pl.String)
    chosen = signals.select(
        pl.coalesce([*reasons, none]).alias("reason"),
        (pl.lit(None) if score is None else score).cast(pl.Float64).alias("score"),
    )
    return chosen.select(pl.col("reason").is_null().alias("keep"), "reason", "score")
