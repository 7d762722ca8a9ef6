"""The evaluation of one model: all measures, one report.

The one idea: a report is made of a model and of data, never of the moment: scores are greedy, samples are drawn from
a fixed seed, the documents and questions are chosen by hash. So the same model is given the same report, and two
reports differ because the models do.

    report.json         every figure, one group a measure
    samples.parquet     what the model wrote: continuations of the fixed prompts, answers to held-back questions
    comparison.parquet  figure, value, before, change: against the model that this one was made from
    <table>.parquet     what else a measure found
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from pipeline import tracking
from pipeline.context import Inputs, Log, Progress, RunContext
from pipeline.errors import UserError
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.figures import comparison, figures, headline_figures, shown
from pipeline.evaluation.measure import ROLES, SAMPLE, Measure, Result, Subject
from pipeline.evaluation.measures import MEASURES, covered_items
from pipeline.evaluation.own_measures import LoadedMeasure
from pipeline.settings import Settings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table, write_whole
from pipeline.training.model_facts import ModelFacts

VERSION = "3"  # 3: conversations and pairs in the form of training (no <eos> before them, cut alike); another draw

Chosen = tuple[Measure[Any], Settings]  # a measure and its settings


def make(context: RunContext, inputs: Inputs, settings: EvaluationSettings, *, asset: str) -> Artifact:
    """The report `asset` on the model `inputs["model"]`.

    inputs, by role (`measure.ROLES`): `model` and `token_shards`; where there are, `instruction_data`,
    `preference_data` and `contamination_decisions` (what needs them is left out otherwise), and `before`, the report on
    the model that this one was made from.
    """
    own = [further.load() for further in settings.further]
    chosen: list[Chosen] = [(of, settings) for of in MEASURES] + [(of.measure, of.settings) for of in own]
    identity = settings.of_built_in_measures() | {"seed": context.seed}
    if own:
        identity["further"] = [of.identity() for of in own]

    def build(draft: Draft) -> None:
        found = measured(context, inputs, chosen)
        write(draft, found, inputs, [of for of, _ in chosen], context.log)
        track(context, draft, inputs["model"], found, asset, parameters(settings, own))

    return context.store.make(
        asset,
        code_version=VERSION,
        settings=identity,
        inputs=made_of(inputs, [of.measure for of in own]),
        build=build,
        log=context.log,
    )


def made_of(inputs: Inputs, own: Sequence[Measure[Any]]) -> dict[str, Artifact | str]:
    """The inputs that the report's fingerprint holds."""
    found: dict[str, Artifact | str] = {role: inputs[role] for role in ROLES if role in inputs}
    contamination = inputs.get("contamination_decisions")
    if contamination is None or any("contamination_decisions" in measure.needs for measure in own):
        return found
    # The built-in measures read only the items found: other documents with the same items found change no report.
    del found["contamination_decisions"]
    items = covered_items.digest_of(contamination)
    return found if items is None else found | {"covered_items": items}


def measured(context: RunContext, inputs: Inputs, chosen: Sequence[Chosen]) -> Result:
    """What all measures found that are enabled and whose inputs are there: figures in groups, samples, tables."""
    import torch

    from model.export import load as load_model
    from pipeline.tokens.tokenizer import load as load_tokenizer
    from pipeline.training.machine import choose_device

    device = torch.device(choose_device(context.device))
    directory = inputs["model"].local_directory()
    network, tokenizer = load_model(directory).to(device).eval(), load_tokenizer(directory)
    groups: dict[str, Any] = {}
    samples = [pl.DataFrame(schema=SAMPLE)]
    tables: dict[str, pl.DataFrame] = {}
    for measure, settings in chosen:
        if not measure.enabled(settings) or any(role not in inputs for role in measure.needs):
            continue
        result = measure.run(
            Subject(
                network=network,
                tokenizer=tokenizer,
                device=device,
                inputs={role: inputs[role] for role in measure.needs},
                seed=context.seed,
                log=context.log,
                progress=progress_of(measure.name, context.progress),
            ),
            settings,
        )
        if result.figures:
            groups[measure.name] = result.figures
        if result.samples is not None:
            samples.append(result.samples)
        taken = [name for name in result.tables if name in tables]
        if taken:
            raise UserError(
                f"The measure `{measure.name}` and another one both write a table `{taken[0]}`: rename one."
            )
        tables |= result.tables
    return Result(groups, pl.concat(samples), tables)


def progress_of(part: str, progress: Progress | None) -> Callable[[int, int], None]:
    """A call for how far one measure is."""

    def tell(done: int, of: int) -> None:
        if progress:
            progress({"part": part, "done": done, "of": of})

    return tell


def write(draft: Draft, found: Result, inputs: Inputs, measures: Sequence[Measure[Any]], log: Log) -> None:
    """Write the report's files, and its headlines into the manifest and the log."""
    assert found.samples is not None
    for name, table in {"samples": found.samples, **found.tables}.items():
        write_table(table, draft.path(f"{name}.parquet"))
    rows = comparison(found.figures, read(inputs["before"]) if "before" in inputs else None)
    if "before" in inputs:
        write_table(rows, draft.path("comparison.parquet"))
    headlines = headline_figures(found.figures, measures)
    log(shown(rows, headlines))
    draft.counts = {"samples": found.samples.height}
    draft.facts = {figure.short: figure.value for figure in headlines if not figure.headline.card_only}
    content = json.dumps(found.figures, indent=1, ensure_ascii=False, sort_keys=True)
    write_whole(draft.path("report.json"), content + "\n")


def read(report: Artifact) -> dict[str, Any]:
    """The figures of a report, in groups."""
    return json.loads(report.file("report.json").read_text())


def figures_of(report: Artifact) -> dict[str, float]:
    """All numbers of a report by their dotted names, in order."""
    return dict(figures(read(report)))


def parameters(settings: EvaluationSettings, own: Sequence[LoadedMeasure]) -> dict[str, Any]:
    """The settings that MLflow's run shows; those of own measures stand under the measure's name."""
    found = {name: value for name, value in settings.of_built_in_measures().items() if name != "prompts"}
    return found | {of.measure.name: of.settings.model_dump(mode="json") for of in own}


def track(
    context: RunContext, draft: Draft, model: Artifact, found: Result, asset: str, parameters: dict[str, Any]
) -> None:
    """Copy the report into a run of MLflow."""
    tags = {
        tracking.RECIPE: context.store.recipe,
        tracking.FINGERPRINT: draft.fingerprint,
        "slm.asset": asset,
        "slm.model": f"{model.asset}/{model.version}",
    }
    step = ModelFacts.of(model).tokens  # where the curves of the model's own training end
    with tracking.run(asset, asset, tags, parameters) as run:
        run.metrics({re.sub(r"[^\w./: -]", "_", name): value for name, value in figures(found.figures)}, step=step)
        for name in ("report.json", "samples.parquet", *(f"{table}.parquet" for table in found.tables)):
            run.artifact(draft.path(name))
