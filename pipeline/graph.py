"""The graph: every artifact, in order, with what it is made of and the one call that makes it.

Dagster's assets, `slm make` and `slm why` all read this list, so how a thing is made is written once. A new curation
stage that works by fragment is one file of its own, one block in the recipe and one line in `CURATION`
(docs/architecture.md shows it with an example).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.conversations import instruction_data, preference_data
from pipeline.curation import contamination, curated
from pipeline.curation.duplicates import near as duplicates
from pipeline.curation.duplicates import repetition
from pipeline.curation.filters import heuristics, keywords, language, perplexity, quality
from pipeline.curation.personal_data import personal_data
from pipeline.documents.stage import Stage, run_stage
from pipeline.errors import UserError
from pipeline.evaluation import report
from pipeline.ingest import raw_documents
from pipeline.ingest.forgetting import forgotten
from pipeline.inspect import registry
from pipeline.recipe import Recipe, load
from pipeline.store.artifact import Artifact
from pipeline.store.remote import open_store
from pipeline.store.store import NotMade, Store
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizer
from pipeline.training.objectives import fine_tuning, preference, pretraining
from pipeline.training.planning import plan
from pipeline.training.training_settings import PretrainingSettings


@dataclass(frozen=True)
class Project:
    """A recipe and the store that its artifacts lie in."""

    recipe: Recipe
    store: Store
    log: Callable[[str], None] = print
    # How a training run is watched: a call for each report, and a question whether to stop (see training/loop.py).
    progress: Callable[[dict[str, Any]], None] | None = None
    should_stop: Callable[[], bool] | None = None

    @staticmethod
    def open(recipe: str | Path | None = None, log: Callable[[str], None] = print) -> Project:
        """The project that `SLM_RECIPE` and `SLM_DATA` name."""
        settled = load(recipe)
        return Project(settled, open_store(os.environ.get("SLM_DATA") or "data", settled.name), log)

    def __getitem__(self, asset: str) -> Artifact:
        """The artifact in force."""
        return self.store.require(asset)


Wanted = Callable[[Recipe], bool]


def always(recipe: Recipe) -> bool:
    return True


@dataclass(frozen=True)
class Node:
    """An artifact of the graph."""

    group: str
    inputs: tuple[str, ...]
    make: Callable[[Project], Artifact]
    wanted: Wanted = always  # whether the recipe asks for it at all


def by_fragment(stage: Stage, block: str, previous: str) -> Node:
    """The node of a curation stage that works by fragment; `block` names its settings in the recipe."""

    def make(project: Project) -> Artifact:
        return run_stage(
            stage,
            project.store,
            project["raw_documents"],
            None if previous == "raw_documents" else project[previous],
            getattr(project.recipe.curation, block),
            project.recipe.execution,
            models={name: project[name] for name in stage.models},
            log=project.log,
        )

    return Node("curation", tuple(dict.fromkeys(("raw_documents", previous, *stage.models))), make)


def over_all(module: Any, block: str, previous: str, *further: str, by_source: bool = False) -> Node:
    """The node of a curation stage that compares documents across fragments: it has a `make` of its own.

    by_source: of copies, it lets the document of the source stay that the recipe names first.
    """

    def make(project: Project) -> Artifact:
        order = {"sources": [source.name for source in project.recipe.sources]} if by_source else {}
        return module.make(
            project.store,
            project["raw_documents"],
            project[previous],
            getattr(project.recipe.curation, block),
            project.recipe.execution,
            project.log,
            **{name: project[name] for name in further},
            **order,
        )

    return Node("curation", ("raw_documents", previous, *further), make)


def _raw_documents(project: Project) -> Artifact:
    recipe, store = project.recipe, project.store
    return raw_documents.make(store, recipe.sources, project.log, forgotten(store), execution=recipe.execution)


def _perplexity_model(project: Project) -> Artifact:
    recipe = project.recipe
    return perplexity.make_model(
        project.store,
        project["raw_documents"],
        project["heuristic_decisions"],
        recipe.curation.perplexity,
        recipe.sources,
        recipe.execution,
        project.log,
    )


def _quality_model(project: Project) -> Artifact:
    recipe = project.recipe
    return quality.make_model(
        project.store,
        project["raw_documents"],
        project["perplexity_decisions"],
        recipe.curation.quality,
        recipe.sources,
        recipe.execution,
        project.log,
    )


CURATION: dict[str, Node] = {
    "raw_documents": Node("curation", (), _raw_documents),
    "language_decisions": by_fragment(language.STAGE, "language", "raw_documents"),
    "keyword_decisions": by_fragment(keywords.STAGE, "keywords", "language_decisions"),
    "heuristic_decisions": by_fragment(heuristics.STAGE, "heuristics", "keyword_decisions"),
    "perplexity_model": Node("curation", ("raw_documents", "heuristic_decisions"), _perplexity_model),
    "perplexity_decisions": by_fragment(perplexity.STAGE, "perplexity", "heuristic_decisions"),
    "quality_model": Node("curation", ("raw_documents", "perplexity_decisions"), _quality_model),
    "quality_decisions": by_fragment(quality.STAGE, "quality", "perplexity_decisions"),
    "duplicate_decisions": over_all(duplicates, "duplicates", "quality_decisions", by_source=True),
    "repetition_edits": over_all(repetition, "repetition", "duplicate_decisions", by_source=True),
    "personal_data_edits": by_fragment(personal_data.STAGE, "personal_data", "repetition_edits"),
    "contamination_decisions": over_all(contamination, "contamination", "personal_data_edits", "instruction_data"),
}
# The tables of decisions, in order: what `curated_documents` applies.
DECISIONS = tuple(name for name in CURATION if name.endswith(("_decisions", "_edits")))


def _curated_documents(project: Project) -> Artifact:
    return curated.make(
        project.store,
        project["raw_documents"],
        [project[name] for name in DECISIONS],
        project.recipe.execution,
        project.log,
    )


def _tokenizer(project: Project) -> Artifact:
    recipe = project.recipe
    return tokenizer.make(project.store, project["curated_documents"], recipe.tokenizer, project.log, recipe.execution)


def _token_shards(project: Project) -> Artifact:
    recipe = project.recipe
    return token_shards.make(
        project.store, project["curated_documents"], project["tokenizer"], recipe.shards, recipe.execution, project.log
    )


def _instruction_data(project: Project) -> Artifact:
    return instruction_data.make(project.store, project.recipe.instructions, project.log)


def _preference_data(project: Project) -> Artifact:
    return preference_data.make(project.store, project.recipe.preferences, project.log)


def _training_plan(project: Project) -> Artifact:
    recipe = project.recipe
    return plan.make(
        project.store,
        project["token_shards"],
        project["tokenizer"],
        recipe.model,
        recipe.pretraining,
        recipe.execution.device,
        project.log,
    )


def with_weights_of_sources(recipe: Recipe, shards: Artifact) -> PretrainingSettings:
    """The settings of pretraining with each source's `weight` in the feed, where the feed does not name its own."""
    there = shards.facts["tokens_by_source"]
    weights = {source.name: source.weight for source in recipe.sources if source.weight != 1 and source.name in there}
    feed = recipe.pretraining.feed
    feed = feed.model_copy(update={"source_weights": {**weights, **feed.source_weights}})
    return recipe.pretraining.model_copy(update={"feed": feed})


def _pretrained_model(project: Project) -> Artifact:
    recipe = project.recipe
    return pretraining.make(
        project.store,
        project["token_shards"],
        project["tokenizer"],
        recipe.model,
        with_weights_of_sources(recipe, project["token_shards"]),
        recipe.seed,
        recipe.execution.device,
        project.log,
        project.progress,
        project.should_stop,
    )


def _sft_model(project: Project) -> Artifact:
    recipe = project.recipe
    return fine_tuning.make(
        project.store,
        project["pretrained_model"],
        project["instruction_data"],
        recipe.sft,
        recipe.seed,
        recipe.execution.device,
        project.log,
        project.progress,
        project.should_stop,
    )


def _preference_model(project: Project) -> Artifact:
    recipe = project.recipe
    return preference.make(
        project.store,
        project["sft_model"],
        project["preference_data"],
        recipe.preference,
        recipe.seed,
        recipe.execution.device,
        project.log,
        project.progress,
        project.should_stop,
    )


def evaluation_of(model: str, *further: str, before: str | None = None, wanted: Wanted = always) -> Node:
    """The node of a model's evaluation. `before`: the evaluation of the model that it was made from."""
    name = model.replace("_model", "_evaluation")

    def make(project: Project) -> Artifact:
        recipe = project.recipe
        return report.make(
            project.store,
            name,
            project[model],
            project["token_shards"],
            project["instruction_data"] if "instruction_data" in further else None,
            recipe.evaluation,
            recipe.execution.device,
            project.log,
            preferences=project["preference_data"] if "preference_data" in further else None,
            before=None if before is None else project[before],
            contamination=project["contamination_decisions"],
            seed=recipe.seed,
            progress=project.progress,
        )

    inputs = (model, "token_shards", "contamination_decisions", *further, *((before,) if before else ()))
    return Node("evaluation", inputs, make, wanted)


def _fine_tuned(recipe: Recipe) -> bool:
    return recipe.sft.enabled


def _preference_tuned(recipe: Recipe) -> bool:
    return recipe.sft.enabled and recipe.preference.enabled


# All artifacts, each after those that it is made of.
NODES: dict[str, Node] = {
    "instruction_data": Node("tuning_data", (), _instruction_data),
    **CURATION,
    "curated_documents": Node("curation", ("raw_documents", *DECISIONS), _curated_documents),
    "tokenizer": Node("tokens", ("curated_documents",), _tokenizer),
    "token_shards": Node("tokens", ("curated_documents", "tokenizer"), _token_shards),
    "training_plan": Node("model", ("token_shards", "tokenizer"), _training_plan),
    "pretrained_model": Node("model", ("token_shards", "tokenizer", "training_plan"), _pretrained_model),
    "pretrained_evaluation": evaluation_of("pretrained_model"),
    "sft_model": Node("model", ("pretrained_model", "instruction_data"), _sft_model, _fine_tuned),
    "sft_evaluation": evaluation_of(
        "sft_model", "instruction_data", before="pretrained_evaluation", wanted=_fine_tuned
    ),
    "preference_data": Node("tuning_data", (), _preference_data, _preference_tuned),
    "preference_model": Node("model", ("sft_model", "preference_data"), _preference_model, _preference_tuned),
    "preference_evaluation": evaluation_of(
        "preference_model", "instruction_data", "preference_data", before="sft_evaluation", wanted=_preference_tuned
    ),
}


def inputs_in_order(recipe: Recipe, asset: str) -> list[str]:
    """The asset and everything that it is made of, in the order of making."""
    if asset not in NODES:
        near = difflib.get_close_matches(asset, NODES, n=1)
        raise UserError(f"There is no asset `{asset}`" + (f"; did you mean `{near[0]}`?" if near else "."))
    needed, waiting = set(), [asset]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += NODES[name].inputs
    return [name for name in NODES if name in needed and NODES[name].wanted(recipe)]


def make_with_inputs(project: Project, asset: str) -> Artifact:
    """Make the asset and whatever it is made of; what is up to date is left as it is."""
    artifact = None
    for name in inputs_in_order(project.recipe, asset):
        artifact = NODES[name].make(project)
        if artifact.made:
            registry.note(project.recipe, project.store, artifact, project.log)
    assert artifact is not None
    return artifact


@dataclass(frozen=True)
class Standing:
    """How an asset stands to what would be made of it now."""

    reasons: list[str]  # why it is out of date; none: it is up to date
    notes: list[str]  # what else the making would say, such as that a frozen tokenizer is kept


def why(project: Project, asset: str) -> dict[str, Standing]:
    """For the asset and everything that it is made of: whether and why it is out of date.

    Nothing is made. What is made of something out of date is out of date with it, unless that comes out the same.
    """
    said: list[str] = []
    explaining = replace(project, store=project.store.explaining(), log=said.append)
    found: dict[str, Standing] = {}
    for name in inputs_in_order(project.recipe, asset):
        said.clear()
        explained = explaining.store.explanations
        assert explained is not None
        before = set(explained)
        try:
            NODES[name].make(explaining)
            # A node may make more than one artifact: a trained filter's sample comes before its model.
            reasons = [
                line if made == name else f"{made}: {line}"
                for made in explained
                if made not in before
                for line in explained[made]
            ]
            notes = [line for line in said if line.startswith(f"{name}: kept")]
            if not notes:
                reasons = reasons + [f"{given} is out of date" for given in NODES[name].inputs if _stale(found, given)]
            found[name] = Standing(reasons, notes)
        except (NotMade, UserError) as error:
            found[name] = Standing(["it was never made"] if isinstance(error, NotMade) else [str(error)], [])
    return found


def _stale(found: dict[str, Standing], name: str) -> bool:
    return name in found and bool(found[name].reasons)
