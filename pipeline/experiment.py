"""Experiments: models of several settings, trained for the same, scored on the same text, compared with intervals.

A cell is the recipe with other values of some keys. Its artifacts are made in the recipe's own store, as any others:
what does not depend on those keys is answered from the store, a cell that was trained is never trained again, and a
training that was stopped resumes from its checkpoint. None of them is put in force (`Store.trial`).

    cells of a grid -> their data -> the same budget for each -> the time, said before anything is trained
                    -> models -> scores on the same held-back documents -> the table, an artifact `experiment_NAME`
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline import openlineage, tracking
from pipeline import recipe as recipes
from pipeline.curation.stages import BLOCKS
from pipeline.errors import UserError
from pipeline.experiments import drawing, finding, mixtures, result, scores
from pipeline.experiments.changes import changed, changes_of
from pipeline.experiments.equalising import budgeted, equalised
from pipeline.experiments.experiment_settings import OF_PRETRAINING, SEEDS, Equal, Experiment, Fit, asset_of
from pipeline.graph import CURATED, Project
from pipeline.printing import duration
from pipeline.recipe import Recipe
from pipeline.run import inputs_in_order
from pipeline.store import leases
from pipeline.store.artifact import Artifact, digest
from pipeline.store.store import NotMade, Store
from pipeline.trained_models import PRETRAINED, pretraining_of
from pipeline.training.planning.plan import ASSET as PLAN
from pipeline.training.planning.plan import Pretraining

SHARDS = "token_shards"
EVERY = {"curation": BLOCKS}  # what `*` stands for in the keys of cells
# Blocks of the recipe that what is made before a training does not read.
AFTER_THE_DATA = {"model", "pretraining", "experiments", "worth", "evaluation", "execution", "trace"}


@dataclass(frozen=True)
class Cell:
    """One model of an experiment."""

    setting: str  # what is compared; cells of one setting differ in their seed alone
    seed: int | None
    recipe: Recipe
    keys: Mapping[str, Any] = field(default_factory=dict)  # what it changes, for the table

    @property
    def name(self) -> str:
        return self.setting if self.seed is None else f"{self.setting}, seed {self.seed}"


@dataclass(frozen=True)
class Comparison:
    """Cells, and what they have in common."""

    name: str  # of the experiment: its artifact is `experiment_NAME`
    reference: Recipe  # whose held-back documents all are scored on, and whose budget all have
    cells: Sequence[Cell]
    equal: Equal = "flops"
    against: str = ""  # the setting that the others are compared with; "": the first
    question: str = ""
    fit: Fit = "nothing"


@dataclass(frozen=True)
class Ready:
    """A cell whose data is made, with its share of the budget."""

    cell: Cell
    project: Project  # of the cell's recipe, in a trial store
    flops: float


def comparison_of(name: str, experiment: Experiment, recipe_file: str | Path | None = None) -> Comparison:
    """The cells of an experiment on a recipe. Raises UserError with the mistakes in either."""
    chosen, text = recipes.read(recipe_file)

    def recipe(blamed: str, *changes: Mapping[str, Any]) -> Recipe:
        def change(content: dict[str, Any]) -> dict[str, Any]:
            for keys in changes:
                content = changed(content, keys, EVERY)
            return content

        return recipes.parse(text, str(chosen), chosen.resolve().parent, change, f"The experiment {name}, {blamed}")

    shared = recipe("`at`", experiment.at)
    cells = []
    for change in changes_of(experiment):
        parsed = recipe(f"cell `{change.setting}`", experiment.at, change.keys)
        cells.append(Cell(change.setting, seed_of(parsed, change.keys), parsed, change.keys))
    check_names(cells, experiment.against)
    about = experiment.equal, experiment.against, experiment.question, experiment.fit
    return Comparison(name, shared, cells, *about)


def seed_of(recipe: Recipe, keys: Mapping[str, Any]) -> int | None:
    """The seed that a cell sets, as its recipe reads it ("0" is 0, and null the recipe's own); None if it sets none."""
    if OF_PRETRAINING in keys and recipe.pretraining.seed is not None:
        return recipe.pretraining.seed
    return recipe.seed if any(key in keys for key in SEEDS) else None


def check_names(cells: Sequence[Cell], against: str) -> None:
    """Raises UserError if two cells have one name, or none is called as `against` says."""
    double = [name for name, times in Counter(cell.name for cell in cells).items() if times > 1]
    if double:
        raise UserError(f"Two cells are called `{double[0]}`: give them different names, values or seeds.")
    known = list(dict.fromkeys(cell.setting for cell in cells))
    if against and against not in known:
        raise UserError(f"`against: {against}` is none of the settings: use one of {'; '.join(known)}.")


def run_named(project: Project, name: str, recipe_file: str | Path | None = None, anyhow: bool = False) -> Artifact:
    """The result of an experiment by its name or file, made if it is not up to date; see `run`."""
    found, experiment = finding.named(name, project.recipe.experiments)
    return run(project, comparison_of(found, experiment, recipe_file), anyhow)


def run_asset(project: Project, asset: str) -> Artifact:
    """The same by the asset of an experiment that the recipe names."""
    (name,) = [name for name in project.recipe.experiments if asset_of(name) == asset]
    return run_named(project, name)


def run(project: Project, comparison: Comparison, anyhow: bool = False) -> Artifact:
    """The artifact `experiment_NAME` of a comparison: what is missing of it is made, which may take long.

    anyhow: however long. Raises UserError if it would take longer than `execution.max_hours`, or nothing is pretrained;
    Stopped if a stop was requested: the same call resumes where it stopped.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise UserError("An experiment trains its cells one after another in one process: leave SLM_PROCESSES out.")
    text, ready = prepared(project, comparison)
    refuse_too_long(project, comparison.name, ready, anyhow)
    data = dict.fromkeys(
        directory for one in (text, *(each.project.store for each in ready)) for directory in tried(one)
    )
    with ExitStack() as read:  # what is pruned meanwhile is nothing that is needed further on
        read.enter_context(leases.held(data))
        scored = []
        for number, one in enumerate(ready, start=1):
            scored.append(scored_cell(project, comparison, text, one, f"{number} of {len(ready)}", read))
        asked = result.Asked(comparison.name, comparison.question, comparison.against, comparison.fit)
        made = result.make(project.store, asked, scored, project.log)
    if made.made:
        openlineage.record(project.store, made, project.log)
        track(project, comparison.name, made)
    return made


def tried(store: Store) -> list[Path]:
    """The folders of what a trial store has made so far."""
    return [store.require(asset).directory for asset in store.tried or ()]


def scored_cell(
    project: Project, comparison: Comparison, text: Store, one: Ready, number: str, read: ExitStack
) -> result.Scored:
    """A cell, trained and scored, or from the store. text: the store of the reference; read: holds its scores."""
    if not trained(one):
        project.log(f"cell {number}: {one.cell.name}")
    model = one.project.make(PRETRAINED)
    if model.made:
        openlineage.record(one.project.store, model, project.log)
    chosen = comparison.reference.evaluation
    found = scores.make(
        one.project.context, model, text.require(SHARDS), text.require(CURATED),
        chosen.validation_tokens, chosen.batch_tokens,
    )  # fmt: skip
    read.enter_context(leases.held([found.directory]))
    bits = found.facts["all"]["bits_per_byte"]
    state = f"trained in {duration(model.manifest['seconds']['total'])}" if model.made else "from the store"
    project.log(f"cell {number}: {one.cell.name}: {bits:.4f} bits per byte ({state})")
    shards = one.project.store.require(SHARDS)
    feed = pretraining_of(one.project.recipe).for_shards(shards).feed
    shares = {lang: round(share, 6) for lang, share in mixtures.shares(shards, feed).items()}
    cell = one.cell
    return result.Scored(
        cell.setting, cell.seed, dict(cell.keys), one.flops, shares, dict(feed.language_weights), found
    )


def prepared(project: Project, comparison: Comparison) -> tuple[Store, list[Ready]]:
    """All cells with everything that comes before their training, made or from the store, and their budget.

    The store that is returned with them is that of the reference, with the text to score them on. Raises UserError if
    a recipe of theirs pretrains nothing, or holds back less text than the reference does, or nothing.
    """
    from tqdm import tqdm

    if comparison.reference.base is not None:
        raise UserError("An experiment compares pretrained models, and this recipe starts from a downloaded one.")
    made: dict[str, dict[str, str]] = {}
    base = with_data(project, comparison.reference, made)
    of_base = base.store.require(SHARDS), base.store.require("tokenizer")
    scores.check_held_back(of_base[0], project.log)
    budget = budgeted(pretraining_of(comparison.reference), *of_base)
    ready = []
    project.log(f"{comparison.name}: planning {count_of(comparison.cells)}; a step of each new shape is measured")
    for cell in tqdm(comparison.cells, "planning", unit="cell", leave=False, disable=None):
        if cell.recipe.shards.validation < comparison.reference.shards.validation:
            raise UserError(
                f"The cell `{cell.name}` would train on documents that all are scored on: leave `shards.validation` out"
                " of the grid, or put it under `at`."
            )
        if not cell.recipe.model.causal:
            raise UserError(scores.NOT_CAUSAL)
        opened = with_data(project, cell.recipe, made)
        text = opened.store.require(SHARDS), opened.store.require("tokenizer")
        settings = equalised(pretraining_of(cell.recipe), *text, budget, comparison.equal)
        flops = budgeted(settings, *text).flops
        opened = replace(
            opened,
            recipe=to_train(cell.recipe, settings),
            experiment=comparison.name,
            cell=cell.name,
        )
        replace(opened, log=lambda line: None).make(PLAN)
        ready.append(Ready(cell, opened, flops))
    return base.store, ready


def with_data(project: Project, recipe: Recipe, made: dict[str, dict[str, str]]) -> Project:
    """A recipe in a trial store in which its token shards, and all before them, are made.

    made: what was made so, by the digest of what it depends on; this adds to it.
    """
    store = project.store.trial()
    opened = replace(project, recipe=recipe, store=store, log=only_new(project))
    key = digest(recipe.model_dump(mode="json", exclude=AFTER_THE_DATA))
    if key in made:
        store.tried = dict(made[key])
        return opened
    for name in inputs_in_order(opened.nodes, SHARDS):
        artifact = opened.make(name)
        if artifact.made:
            openlineage.record(store, artifact, project.log)
    made[key] = dict(store.tried or {})
    return opened


def to_train(recipe: Recipe, settings: Pretraining) -> Recipe:
    """The recipe with the settings at which it spends its budget.

    It has no limit of hours of its own: the experiment is held against it as a whole.
    """
    execution = recipe.execution.model_copy(update={"max_hours": 0.0})
    return recipe.model_copy(
        update={"model": settings.model, "pretraining": settings.pretraining, "execution": execution}
    )


def only_new(project: Project) -> Any:
    """The project's log without the lines about what is up to date, of which every cell has a dozen."""

    def log(line: str) -> None:
        if "up to date" not in line:
            project.log(line)

    return log


def refuse_too_long(project: Project, name: str, ready: Sequence[Ready], anyhow: bool) -> None:
    """Say what is to be trained and how long that takes here. Raises UserError above `execution.max_hours`."""
    open_cells = [one for one in ready if not trained(one)]
    seconds = [one.project.store.require(PLAN).manifest["seconds"].get("planned_training") for one in open_cells]
    known = [each for each in seconds if each is not None]
    time = f"about {duration(sum(known))} here" if len(known) == len(seconds) else "a time that is not known here"
    done = f", {len(ready) - len(open_cells)} of them trained already" if len(open_cells) < len(ready) else ""
    flops = sum(one.flops for one in open_cells)
    project.log(
        f"{name}: {count_of(ready)}{done}" + (f"; training takes {flops:.3g} FLOPs, {time}" if open_cells else "")
    )
    most = project.recipe.execution.max_hours
    if most and not anyhow and sum(known) > 3600 * most:
        raise UserError(
            f"The experiment `{name}` would take {duration(sum(known))} for {count_of(open_cells)}, and"
            f" `execution.max_hours` allows {duration(3600 * most)}: give its grid fewer values, train less"
            " (`at: {pretraining.tokens: ...}`, a smaller `at: {model: ...}`), raise `execution.max_hours` (0: any), or"
            " start it with `slm experiment --yes`."
        )


def count_of(cells: Sequence[Any]) -> str:
    return f"{len(cells)} cell{'s' if len(cells) != 1 else ''}"


def trained(one: Ready) -> bool:
    """Whether the store has the model of a cell."""
    try:
        replace(one.project, store=one.project.store.answering(), log=lambda line: None).make(PRETRAINED)
    except NotMade:
        return False
    return True


def track(project: Project, name: str, made: Artifact) -> None:
    """One run in MLflow with the experiment's table and picture, beside the runs of its cells."""
    tags = {
        tracking.RECIPE: project.recipe.name,
        tracking.FINGERPRINT: made.manifest["fingerprint"],
        tracking.EXPERIMENT_OF: name,
    }
    with tracking.run("experiment", f"{name} · all cells", tags, {"against": made.facts["against"]}) as run:
        rows = result.settings_of(made)
        run.metrics({"bits_per_byte": min(row["mean"] for row in rows)}, step=0)
        run.text("\n".join(result.lines(made)) + "\n", "result.txt")
        run.figure(drawing.drawn(made), "result.png")
        run.figure(drawing.drawn_by_layer(made), "layers.png")
        law = drawing.drawn_law(made)
        if law is not None:
            run.figure(law, "law.png")
        for table in made.fragments:
            run.artifact(made.table(table))


def known_results(store: Store) -> dict[str, Artifact]:
    """The results in force, by the name of their experiment."""
    assets = [asset for asset in store.assets() if asset.startswith(asset_of(""))]
    found = [store.require(asset) for asset in assets if asset != scores.ASSET]
    return {made.manifest["made_of"]["settings"]["name"]: made for made in found}
