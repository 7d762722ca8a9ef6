"""The report of two recipes, or of two versions of a model: what differs, side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polars as pl

from pipeline.evaluation.figures import HeadlineFigure, headline_figures
from pipeline.evaluation.measures import before_after
from pipeline.evaluation.report import read
from pipeline.flattening import flattened
from pipeline.inspect import lineage
from pipeline.inspect.curves import VALIDATION
from pipeline.inspect.in_short import figure
from pipeline.inspect.tuning import in_full
from pipeline.printing import duration
from pipeline.report import drawings, html, of_documents, of_models
from pipeline.report.html import Column
from pipeline.report.passages import covered
from pipeline.report.subject import Subject
from pipeline.trained_models import TRAINED_MODELS
from pipeline.training.model_facts import ModelFacts

MOST_SETTINGS = 60
CUT = 36  # characters of a setting
PLAN = "training_plan"  # its settings are those of the model
DIGEST = re.compile(r"[0-9a-f]{32,}")


def written(first: Subject, second: Subject) -> str:
    """The page of both. Figures of the first stand left, those of the second right."""
    sections = [
        html.section("sources", "What went in", sources(first, second)),
        html.section("removed", "What was removed", removed(first, second)),
        html.section("tokens", "Tokens", tokens(first, second)),
        html.section("training", "Training", trainings(first, second), curves(first, second)),
        html.section("figures", "What the models reach", figures(first, second)),
        html.section("answers", "What they say", answers(first, second)),
        html.section("settings", "Settings that differ", settings(first, second)),
    ]
    lead = f"<p>Left: <b>{html.text(first.name)}</b>. Right: <b>{html.text(second.name)}</b>.</p>"
    return html.page(f"{first.name} and {second.name}", lead, sections)


def both(first: Subject, second: Subject, kind: str = "number") -> list[Column]:
    """The columns of the two."""
    return [Column("first", first.name, kind), Column("second", second.name, kind)]


def settings(first: Subject, second: Subject) -> str:
    """The settings, of artifacts that both have, that are not the same."""
    rows = []
    for name in first.artifacts.keys() & second.artifacts.keys():
        made = [one.artifacts[name].manifest["made_of"] for one in (first, second)]
        known = [dict(flattened(of["settings"])) | {"code version": of["code_version"]} for of in made]
        rows += [
            {"asset": name, "key": key, "first": cut(known[0].get(key)), "second": cut(known[1].get(key))}
            for key in sorted(known[0].keys() | known[1].keys())
            if known[0].get(key) != known[1].get(key) and name != PLAN
        ]
    order = list(first.artifacts)
    rows.sort(key=lambda row: (order.index(row["asset"]), row["key"]))
    if not rows:
        return "<p>None.</p>"
    more = f'<p class="note">and {len(rows) - MOST_SETTINGS:,} more</p>' if len(rows) > MOST_SETTINGS else ""
    columns = [Column("asset", "artifact"), Column("key", "setting"), *both(first, second, "words")]
    return html.table(rows[:MOST_SETTINGS], columns) + more


def cut(value: Any) -> str:
    """A setting, short enough for a table; of a digest, such as that of what a source held, the beginning."""
    words = "-" if value is None else str(value)
    if DIGEST.fullmatch(words):
        return words[:8]
    return words if len(words) <= CUT else words[: CUT - 1] + "…"


def sources(first: Subject, second: Subject) -> str:
    """Documents kept of each source."""
    found = [
        {row["source"]: row for row in lineage.sources_of(dict(one.artifacts))}
        if one.get("raw_documents") or one.get("base_model")
        else {}
        for one in (first, second)
    ]
    rows = [
        {
            "source": name,
            "licences": (found[0].get(name) or found[1][name])["licences"],
            "first": _kept(found[0].get(name)),
            "second": _kept(found[1].get(name)),
        }
        for name in dict.fromkeys([*found[0], *found[1]])
    ]
    return html.table(rows, [Column("source", "source"), Column("licences", "licence"), *both(first, second)])


def _kept(row: dict[str, Any] | None) -> str:
    return f"{row['kept']:,} of {row['documents']:,}" if row else "-"


def removed(first: Subject, second: Subject) -> str:
    """Documents removed, or passages cut, by stage and reason."""
    found: list[dict[tuple[str, str], int]] = []
    for one in (first, second):
        counts = {}
        for stage, _, artifact in one.decisions():
            for reason, number in {**artifact.counts.get("removed", {}), **artifact.counts.get("edits", {})}.items():
                counts[of_documents.named(stage), reason] = number
        found.append(counts)
    rows = [
        {
            "stage": stage,
            "reason": reason,
            "first": found[0].get((stage, reason), 0),
            "second": found[1].get((stage, reason), 0),
        }
        for stage, reason in dict.fromkeys([*found[0], *found[1]])
    ]
    return html.table(rows, [Column("stage", "stage"), Column("reason", "reason"), *both(first, second)])


def tokens(first: Subject, second: Subject) -> str:
    """Tokens of each split, bytes per token, and the lengths of documents."""
    cells: dict[str, dict[str, str]] = {}
    for side, one in (("first", first), ("second", second)):
        shards, tokenizer = one.get("token_shards"), one.get("tokenizer")
        for split, number in (shards.facts.get("tokens", {}) if shards else {}).items():
            cells.setdefault(f"tokens, {split}", {})[side] = figure(number)
        for name, of in (tokenizer.facts.get("report", {}).get("languages", {}) if tokenizer else {}).items():
            cells.setdefault(f"bytes per token, {name}", {})[side] = f"{of['bytes_per_token']:.2f}"
    rows = [{"what": what, "first": "-", "second": "-", **found} for what, found in cells.items()]
    drawn = ""
    for one in (first, second):
        shards = one.get("token_shards")
        if shards is not None:
            drawn += html.figure(
                drawings.histogram({"documents": of_models.lengths_of(shards)}, [], "tokens of a document", True),
                f"tokens of a document: {one.name}",
            )
    return html.table(rows, [Column("what", ""), *both(first, second)]) + f'<div class="charts">{drawn}</div>'


def trainings(first: Subject, second: Subject) -> str:
    """Size, tokens and time of each model."""
    rows = []
    for kind in TRAINED_MODELS:
        made = [one.get(kind.name) for one in (first, second)]
        if not any(made):
            continue
        said = []
        for model in made:
            if model is None:
                said.append("-")
                continue
            facts, took = ModelFacts.of(model), model.manifest["seconds"].get("training")
            time = f", {duration(took)}" if took and first.times else ""
            said.append(f"{figure(facts.parameters)} parameters, {figure(facts.tokens)} tokens{time}")
        rows.append({"model": kind.adjective, "first": said[0], "second": said[1]})
    return html.table(rows, [Column("model", "model"), *both(first, second, "words")])


def curves(first: Subject, second: Subject) -> str:
    """The loss on text held back of both, one drawing for each kind of model."""
    drawn = ""
    for kind in TRAINED_MODELS:
        lines = []
        for one in (first, second):
            model = one.get(kind.name)
            log = of_models.log_of(model) if model is not None else None
            name = next((name for name in VALIDATION if log is not None and name in log.columns), None)
            if log is not None and name:
                lines.append(of_models.curve_of(log, name, "left" if one is first else "right", True))
        if lines:
            svg = drawings.curves(lines, "tokens", "loss on text held back", f"losses of the {kind.adjective} models")
            drawn += html.figure(svg, f"{kind.adjective} model")
    return f'<div class="charts large">{drawn}</div>' if drawn else ""


def figures(first: Subject, second: Subject) -> str:
    """The headline figures of each kind of model, with intervals, and whether they tell the two apart."""
    parts = []
    for kind in TRAINED_MODELS:
        reports = [one.get(kind.evaluation) for one in (first, second)]
        if not all(report and "report.json" in report.manifest["files"] for report in reports):
            continue
        found = [
            {in_full(one.words): one for one in headline_figures(read(report), subject.measures)}
            for report, subject in zip(reports, (first, second), strict=True)
            if report is not None
        ]
        known = [of_models.standings(one) for one in (first, second)]
        rows = [
            {
                "figure": words,
                "first": of_models.cell(one, known[0], first.get(kind.name)),
                "second": of_models.cell(found[1][words], known[1], second.get(kind.name)),
                "verdict": verdict(one, found[1][words]),
            }
            for words, one in found[0].items()
            if words in found[1]
        ]
        if rows:
            columns = [Column("figure", ""), *both(first, second, "html"), Column("verdict", "", "html")]
            parts.append(f"<h3>{html.text(kind.adjective)} model</h3>{html.table(rows, columns)}")
    return "".join(parts)


def verdict(first: HeadlineFigure, second: HeadlineFigure) -> str:
    """Which of two figures is better; that they are not told apart, where their intervals overlap."""
    if first.value == second.value:
        return '<span class="tag">same</span>'
    intervals = [of_models.interval_of(one) for one in (first, second)]
    if intervals[0] and intervals[1] and intervals[0][0] <= intervals[1][1] and intervals[1][0] <= intervals[0][1]:
        return '<span class="tag">not told apart</span>'
    better = (second.value > first.value) == first.headline.higher_is_better
    return f'<span class="tag {"good" if better else "bad"}">right is {"better" if better else "worse"}</span>'


def answers(first: Subject, second: Subject) -> str:
    """The questions that both were asked, with the answers of both after their last tuning."""
    found = [dict(_answers(one)) for one in (first, second)]
    parts = []
    for prompt in (one for one in found[0] if one in found[1]):
        question, left, right = covered([prompt, found[0][prompt], found[1][prompt]], first)
        pair = html.quoted([(of_models.shortened(left), False)], first.name) + html.quoted(
            [(of_models.shortened(right), False)], second.name
        )
        parts.append(f'<div class="question"><p><b>{html.text(question)}</b></p><div class="pair">{pair}</div></div>\n')
    return "".join(parts)


def _answers(subject: Subject) -> Iterator[tuple[str, str]]:
    """(question, answer) of the last model that was asked."""
    asked = [of for _, of in subject.reports() if f"{before_after.TABLE}.parquet" in of.manifest["files"]]
    if asked:
        for row in pl.read_parquet(asked[-1].table(before_after.TABLE)).to_dicts():
            yield row["prompt"] or "", row["after"] or ""
