"""The graph: every artifact of a recipe, in order, with its inputs and the one function that makes it.

Dagster's assets, `slm make` and `slm why` all read it, so how an artifact is made is written once. The nodes of
curation follow from the list of stages (`pipeline/curation/stages.py`), those of the models from the table of trained
models (`pipeline/trained_models.py`); all others are defined here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pipeline import places
from pipeline.context import Inputs, Log, Progress, RunContext
from pipeline.conversations import instruction_data, preference_data
from pipeline.curation import contamination, curated, tuning_data
from pipeline.curation.stages import stages_of
from pipeline.documents.stage import FragmentStage
from pipeline.evaluation import leaderboard_tables, report
from pipeline.evaluation.tasks import covered_questions, task_items
from pipeline.evaluation.toxicity import classifier
from pipeline.ingest import raw_documents
from pipeline.recipe import Recipe, load
from pipeline.report import report as page
from pipeline.store.artifact import Artifact
from pipeline.store.disk import disk_errors
from pipeline.store.remote import open_store
from pipeline.store.store import Store
from pipeline.tokens import shards as token_shards
from pipeline.tokens import training as tokenizer
from pipeline.trace import index as trace_index
from pipeline.trained_models import (
    BY_NAME,
    EVALUATIONS,
    IMPORTED,
    TrainedModel,
    enabled,
    models_of,
    pretraining_of,
)
from pipeline.training import teacher_logits
from pipeline.training.objectives import distillation, reward_model
from pipeline.training.planning import plan

REWARDED = "sft_model"  # the reward model starts from it
RAW, CURATED = "raw_documents", "curated_documents"


@dataclass(frozen=True)
class Node:
    """An artifact of the graph."""

    group: str
    inputs: Mapping[str, str]  # the name that the maker uses -> asset
    make: Callable[[RunContext, Inputs, Any], Artifact]
    settings: Any
    enabled: bool = True  # whether the recipe requests it
    any_inputs: bool = False  # whether it is made of those inputs that there are, and needs none
    reported: bool = True  # whether the report tells of it


@dataclass(frozen=True)
class Project:
    """A recipe and the store that holds its artifacts."""

    recipe: Recipe
    store: Store
    log: Log = print
    # Called by a training run: with each progress report, and to ask whether to stop (see training/loop.py).
    progress: Progress | None = None
    should_stop: Callable[[], bool] | None = None
    experiment: str = ""  # that this recipe is a cell of, and which one; for MLflow
    cell: str = ""

    @staticmethod
    def open(recipe: str | Path | None = None, log: Log = print) -> Project:
        """The project that `SLM_RECIPE` and `SLM_DATA` name."""
        found = load(recipe)
        return Project(found, open_store(places.data(), found.name), log)

    def __getitem__(self, asset: str) -> Artifact:
        """The artifact in force."""
        return self.store.require(asset)

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """The graph of this recipe."""
        return nodes_of(self.recipe)

    @property
    def context(self) -> RunContext:
        return RunContext(
            store=self.store,
            log=self.log,
            progress=self.progress,
            should_stop=self.should_stop,
            device=self.recipe.execution.device,
            execution=self.recipe.execution,
            seed=self.recipe.seed,
            sources=tuple(source.name for source in self.recipe.sources),
            experiment=self.experiment,
            cell=self.cell,
        )

    def make(self, asset: str) -> Artifact:
        """Make one artifact from the inputs in force; if it is up to date, take it from the store."""
        node = self.nodes[asset]
        with disk_errors(self.store.root, f"`{asset}` could not be made"), ExitStack() as leases:
            there = {
                role: given
                for role, given in node.inputs.items()
                if not node.any_inputs or self.store.current(given) is not None
            }
            inputs = {role: leases.enter_context(self.store.reading(given)) for role, given in there.items()}
            return node.make(self.context, inputs, node.settings)


def nodes_of(recipe: Recipe) -> dict[str, Node]:
    """All artifacts, each after its inputs."""
    taught = enabled(recipe, BY_NAME["sft_model"]) or (bool(recipe.sources) and searches_held_back(recipe))
    preferred = enabled(recipe, BY_NAME["preference_model"]) or recipe.reward_model is not None
    nodes = {
        "instruction_data": Node("tuning_data", {}, instruction_data.make, recipe.instructions, taught),
        "preference_data": Node("tuning_data", {}, preference_data.make, recipe.preferences, preferred),
    }
    if recipe.instructions.stages:
        settings = {stage.block: recipe.curation.of(stage) for stage in tuning_data.STAGES}
        chosen = tuning_data.Chosen.of(recipe.instructions.stages, settings)
        nodes[tuning_data.ASSET] = Node("tuning_data", named("instruction_data"), tuning_data.make, chosen)
    if asked(recipe).sets:
        nodes[task_items.ASSET] = Node(
            "evaluation",
            {},
            task_items.make,
            asked(recipe),
        )
    models = models_of(recipe)
    if recipe.base is not None:  # its tokenizer encodes the text
        nodes[IMPORTED] = train_node(recipe, models[0])
    if recipe.sources:
        nodes |= curation_nodes(recipe) | token_nodes(recipe)
    nodes |= trace_nodes(recipe)
    if asked(recipe).sets:
        texts = texts_learned_from(recipe)
        if texts:
            inputs = named(task_items.ASSET, *texts)
            nodes[covered_questions.ASSET] = Node("evaluation", inputs, covered_questions.make, None)
    if recipe.evaluation.toxicity is not None:
        nodes[classifier.ASSET] = Node("evaluation", {}, classifier.make, recipe.evaluation.toxicity)
    for model in models:
        if model.name == distillation.ASSET:
            nodes |= teacher_nodes(recipe)
        nodes.setdefault(model.name, train_node(recipe, model))
        if model.name == REWARDED and recipe.reward_model is not None:
            inputs = {"base": REWARDED} | named("preference_data")
            tuned = enabled(recipe, model)
            nodes[reward_model.ASSET] = Node("model", inputs, reward_model.make, recipe.reward_model, tuned)
        nodes[model.evaluation] = evaluation_node(recipe, model)
    reports = named(*(model.evaluation for model in models if enabled(recipe, model)))
    nodes[leaderboard_tables.ASSET] = Node(
        "evaluation", reports, leaderboard_tables.make, recipe.evaluation, bool(reports)
    )
    nodes[page.ASSET] = report_node(recipe, nodes)
    return nodes


def report_node(recipe: Recipe, nodes: Mapping[str, Node]) -> Node:
    """The page on everything that the recipe requests, as far as it was made.

    In the graph it follows the ends of all jobs and whatever nothing else is made of; an edge from every artifact would
    hide the others.
    """
    requested = [name for name, node in nodes.items() if node.enabled and node.reported]
    used = {given for name in requested for given in nodes[name].inputs.values()}
    ends = {CURATED, "token_shards", *EVALUATIONS}
    stages = [(stage, recipe.curation.of(stage)) for stage in stages_of(recipe.curation)] if recipe.sources else []
    inputs = named(*(name for name in requested if name in ends or name not in used))
    made_of = {name: tuple(nodes[name].inputs.values()) for name in requested}
    shown = page.Shown(made_of, stages, recipe.evaluation.measures())
    return Node("evaluation", inputs, page.make, shown, any_inputs=True)


def named(*assets: str) -> dict[str, str]:
    """Inputs that the maker knows by the names of their assets."""
    return {asset: asset for asset in assets}


def curation_nodes(recipe: Recipe) -> dict[str, Node]:
    """The nodes from raw to curated documents, in the recipe's order of stages."""
    nodes = {RAW: Node("curation", {}, raw_documents.make, recipe.sources)}
    stages = stages_of(recipe.curation)
    given = named(RAW)  # raw documents, the decisions of the previous stage, and the languages found so far
    languages: dict[str, str] = {}
    for stage in stages:
        settings = recipe.curation.of(stage)
        for model in stage.filters:
            nodes[model.name] = Node("curation", given, model.make, settings)
        further = () if stage.name == contamination.ASSET and not searches_held_back(recipe) else stage.inputs
        inputs = given | named(*(model.name for model in stage.filters), *further)
        nodes[stage.name] = Node("curation", inputs, stage.make, settings)
        if isinstance(stage, FragmentStage) and stage.finds_languages and settings.enabled:
            languages = {"languages": stage.name}
        given = named(RAW) | {"previous": stage.name} | languages
    inputs = named(RAW, *(stage.name for stage in stages)) | languages
    nodes[CURATED] = Node("curation", inputs, curated.make, None)
    return nodes


def searches_held_back(recipe: Recipe) -> bool:
    """Whether conversations held back from fine-tuning are kept out of the text.

    The bundled ones are a demonstration's: they are not held against the text of a person who did not ask for them.
    """
    settings = recipe.curation.of(contamination.STAGE)
    assert isinstance(settings, contamination.Settings)
    if settings.held_back is not None:
        return settings.held_back
    chosen = recipe.instructions != type(recipe.instructions)()
    return chosen or (recipe.sft.enabled and recipe.sft != type(recipe.sft)())


def token_nodes(recipe: Recipe) -> dict[str, Node]:
    """Tokens of the recipe's own text. With an imported model they are its tokens, and nothing is pretrained."""
    if recipe.base is not None:
        inputs = named(CURATED) | {"tokenizer": IMPORTED}
        return {"token_shards": Node("tokens", inputs, token_shards.make, recipe.shards)}
    return {
        "tokenizer": Node("tokens", named(CURATED), tokenizer.make, recipe.tokenizer),
        "token_shards": Node("tokens", named(CURATED, "tokenizer"), token_shards.make, recipe.shards),
        "training_plan": Node("model", named("token_shards", "tokenizer"), plan.make, pretraining_of(recipe)),
    }


def trace_nodes(recipe: Recipe) -> dict[str, Node]:
    """The node of the index of what models learn from, if they learn from anything."""
    inputs = {"tokenizer": IMPORTED if recipe.base is not None else "tokenizer"}
    if recipe.base is None:
        inputs |= named(trace_index.SHARDS)
    if enabled(recipe, BY_NAME["sft_model"]):
        conversations = tuning_data.ASSET if recipe.instructions.stages else trace_index.CONVERSATIONS
        inputs[trace_index.CONVERSATIONS] = conversations
    if enabled(recipe, BY_NAME["preference_model"]):
        inputs |= named(trace_index.PREFERENCES)
    if len(inputs) == 1:
        return {}
    settings = recipe.trace
    return {
        trace_index.ASSET: Node("tokens", inputs, trace_index.make, settings, settings.enabled, reported=False),
    }


def train_node(recipe: Recipe, model: TrainedModel) -> Node:
    """The node of a trained model."""
    base = {"base": model.base} if model.base else {}
    inputs = base | named(*model.data, *model.after)
    if recipe.instructions.stages and "instruction_data" in inputs:
        inputs["instruction_data"] = tuning_data.ASSET
    return Node("model", inputs, model.make, model.settings(recipe), enabled(recipe, model))


def teacher_nodes(recipe: Recipe) -> dict[str, Node]:
    """The nodes of the teachers and of what they say."""
    block = recipe.distillation
    assert block is not None
    nodes = {
        teacher.asset: Node("model", named("token_shards", "tokenizer"), distillation.make_teacher, teacher)
        for teacher in distillation.teachers_of(block, pretraining_of(recipe))
    }
    settings = (block, recipe.pretraining.feed.mask_documents)
    nodes[teacher_logits.ASSET] = Node("model", named("token_shards", *nodes), teacher_logits.make, settings)
    return nodes


def asked(recipe: Recipe) -> task_items.Asked:
    """What the recipe asks of models that has to be read first."""
    chosen = recipe.evaluation
    return task_items.Asked(chosen.tasks, chosen.programs, chosen.free_answers, chosen.bias)


def texts_learned_from(recipe: Recipe) -> list[str]:
    """The artifacts whose text the models of the recipe learn from."""
    tuned = [of.name for of in models_of(recipe) if of.base and enabled(recipe, of)]
    known = {name for of in tuned for name in covered_questions.LEARNED_FROM[of]}
    if recipe.base is None:
        known.add(CURATED)
    else:
        known.discard(CURATED)  # its own text encodes nothing that is trained on
    return [name for name in covered_questions.TEXTS if name in known]


def evaluation_node(recipe: Recipe, model: TrainedModel) -> Node:
    """The node of a trained model's evaluation; `base` is the model that it was trained from, `before` that one's."""

    make = partial(report.make, asset=model.evaluation)
    inputs = {"model": model.name} | named(*model.measured_on)
    if recipe.sources:
        inputs |= named("token_shards", "contamination_decisions")
    if asked(recipe).sets:
        inputs |= named(task_items.ASSET)
        if texts_learned_from(recipe):
            inputs |= named(covered_questions.ASSET)
    if recipe.evaluation.toxicity is not None:
        inputs |= named(classifier.ASSET)
    if model.base:
        inputs |= {"before": BY_NAME[model.base].evaluation, "base": model.base}
    return Node("evaluation", inputs, make, recipe.evaluation, enabled(recipe, model))


def enabled_assets(recipe: Recipe) -> list[str]:
    """Names of the artifacts that the recipe requests, in the order of the graph."""
    return [name for name, node in nodes_of(recipe).items() if node.enabled]
