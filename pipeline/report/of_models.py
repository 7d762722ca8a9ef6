"""The report's sections on tokens and models: lengths, the plan and what came of it, curves, figures and answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from pipeline.evaluation.figures import HeadlineFigure, headline_figures
from pipeline.evaluation.leaderboard_tables import TABLE as STANDINGS
from pipeline.evaluation.measures import before_after
from pipeline.evaluation.report import read
from pipeline.inspect.curves import VALIDATION
from pipeline.inspect.in_short import figure
from pipeline.inspect.tuning import LANGUAGES, in_full
from pipeline.intervals import wilson
from pipeline.printing import duration
from pipeline.report import drawings, html
from pipeline.report.html import Column
from pipeline.report.passages import covered
from pipeline.report.subject import Subject
from pipeline.store.artifact import Artifact
from pipeline.trained_models import BY_NAME
from pipeline.training.model_facts import ModelFacts

FRAGMENTS = 8  # of token shards, whose lengths are drawn
SAMPLES = 3
ANSWER = 600  # characters of an answer
OFTEN = 1.1  # times what was planned, above which the page marks a figure


# -- tokens ------------------------------------------------------------------------------------------------------------


def tokens(subject: Subject) -> str:
    """How many tokens there are, how well the tokenizer packs each language, and how long documents are."""
    shards, tokenizer = subject.get("token_shards"), subject.get("tokenizer")
    parts = []
    if shards is not None:
        by_split = shards.facts.get("tokens", {})
        words = ", ".join(f"{figure(number)} to {_use(split)}" for split, number in by_split.items())
        parts.append(f"<p>{html.text(words)}.</p>")
    if tokenizer is not None:
        languages = tokenizer.facts.get("report", {}).get("languages", {})
        rows = [
            {"language": LANGUAGES.get(name, name), "bytes": found["bytes_per_token"], "documents": found["documents"]}
            for name, found in languages.items()
        ]
        columns = [
            Column("language", "language"), Column("bytes", "bytes per token", "number"),
            Column("documents", "documents measured", "number"),
        ]  # fmt: skip
        parts.append(html.table(rows, columns))
    if shards is not None:
        parts.append(lengths(subject, shards))
    return "".join(parts)


def _use(split: str) -> str:
    return {"train": "train on", "validation": "measure on"}.get(split, split)


def lengths_of(shards: Artifact) -> pl.Series:
    """The number of tokens of each document, of the first fragments."""
    tables = [pl.read_parquet(shards.table(name), columns=["tokens"]) for name in shards.fragments[:FRAGMENTS]]
    if not tables:
        return pl.Series([], dtype=pl.UInt32)
    return pl.concat(tables)["tokens"].list.len()


def lengths(subject: Subject, shards: Artifact) -> str:
    """The histogram of lengths, and how much of the text is in documents longer than the context."""
    found = lengths_of(shards)
    if not len(found):
        return ""
    context = context_of(subject)
    svg = drawings.histogram({"documents": found}, [context] if context else [], "tokens of a document", True)
    counts = found.to_numpy()
    caption = f"median {float(np.median(counts)):,.0f}, longest {int(counts.max()):,}"
    if context:
        over = int(found.filter(found > context).sum() or 0) / max(int(found.sum()), 1)
        caption += f"; the dashed line is the context of {context:,}, beyond which {html.share(over)} of the tokens lie"
    return f'<div class="charts">{html.figure(svg, "tokens of a document", caption)}</div>'


def context_of(subject: Subject) -> int:
    """The context of the pretrained model; 0 if there is none."""
    model = subject.get("pretrained_model")
    settings = model.manifest["made_of"]["settings"] if model is not None else {}
    return int(settings.get("model", {}).get("context", 0))


# -- training ----------------------------------------------------------------------------------------------------------


def planned(subject: Subject) -> str:
    """The plan of pretraining beside what happened."""
    plan, model = subject.get("training_plan"), subject.get("pretrained_model")
    if plan is None or model is None:
        return ""
    columns = [
        Column("what", ""), Column("plan", "planned", "number"), Column("happened", "happened", "number"),
        Column("note", "", "words"),
    ]  # fmt: skip
    return html.table(list(_plan_rows(subject, plan, model)), columns)


def _plan_rows(subject: Subject, plan: Artifact, model: Artifact) -> Iterator[dict[str, Any]]:
    facts, known = plan.facts, ModelFacts.of(model)
    measured = {"parameters": known.parameters, "tokens": known.tokens, "steps": known.steps}
    for name, value in measured.items():
        said = facts.get(name)
        note = "" if said is None or said == value else "ended early" if value < said else "more than planned"
        yield {"what": name, "plan": figure(said) if said is not None else "", "happened": figure(value), "note": note}
    yield {
        "what": "passes over the text", "plan": f"{facts.get('epochs') or 0:.2f}", "happened": f"{known.epochs:.2f}",
    }  # fmt: skip
    yield {
        "what": "learning rate", "plan": f"{facts.get('learning_rate') or 0:.3g}",
        "happened": f"{known.learning_rate:.3g}",
    }  # fmt: skip
    expected, reached = facts.get("expected_loss"), validation_loss(model)
    if expected and reached:
        yield {"what": "loss", "plan": f"{expected:.3f}", "happened": f"{reached:.3f}"}
    if subject.times:
        yield from _time_rows(plan, model)


def _time_rows(plan: Artifact, model: Artifact) -> Iterator[dict[str, Any]]:
    seconds = model.manifest["seconds"]
    said, took = plan.manifest["seconds"].get("planned_training"), seconds.get("training")
    if said and took:
        longer = took / said
        note = f"{longer:.1f} times the plan" if longer > OFTEN or longer < 1 / OFTEN else "as planned"
        yield {"what": "time of training", "plan": duration(said), "happened": duration(took), "note": note}
    total, peak = plan.facts.get("memory_mib", {}).get("total"), model.facts.get("memory_bytes")
    if total and peak:
        yield {"what": "memory", "plan": f"{total:,} MiB", "happened": f"{peak / 2**20:,.0f} MiB"}
    if seconds.get("tokens_per_second"):
        yield {"what": "tokens a second", "plan": "", "happened": figure(seconds["tokens_per_second"])}


def log_of(model: Artifact) -> pl.DataFrame | None:
    """The log of a training; None if the model has none."""
    if "log.parquet" not in model.manifest["files"]:
        return None
    return pl.read_parquet(model.file("log.parquet"))


def validation_loss(model: Artifact) -> float | None:
    """The last loss on the text held back."""
    log = log_of(model)
    name = next((name for name in VALIDATION if log is not None and name in log.columns), None)
    if log is None or name is None:
        return None
    values = log[name].drop_nulls()
    return float(values[-1]) if len(values) else None


def curve_of(log: pl.DataFrame, name: str, words: str, marked: bool) -> tuple[str, pl.Series, pl.Series, bool]:
    """A line of `drawings.curves`: a figure of a log over tokens."""
    rows = log.drop_nulls(name)
    return words, rows["tokens" if "tokens" in log.columns else "step"], rows[name], marked


def curves(subject: Subject) -> str:
    """The losses of every training."""
    figures = []
    for kind, model in subject.models():
        log = log_of(model)
        if log is None or "loss" not in log.columns:
            continue
        lines = [curve_of(log, "loss", "training", False)]
        lines += [curve_of(log, name, "held back", True) for name in VALIDATION if name in log.columns][:1]
        across = "tokens" if "tokens" in log.columns else "step"
        svg = drawings.curves(lines, across, "loss", f"loss of the {kind.adjective} model")
        said = f"{figure(ModelFacts.of(model).parameters)} parameters, {figure(ModelFacts.of(model).tokens)} tokens"
        figures.append(html.figure(svg, f"{kind.adjective} model", said))
    return f'<div class="charts large">{"".join(figures)}</div>' if figures else ""


# -- what the models reach ---------------------------------------------------------------------------------------------


def standings(subject: Subject) -> dict[tuple[str, str], tuple[float, float]]:
    """(figure, model as asset/version) -> interval, from the leaderboard."""
    board = subject.get("leaderboard")
    if board is None or f"{STANDINGS}.parquet" not in board.manifest["files"]:
        return {}
    rows = pl.read_parquet(board.table(STANDINGS)).drop_nulls(["low", "high"])
    return {
        (name, model): (low, high)
        for name, model, low, high in rows.select("figure", "model", "low", "high").iter_rows()
    }


def reached(subject: Subject) -> str:
    """The headline figures of all models side by side, with intervals where the number of questions is known."""
    headings, rows = figures_of(subject)
    if not rows:
        return ""
    columns = [Column("figure", ""), *(Column(name, name, "html") for name in headings)]
    note = (
        '<p class="note">Small figures: the 95 % interval, from the number of questions. Bits per byte and perplexity:'
        " lower is better.</p>"
    )
    return html.table(rows, columns) + note


def figures_of(subject: Subject) -> tuple[list[str], list[dict[str, str]]]:
    """The names of the models, and a row of HTML cells for each figure."""
    known = standings(subject)
    headings: list[str] = []
    cells: dict[str, dict[str, str]] = {}
    for kind, report in subject.reports():
        headings.append(kind.adjective)
        for one in headline_figures(read(report), subject.measures):
            if not one.headline.card_only or one.headline.words:
                row = cells.setdefault(in_full(one.words), {"figure": in_full(one.words)})
                row[kind.adjective] = cell(one, known, subject.get(kind.name))
    return headings, list(cells.values())


def cell(one: HeadlineFigure, known: dict[tuple[str, str], tuple[float, float]], model: Artifact | None) -> str:
    """A figure with its interval."""
    name = f"{model.asset}/{model.version[:8]}" if model is not None else ""
    interval = known.get((one.name, name)) or interval_of(one)
    shown = f"{one.value:.3f}"
    if interval is not None:
        shown += f'<br><span class="soft">{interval[0]:.2f} to {interval[1]:.2f}</span>'
    return shown


def interval_of(one: HeadlineFigure) -> tuple[float, float] | None:
    """The interval of a share of questions whose number is part of its words; None for other figures."""
    if "{count}" not in one.headline.words or not 0 <= one.value <= 1:
        return None
    digits = [part for part in one.words.replace("(", " ").split() if part.isdigit()]
    return wilson(one.value, int(digits[-1])) if digits and int(digits[-1]) else None


# -- what they say -----------------------------------------------------------------------------------------------------


def answers(subject: Subject) -> str:
    """Five questions that were not trained on, with the answers before the first tuning and after the last one."""
    tables = [
        (kind, pl.read_parquet(report.table(before_after.TABLE)))
        for kind, report in subject.reports()
        if f"{before_after.TABLE}.parquet" in report.manifest["files"]
    ]
    if not tables:
        return ""
    (first, start), (last, end) = tables[0], tables[-1]
    before = {row["prompt"]: row for row in start.to_dicts()}
    rows = [(before[row["prompt"]], row) for row in end.to_dicts() if row["prompt"] in before]
    said = [text or "" for was, now in rows for text in (now["prompt"], was["before"], now["after"])]
    texts = covered(said, subject)
    named = BY_NAME[first.base].adjective if first.base in BY_NAME else "earlier"
    parts = [f"<p>Questions that no model was trained on. Before: the {html.text(named)} model."
             f" After: the {html.text(last.adjective)} one.</p>"]  # fmt: skip
    for number, (was, now) in enumerate(rows):
        prompt, earlier, later = texts[3 * number : 3 * number + 3]
        pair = html.quoted([(shortened(earlier), False)], "before")
        pair += html.quoted([(shortened(later), False)], "after", "kept")
        head = f"<p><b>{html.text(prompt)}</b> {change(was['before_score'], now['after_score'])}</p>"
        parts.append(f'<div class="question">{head}<div class="pair">{pair}</div></div>\n')
    return "".join(parts)


def change(before: float, after: float) -> str:
    """Whether an answer came closer to the reference, as a tag (chrF, 0-100)."""
    if abs(after - before) <= before_after.MARGIN:
        return f'<span class="tag">{before_after.SAME}</span>'
    kind, word = ("good", before_after.BETTER) if after > before else ("bad", before_after.WORSE)
    return f'<span class="tag {kind}">{word}</span>'


def samples(subject: Subject) -> str:
    """What the first model makes of the beginning of a text."""
    for kind, report in subject.reports():
        if "samples.parquet" not in report.manifest["files"]:
            continue
        rows = pl.read_parquet(report.file("samples.parquet"))
        rows = rows.with_columns(turn=pl.int_range(pl.len()).over("kind", "lang"))
        shown = rows.filter(kind="sampled").sort("turn", maintain_order=True).head(SAMPLES).to_dicts()
        texts = covered([row[name] or "" for row in shown for name in ("prompt", "output")], subject)
        quotes = [
            html.quoted(
                [(texts[2 * number], True), (shortened(texts[2 * number + 1]), False)],
                "marked: what it was given; then: what it made up",
            )
            for number, row in enumerate(shown)
        ]
        return (f"<h3>The {kind.adjective} model continues a text</h3>" + "".join(quotes)) if quotes else ""
    return ""


def shortened(text: str) -> str:
    return (text.strip() or "(nothing)") if len(text) <= ANSWER else text[: ANSWER - 1].strip() + "…"
