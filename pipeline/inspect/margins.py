"""How near each document is to the limits of a stage's rules: what lies just inside of a limit, and just outside.

Everything follows from a table of decisions with its signals, and from the rules as data (pipeline/curation/rules.py),
so it holds for every stage, a person's own included. Distances are relative to the limit (0.1: ten percent beyond it),
so that figures of different units can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any

import polars as pl
from pydantic import BaseModel

from pipeline.curation.duplicates import near, review
from pipeline.curation.rules import Limit, Rule, in_force, resolved
from pipeline.documents.reasons import Reason
from pipeline.documents.stage import Stage
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact

FAR = 0.25  # a kept document whose figure is as far from the limit, in shares of the limit, is not near it
REMOVED, KEPT, CUT = "removed", "kept", "cut"
# A case: a document and a reason that it was removed for, or nearly.
CASE: dict[str, pl.DataType | type[pl.DataType]] = {
    "stage": pl.String,
    "reason": pl.String,  # or the label of an edit
    "state": pl.String,  # removed, kept, or cut (a passage of it was)
    "doc_id": pl.String,
    "fragment": pl.String,
    "row": pl.UInt32,
    "signal": pl.String,  # null for a reason without a limit, as all after it
    "removes": pl.String,  # the side of the limit that is removed: <, > or >=
    "setting": pl.String,
    "figure": pl.Float64,
    "limit": pl.Float64,
    "distance": pl.Float64,
    "alone": pl.Boolean,  # whether this limit alone decides: every other one says keep
}


def judged(decisions: Artifact, rows: dict[str, pl.Series | None]) -> pl.DataFrame:
    """The decisions on the documents that reached a stage, with `fragment` and `row`.

    rows: of each fragment, the rows to read (None: all of them).
    """
    parts = []
    for fragment, chosen in rows.items():
        table = pl.read_parquet(decisions.table(fragment)).with_row_index("row")
        table = table if chosen is None else table[chosen]
        parts.append(table.filter(pl.col("keep").is_not_null()).with_columns(fragment=pl.lit(fragment)))
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def cases(stage: Stage, settings: StageSettings, table: pl.DataFrame) -> pl.DataFrame:
    """All cases of a stage (CASE): each removal, each edit by its label, and each kept document by each limit."""
    found = [pl.DataFrame(schema=CASE)]
    if settings.enabled and table.height:
        for rule in in_force(stage.rules, settings):
            found += _of_rule(rule, settings, table)
        without = [reason for reason in stage.rules if not _has_limits(reason, settings, table)]
        found += [_case(table.filter(pl.col("reason") == reason.name), reason.name, REMOVED) for reason in without]
        edits = table.filter(pl.col("keep")).select("doc_id", "fragment", "row", "edits").explode("edits").drop_nulls()
        if edits.height:
            labelled = edits.with_columns(reason=pl.col("edits").struct.field("label")).drop("edits").unique()
            found.append(_in_form(labelled.with_columns(state=pl.lit(CUT))))
    return pl.concat(found).with_columns(stage=pl.lit(stage.name))


def figures_of(stage: Stage, settings: StageSettings, table: pl.DataFrame) -> dict[str, str]:
    """The figure and the limit that removed each document, in words, by its id; only where a limit decided.

    table: removed documents with the decision and its signals.
    """
    if not table.height:
        return {}
    placed = table.with_columns(fragment=pl.lit(""), row=pl.lit(0, dtype=pl.UInt32))
    found = cases(stage, settings, placed).filter((pl.col("state") == REMOVED) & pl.col("figure").is_not_null())
    return {case["doc_id"]: in_words(case) for case in found.iter_rows(named=True)}


def in_words(case: Mapping[str, Any]) -> str:
    """A case's figure and the limit that it is compared with, such as `words 24, limit 50 (gopher.min_words)`."""
    return f"{case['signal'].replace('_', ' ')} {case['figure']:,.4g}, limit {case['limit']:,.4g} ({case['setting']})"


def near_pairs(decisions: Artifact, number: int) -> pl.DataFrame:
    """Cases that the table of near-duplicates does not show: the pairs that are just not similar enough."""
    below, _ = review.nearest_to_threshold(decisions, number)
    threshold = float(decisions.manifest["made_of"]["settings"]["threshold"])
    rows = below.select(
        doc_id="left",
        stage=pl.lit(near.STAGE.name),
        reason=pl.lit("near_duplicate"),
        state=pl.lit(KEPT),
        signal=pl.lit("jaccard"),
        removes=pl.lit(">="),
        setting=pl.lit("threshold"),
        figure=pl.col("jaccard"),
        limit=pl.lit(threshold),
        distance=(threshold - pl.col("jaccard")) / threshold,
        alone=pl.lit(True),
    )
    return _in_form(rows)


def nearest(found: pl.DataFrame, number: int) -> pl.DataFrame:
    """Of each stage, reason and state the `number` cases nearest to the limit; of those without one, the lowest ids.

    An id is a hash, so the lowest ones are a random sample, and always the same one. Kept documents that are FAR from
    the limit are left out. In the order of stages and reasons of `found`, removed documents first.
    """
    groups = ("stage", "reason", "state")
    close = found.filter((pl.col("state") != KEPT) | (pl.col("distance") < FAR))
    ranked = close.sort("distance", "doc_id", nulls_last=True).group_by(groups, maintain_order=True).head(number)
    order = found.select("stage", "reason").unique(maintain_order=True).with_row_index("place")
    by_state = pl.col("state").replace_strict({REMOVED: 0, CUT: 1, KEPT: 2})
    ranked = ranked.join(order, on=("stage", "reason"), maintain_order="left")
    return ranked.sort("place", by_state, maintain_order=True).select(list(CASE))


def drawn(found: pl.DataFrame, number: int) -> pl.DataFrame:
    """Of each stage and reason `number` cases of what was removed or cut, at random and always the same ones."""
    taken = found.filter(pl.col("state") != KEPT).sort("doc_id")
    return taken.group_by("stage", "reason", maintain_order=True).head(number)


def counted(found: pl.DataFrame) -> pl.DataFrame:
    """`stage`, `reason`, `removed`: the number of documents removed or cut, in the order of `found`."""
    taken = found.filter(pl.col("state") != KEPT)
    return taken.group_by("stage", "reason", maintain_order=True).agg(removed=pl.len())


def _has_limits(reason: Reason, settings: BaseModel, table: pl.DataFrame) -> bool:
    return isinstance(reason, Rule) and reason.in_force(settings) and bool(_usable(reason, settings, table))


def _usable(rule: Rule, settings: BaseModel, table: pl.DataFrame) -> list[Limit]:
    """The limits of a rule that are set, and whose figures are in the table."""
    there = set(table.columns)
    return [
        limit
        for limit in rule.limits
        if limit.value(settings) is not None
        and all(set(part.meta.root_names()) <= there for part in (limit.measured(), _within(rule, limit, settings)))
    ]


def _within(rule: Rule, limit: Limit, settings: BaseModel) -> pl.Expr:
    """Whether a limit applies to a document."""
    scopes = [resolved(part.scope.condition, settings) for part in (rule, limit) if part.scope is not None]
    return reduce(and_, [limit.measured().is_not_null(), *scopes])


def _of_rule(rule: Rule, settings: BaseModel, table: pl.DataFrame) -> Iterable[pl.DataFrame]:
    """The cases of a rule with limits: for each document, the limit that decides.

    Where any limit removes, a removed document stays until the one is loosened that it is farthest beyond, and a kept
    one goes with the nearest; where all of them have to be broken, it is the other way round.
    """
    limits = _usable(rule, settings, table)
    if not limits:
        return
    columns: dict[str, pl.Expr] = {}
    for number, limit in enumerate(limits):
        value = float(limit.value(settings))
        within = _within(rule, limit, settings).fill_null(False)
        figure = limit.measured().cast(pl.Float64)
        columns[f"within{number}"] = within
        columns[f"figure{number}"] = figure
        columns[f"broken{number}"] = within & limit.broken(settings).fill_null(False)
        columns[f"distance{number}"] = pl.when(within).then((figure - value).abs() / (abs(value) or 1.0))
    wide = table.with_columns(**columns)
    numbers = range(len(limits))
    for state in (REMOVED, KEPT):
        if state == REMOVED:
            rows = wide.filter(pl.col("reason") == rule.name)
        else:
            broken = rule.broken(settings).fill_null(False)
            rows = wide.filter(pl.col("keep") & ~broken & reduce(or_, [pl.col(f"within{n}") for n in numbers]))
        if rows.height:
            yield _deciding(rule, limits, settings, rows, state)


def _deciding(rule: Rule, limits: Sequence[Limit], settings: BaseModel, rows: pl.DataFrame, state: str) -> pl.DataFrame:
    """The cases of one state, each with the limit that decides it."""
    numbers = range(len(limits))
    # Those limits can decide that say what came of the document; of a rule of which any limit removes, the farthest
    # broken one keeps it out.
    speaks = [pl.col(f"broken{n}") if state == REMOVED else ~pl.col(f"broken{n}") for n in numbers]
    far = (state == REMOVED) != rule.every
    offered = [
        pl.when(speaks[n] & pl.col(f"within{n}")).then(pl.col(f"distance{n}") * (-1 if far else 1)) for n in numbers
    ]
    agreeing = pl.sum_horizontal([pl.col(f"broken{n}").cast(pl.Int32) for n in numbers])
    opposed = len(limits) - agreeing if rule.every else agreeing
    own = int(rule.every) if state == KEPT else int(not rule.every)
    rows = rows.with_columns(_chosen=pl.concat_list(offered).list.arg_min())
    given: dict[str, list[Any]] = {
        "signal": [limit.signal for limit in limits],
        "removes": [limit.removes for limit in limits],
        "setting": [limit.setting for limit in limits],
        "limit": [float(limit.value(settings)) for limit in limits],
    }
    picked = [
        *(pl.col("_chosen").replace_strict(dict(zip(numbers, values, strict=True)), default=None).alias(name)
          for name, values in given.items()),
        *(pl.coalesce([pl.when(pl.col("_chosen") == n).then(f"{name}{n}") for n in numbers]).alias(name)
          for name in ("figure", "distance")),
        ((opposed == own) & ~_flagged(rule, settings)).alias("alone"),
    ]  # fmt: skip
    return _case(rows.with_columns(picked), rule.name, state)


def _flagged(rule: Rule, settings: BaseModel) -> pl.Expr:
    """Whether the rule removes a document whatever its limits are."""
    return pl.lit(False) if rule.flag is None else resolved(rule.flag, settings).fill_null(False)


def _case(rows: pl.DataFrame, reason: str, state: str) -> pl.DataFrame:
    return _in_form(rows.select(
        pl.col(name) for name in rows.columns if name in CASE and name not in ("reason", "state", "stage")
    ).with_columns(reason=pl.lit(reason), state=pl.lit(state)))  # fmt: skip


def _in_form(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with all columns of a case, in order."""
    missing = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in CASE.items() if name not in rows.columns]
    return rows.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in CASE.items())
