"""Group `evaluation`: figures and samples of each model, compared with its previous evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from dagster import MetadataValue, TableMetadataValue

from assets import checks, display
from assets.asset import AssetDescription, Check
from pipeline import tracking
from pipeline.evaluation import leaderboard_tables, report
from pipeline.evaluation.measure import Measure
from pipeline.evaluation.tasks import covered_questions, task_items
from pipeline.evaluation.toxicity import classifier
from pipeline.evaluation.village_goals import GOALS, Goal, outcomes
from pipeline.graph import Project, asked
from pipeline.inspect import standings, task_pictures, village_pictures
from pipeline.recipe import Recipe
from pipeline.store.artifact import Artifact
from pipeline.trained_models import TrainedModel, models_of

MOST_FIGURES = 200
MOST_ROWS = 20  # shown of a measure's table
# Titles of tables that are not shown under their own name.
TITLES = {
    "covered_items": "evaluation items in the training text",
    "before_after": "sample answers, before and after",  # a name in `sample` stands near the head of the page
}
KINDS = ("answer", "story", "sampled", "greedy")  # of samples, what a person wants to read first
OF_A_KIND = 3


def show_report(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """The figures compared with those of the previous evaluation, samples, tables, and the link to the MLflow run."""
    now = report.figures_of(artifact)
    before = previous_figures(project, artifact)
    rows = [
        {
            "figure": name,
            "value": value,
            "before": before.get(name),
            "change": value - before[name] if name in before else None,
        }
        for name, value in list(now.items())[:MOST_FIGURES]
    ]
    shown: dict[str, Any] = {"figures": display.table(rows, ("figure", "value", "before", "change"))}
    if "samples.parquet" in artifact.manifest["files"]:
        shown["samples"] = samples(pl.read_parquet(artifact.file("samples.parquet")))
    known = village_pictures.facts_known(artifact)
    if known is not None:
        shown["facts of the village"] = display.picture(known)
    over_tokens = task_pictures.curves(artifact)
    if over_tokens is not None:
        shown["tasks over training"] = display.picture(over_tokens)
    for name in artifact.fragments:
        if name not in ("samples", "comparison"):
            rows = pl.read_parquet(artifact.table(name), n_rows=MOST_ROWS).to_dicts()
            if rows:
                shown[TITLES.get(name, name.replace("_", " "))] = display.table(rows)
    run = tracking.find(artifact.manifest["fingerprint"])
    if run:
        shown["MLflow run"] = MetadataValue.url(tracking.link(run))
    return shown


def samples(generated: pl.DataFrame) -> TableMetadataValue:
    """A few texts of each kind that a model generated, the text first."""
    order = pl.col("kind").replace_strict({kind: place for place, kind in enumerate(KINDS)}, default=len(KINDS))
    chosen = generated.group_by("kind", maintain_order=True).head(OF_A_KIND).sort(order, maintain_order=True)
    rows = chosen.select("prompt", "output", "reference", "kind", "lang").fill_null("").to_dicts()
    return display.table([{name: display.excerpt(value, 400) for name, value in row.items()} for row in rows])


def previous_figures(project: Project, artifact: Artifact) -> dict[str, float]:
    """The figures of the newest other version of this evaluation; empty if there is none."""
    others = [other for other in project.store.versions(artifact.asset) if other.version != artifact.version]
    others = [other for other in others if "report.json" in other.manifest["files"]]
    by_time = [(other.file("manifest.json").stat().st_mtime, other) for other in others]
    return report.figures_of(max(by_time, key=lambda pair: pair[0])[1]) if by_time else {}


def goal_check(model: TrainedModel, goal: Goal) -> Check:
    """A warning if a figure of the demonstration is not what it has to be."""

    def test(project: Project, artifact: Artifact) -> tuple[str, Mapping[str, Any]]:
        (found,) = [one for one in outcomes(model.short, report.read(artifact)) if one.goal == goal]
        if found.value is None:
            return f"the report has no `{goal.figure}`", {}
        problem = "" if found.reached else f"{goal.words}: {found.value:.1%}; it should be {goal.bound}"
        return problem, {"figure": found.value, "limit": goal.limit}

    return Check(f"village_{goal.name}", f"{goal.words}: {goal.bound}", test, blocking=False)


def evaluation(model: TrainedModel, measures: Sequence[Measure[Any]], village: bool) -> AssetDescription:
    """The asset of a trained model's evaluation. village: whether it has the goals of the demonstration."""
    goals = GOALS.get(model.short, ()) if village else ()
    return AssetDescription(
        name=model.evaluation,
        description=(
            f"The evaluation of the {model.adjective} model, compared with the previous one: "
            f"{'; '.join(measure.description for measure in measures)}."
        ),
        kinds=("python", "pytorch", "mlflow"),
        version=report.VERSION,
        made_by=report.make,
        show=show_report,
        checks=(checks.NUMBERS, *(goal_check(model, goal) for goal in goals)),
        settings="evaluation",
        on_device=True,
        measures=model.name,
    )


def show_questions(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """The first questions of each task."""
    rows = pl.read_parquet(artifact.table(task_items.QUESTIONS)).group_by("task", maintain_order=True).head(3)
    shown = rows.with_columns(pl.col("prompt").str.slice(0, 400), pl.col("choices").list.join(" | ")).to_dicts()
    return {"questions": display.table(shown)}


TASKS = AssetDescription(
    name=task_items.ASSET,
    description="The questions and programming problems that the recipe names, in one shape.",
    kinds=("python", "polars", "parquet"),
    version=task_items.VERSION,
    made_by=task_items.make,
    show=show_questions,
    checks=(checks.NOT_EMPTY,),
)


def show_covered(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """How many questions of each set the texts hold, and some of them."""
    rows = [{"set": name, **counts} for name, counts in artifact.facts["sets"].items()]
    return {"questions in the training text": display.table(rows)}


COVERED = AssetDescription(
    name=covered_questions.ASSET,
    description="Which questions and problems are in the text that the models learn from, whatever was cut before.",
    kinds=("python", "numpy", "parquet"),
    version=covered_questions.VERSION,
    made_by=covered_questions.make,
    show=show_covered,
    checks=(checks.FILES_COMPLETE,),
)


CLASSIFIER = AssetDescription(
    name=classifier.ASSET,
    description="A classifier of toxic Korean, taught on labelled sets that the recipe names, and what it is worth.",
    kinds=("python", "fasttext"),
    version=classifier.VERSION,
    made_by=classifier.make,
    show=lambda project, artifact: display.of_facts(artifact),
    checks=(checks.FILES_COMPLETE,),
)


def show_leaderboard(project: Project, artifact: Artifact) -> Mapping[str, Any]:
    """Every figure of every model in words, the best first, and the same drawn with intervals."""
    shown: dict[str, Any] = {
        display.SHORT: MetadataValue.text(standings.in_words(artifact)),
        "models by figure": display.table(standings.rows(artifact, MOST_FIGURES)),
    }
    drawn = standings.drawn(artifact)
    if drawn is not None:
        shown["figures drawn"] = display.picture(drawn)
    return {**shown, "as Markdown": MetadataValue.md(artifact.file("leaderboard.md").read_text(encoding="utf-8"))}


LEADERBOARD = AssetDescription(
    name=leaderboard_tables.ASSET,
    description="All models of the store by every measure, with intervals, and which of them the figures tell apart.",
    kinds=("python", "polars", "markdown"),
    version=leaderboard_tables.VERSION,
    made_by=leaderboard_tables.make,
    show=show_leaderboard,
    checks=(checks.FILES_COMPLETE,),
)


def described(recipe: Recipe) -> list[AssetDescription]:
    measures = recipe.evaluation.measures()
    village = recipe.evaluation.village is not None
    tasks = [TASKS, COVERED] if asked(recipe).sets else []
    tasks += [CLASSIFIER] if recipe.evaluation.toxicity is not None else []
    return [*tasks, *(evaluation(model, measures, village) for model in models_of(recipe)), LEADERBOARD]
