"""The made-up village in `slm summary`: what was planted and found, the goals, a story in each language, answers.

Every function returns a part of the summary as text, empty if there is nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipeline.evaluation import village_goals
from pipeline.evaluation.measures import village_answers
from pipeline.evaluation.report import read
from pipeline.inspect.planted import Findings, of_store
from pipeline.printing import aligned, wrapped
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.trained_models import EVALUATIONS, TRAINED_MODELS

COLUMNS = 116  # of a line of a story
NAMED = 3  # ids of documents that a line names
ASKED = (("phrasing", "ko"), ("person", "en"), ("unknown_person", "en"))  # the questions that are shown


def planted(store: Store, stages: Sequence[str], sources: Sequence[str]) -> str:
    """What the stages found of what the generated sources planted, and what they wrongly took."""
    findings = of_store(store, stages, sources)
    if not findings.kinds:
        return ""
    return f"{planted_table(findings)}\n{wrongly_taken(findings)}"


def planted_table(findings: Findings) -> str:
    """A line for each kind of planted thing: by which stage it is to be found, planted, found, missed."""
    rows = []
    for one in findings.kinds:
        earlier = f"{one.removed_before:,}" if one.removed_before else ""
        by = " or ".join(stage.rpartition("_")[0] for stage in one.stages)
        missed = f"{len(one.missed):,}: {', '.join(one.missed[:NAMED])}" if one.missed else ""
        rows.append([one.kind.replace("_", " "), by, f"{one.planted:,}", f"{one.found:,}", earlier, missed])
    return aligned(["planted in the village", "for", "planted", "found", "gone before", "missed"], rows)


def wrongly_taken(findings: Findings) -> str:
    """A sentence on the documents in which a stage found what was not planted."""
    taken = {stage: ids for stage, ids in findings.wrongly_taken.items() if ids}
    if not taken:
        return "wrongly taken: none"
    parts = [
        f"{stage.rpartition('_')[0]} {len(ids):,} ({', '.join(ids[:NAMED])}{', …' if len(ids) > NAMED else ''})"
        for stage, ids in taken.items()
    ]
    return f"wrongly taken: {'; '.join(parts)}"


def reports(store: Store) -> list[tuple[str, Artifact]]:
    """(model, without `_model`; its report) of the reports that ask about the village, the earliest model first."""
    found = [(kind.short, store.current(kind.evaluation)) for kind in TRAINED_MODELS]
    return [(name, report) for name, report in found if report is not None and "village" in read(report)]


def goals(store: Store) -> str:
    """Every goal of the demonstration: a figure a model, and whether it is reached."""
    columns = [(name, village_goals.outcomes(name, read(report))) for name, report in reports(store)]
    if not columns:
        return ""
    rows = []
    for goal in dict.fromkeys(outcome.goal for _, outcomes in columns for outcome in outcomes):
        by_model = {name: {one.goal: one for one in outcomes}.get(goal) for name, outcomes in columns}
        cells = [_cell(by_model[name]) for name, _ in columns]
        rows.append([goal.words, goal.bound, *cells])
    table = aligned(["what it has to show", "goal", *(name for name, _ in columns)], rows)
    missed = sum(not one.reached for _, outcomes in columns for one in outcomes if one.value is not None)
    return f"{table}\n✓ shown  ✗ missed" if missed else table


def _cell(outcome: village_goals.Outcome | None) -> str:
    if outcome is None:
        return ""
    if outcome.value is None:
        return "-"
    return f"{outcome.value:.1%} {'✓' if outcome.reached else '✗'}"


def speaks(store: Store) -> str:
    """A story in each language by the first model, and three questions with their answers by the last one."""
    made = reports(store)
    if not made:
        return ""
    parts = [stories(made[0][1])]
    asked = [report for name, report in made if f"{village_answers.TABLE}.parquet" in report.manifest["files"]]
    if asked:
        parts.append(questions(asked[-1]))
    return "\n\n".join(part for part in parts if part)


def stories(report: Artifact) -> str:
    """The first story in each language among the samples."""
    told = pl.read_parquet(report.file("samples.parquet")).filter(kind="story")
    texts = told.group_by("lang", maintain_order=True).first().select(pl.col("prompt") + pl.col("output"))
    who = EVALUATIONS[report.asset].adjective
    return "\n\n".join(f"a story by the {who} model (made up):\n{_indented(text)}" for (text,) in texts.iter_rows())


def questions(report: Artifact) -> str:
    """Questions that no conversation asked, with the answers of the model."""
    table = pl.read_parquet(report.file(f"{village_answers.TABLE}.parquet"))
    chosen = [table.filter(kind=kind, lang=lang).head(1) for kind, lang in ASKED]
    who = EVALUATIONS[report.asset].adjective
    lines = [f"questions that it was never asked, answered by the {who} model:"]
    for row in pl.concat(chosen).iter_rows(named=True):
        lines += [f"  {row['prompt']}", f"    {row['output'].strip()}  ({'right' if row['right'] else 'wrong'})"]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"  {part}" for line in text.strip().split("\n") for part in wrapped(line, COLUMNS))
