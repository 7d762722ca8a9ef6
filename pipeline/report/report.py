"""`report`: the page that tells what went in, what was removed, and what came out, for people without this project.

The page of the artifact is a function of the artifacts that it shows: nothing of the moment, of the machine or of the
time that things took is in it. `slm report` writes the same page with times and with what is out of date now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.files import write_whole
from pipeline.context import Inputs, RunContext
from pipeline.documents.stage import Stage
from pipeline.evaluation.measure import Measure
from pipeline.inspect.in_short import figure
from pipeline.report import html, lineage_drawing, of_documents, of_models
from pipeline.report.html import Column
from pipeline.report.subject import Subject
from pipeline.settings import StageSettings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.training.model_facts import ModelFacts

VERSION = "2"
ASSET = "report"
FILE = "report.html"


@dataclass(frozen=True)
class Shown:
    """What the page is made by: the assets to show, the stages of curation with their settings, and the measures."""

    made_of: Mapping[str, Sequence[str]]  # asset -> what it is made of
    stages: Sequence[tuple[Stage, StageSettings]]
    measures: Sequence[Measure[Any]]


def make(context: RunContext, inputs: Inputs, settings: Shown) -> Artifact:
    """The artifact `report`, of what is in force of all assets in `settings`. inputs: some of these, by asset."""
    recipe = context.store.recipe
    in_force = {name: inputs.get(name) or context.store.current(name) for name in settings.made_of}
    shown = {name: artifact for name, artifact in in_force.items() if artifact is not None}
    subject = Subject(recipe, shown, settings.stages, settings.measures, settings.made_of)
    # The page names versions; a version is made by limits, too, which may change and leave every table as it is.
    versions = {name: artifact.version for name, artifact in shown.items()}

    def build(draft: Draft) -> None:
        write_whole(draft.path(FILE), written(subject))
        draft.counts = {"artifacts": len(shown)}

    measures = [measure.name for measure in settings.measures]
    return context.store.make(
        ASSET, code_version=VERSION, settings={"recipe": recipe, "versions": versions, "measures": measures},
        inputs=dict(shown), build=build, log=context.log,
    )  # fmt: skip


def written(subject: Subject, out_of_date: Mapping[str, Sequence[str]] | None = None) -> str:
    """The page. out_of_date: asset -> why it is out of date now, in sentences; None: not asked."""
    sections = [
        html.section("sources", "What went in", of_documents.went_in(subject)),
        html.section("removed", "What was removed", of_documents.overview(subject), of_documents.stages(subject)),
        html.section("tokens", "Tokens", of_models.tokens(subject)),
        html.section("plan", "The plan and what came of it", of_models.planned(subject)),
        html.section("training", "Training", of_models.curves(subject)),
        html.section("figures", "What the models reach", of_models.reached(subject)),
        html.section("answers", "What they say", of_models.answers(subject), of_models.samples(subject)),
        html.section("lineage", "What is made from what", lineage_drawing.drawing(subject)),
        html.section("state", "What is out of date", state(out_of_date)),
        html.section("versions", "Versions", every_version(subject)),
    ]
    return html.page(f"{subject.name}: from text to a model", lead(subject), sections)


def lead(subject: Subject) -> str:
    """The large figures at the head of the page, and a sentence of the last model."""
    figures = []
    text, shards = subject.get("curated_documents"), subject.get("token_shards")
    raw = subject.get("raw_documents")
    if raw is not None and text is not None:
        figures.append((figure(text.counts["kept"]), f"documents kept of {figure(raw.counts['kept'])} read"))
    if shards is not None:
        figures.append((figure(shards.facts.get("tokens", {}).get("train", 0)), "tokens to train on"))
    models = list(subject.models())
    if models:
        kind, model = models[-1]
        figures.append((figure(ModelFacts.of(model).parameters), f"parameters of the {kind.adjective} model"))
    reports = {kind.name: report for kind, report in subject.reports()}
    measured = reports.get("pretrained_model")
    if measured is not None and isinstance(measured.facts.get("bits_per_byte"), float):
        figures.append((f"{measured.facts['bits_per_byte']:.3f}", "bits per byte of text held back"))
    return html.cards(figures)


def state(out_of_date: Mapping[str, Sequence[str]] | None) -> str:
    """What is out of date now and why."""
    if out_of_date is None:
        return ""
    if not out_of_date:
        return "<p>Nothing: every artifact is what the recipe would make now.</p>"
    rows = [
        {"asset": name, "why": "<br>".join(html.text(line) for line in lines)} for name, lines in out_of_date.items()
    ]
    return html.table(rows, [Column("asset", "artifact"), Column("why", "why", "html")])


def every_version(subject: Subject) -> str:
    """Every artifact with its version, for whoever wants to find it again."""
    rows = [
        {"asset": name, "version": artifact.version, "code": artifact.manifest["made_of"]["code_version"]}
        for name, artifact in subject.artifacts.items()
    ]
    columns = [Column("asset", "artifact"), Column("version", "version"), Column("code", "code version")]
    return html.table(rows, columns)
