"""The report's sections on documents: what went in, what each stage removed and why, and what stands near a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.documents.stage import Stage
from pipeline.inspect import lineage, margins, removals, signals
from pipeline.report import drawings, html, passages
from pipeline.report.html import Column
from pipeline.report.subject import Subject
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact

MOST_CHARTS = 6  # of a stage
MOST_REASONS = 4  # in a line


def went_in(subject: Subject) -> str:
    """A table of the sources: licences, documents read and kept, tokens."""
    if subject.get("raw_documents") is None and subject.get("base_model") is None:
        return ""
    rows: list[dict[str, Any]] = lineage.sources_of(dict(subject.artifacts))
    for row in rows:
        row["share"] = row["kept"] / row["documents"] if row["documents"] else None
        row["bar"] = html.bar(row["share"] or 0.0)
    columns = [
        Column("source", "source"), Column("licences", "licence"), Column("documents", "documents", "number"),
        Column("kept", "kept", "number"), Column("share", "share kept", "share"), Column("bar", "", "bar"),
        Column("tokens", "tokens to train on", "number"),
    ]  # fmt: skip
    hints = "".join(
        f'<p class="note">{html.text(name)} loses {html.share(of.judged.total() / of.documents)} of its documents to'
        f" rules, most as {html.text(of.judged.most_common(1)[0][0][1])}: worth a look below.</p>"
        for name, of in removed_by_source(subject).items()
        if removals.loses_much(of)
    )
    return html.table(rows, columns) + hints


def removed_by_source(subject: Subject) -> dict[str, removals.OfSource]:
    """What the stages removed of each source."""
    return removals.counted(artifact for _, _, artifact in subject.decisions())


def overview(subject: Subject) -> str:
    """A line for each stage: documents that reached it, that it removed, and why."""
    rows = []
    for stage, settings, artifact in subject.decisions():
        counts = artifact.counts
        removed = counts["in"] - counts["kept"]
        words = most(counts.get("removed", {}))
        if counts.get("edits"):
            words += ("; " if words else "") + f"passages cut: {most(counts['edits'])}"
        rows.append(
            {
                "stage": named(stage), "in": counts["in"], "removed": removed,
                "share": removed / counts["in"] if counts["in"] else 0.0,
                "bar": html.bar(removed / counts["in"] if counts["in"] else 0.0, removed=True),
                "why": words if settings.enabled else "switched off",
            }
        )  # fmt: skip
    columns = [
        Column("stage", "stage"), Column("in", "documents", "number"), Column("removed", "removed", "number"),
        Column("share", "share", "share"), Column("bar", "", "bar"), Column("why", "most as", "aside"),
    ]  # fmt: skip
    return html.table(rows, columns)


def most(counts: Mapping[str, int]) -> str:
    """The most frequent reasons with their numbers."""
    frequent = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_REASONS]
    return ", ".join(f"{name} {number:,}" for name, number in frequent)


def named(stage: Stage) -> str:
    """The name of a stage as people say it."""
    return stage.name.removesuffix("_decisions").removesuffix("_edits").replace("_", " ")


def stages(subject: Subject) -> str:
    """Of each stage that removed or cut anything: the reasons, the figures with their limits, and passages."""
    raw = subject.get("raw_documents")
    if raw is None:
        return ""
    parts = []
    for stage, settings, artifact in subject.decisions():
        if settings.enabled and (artifact.counts.get("removed") or artifact.counts.get("edits")):
            parts.append(of_stage(subject, raw, stage, settings, artifact))
    return "".join(parts)


def of_stage(subject: Subject, raw: Artifact, stage: Stage, settings: StageSettings, decisions: Artifact) -> str:
    """One stage: its description, then for each reason what it means, how often it struck, and passages."""
    table = margins.judged(decisions, passages.looked_at(decisions))
    shown = passages.of_stage(subject, raw, stage, settings, table, decisions)
    counts = {**decisions.counts.get("removed", {}), **decisions.counts.get("edits", {})}
    parts = [f"<h3>{html.text(named(stage))}</h3><p>{html.text(stage.description)}</p>"]
    rows = [
        {"reason": name, "documents": number, "meaning": stage.reasons.get(name, "")}
        for name, number in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    what = "documents" if decisions.counts.get("removed") else "passages"
    parts.append(
        html.table(
            rows, [Column("reason", "reason"), Column("documents", what, "number"), Column("meaning", "", "words")]
        )
    )
    parts.append(charts(table, stage, settings))
    for reason in dict.fromkeys(case["reason"] for case, _ in shown):
        meaning = stage.reasons.get(reason, "")
        parts.append(f"<h4>{html.text(reason)} <span>{html.text(meaning)}</span></h4>")
        parts += [passage for case, passage in shown if case["reason"] == reason]
    return "".join(parts)


def charts(table: pl.DataFrame, stage: Stage, settings: StageSettings) -> str:
    """The figures that rules limit, kept and removed, with their limits."""
    if not table.height:
        return ""
    drawn = []
    for found in signals.histograms(table, stage.rules, settings):
        values = signals.values_of(table, found)
        if not found.lines or values["value"].n_unique() < 2:
            continue
        beyond = sum(beyond_of(values["value"], limit) for limit, _ in found.lines)
        drawn.append((beyond, found, values))
    drawn.sort(key=lambda one: -one[0])
    figures = []
    for _, found, values in drawn[:MOST_CHARTS]:
        parts = {
            name: values.filter(keep)["value"]
            for name, keep in (("kept", pl.col("keep")), ("removed", ~pl.col("keep")))
        }
        limits = [limit for limit, _ in found.lines]
        words = ", ".join(f"{limit:,.4g} {scope}".strip() for limit, scope in found.lines)
        svg = drawings.histogram(parts, limits, f"{found.name.replace('_', ' ')} of the documents")
        figures.append(html.figure(svg, found.name.replace("_", " "), f"limit {words}"))
    if not figures:
        return ""
    legend = '<p class="soft">Green: kept. Red: removed by this stage. The dashed line is the limit.</p>'
    return f'{legend}<div class="charts">{"".join(figures)}</div>'


def beyond_of(values: pl.Series, limit: float) -> int:
    """How many values stand on the smaller side of a limit: the fuller it is, the more the limit matters."""
    above = int((values > limit).sum())
    return min(above, len(values) - above)
