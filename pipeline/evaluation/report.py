"""The evaluation of one model: the results of all measures in one report.

A report depends only on the model and the data: scores are deterministic, samples use a fixed seed, and documents and
questions are selected by hash. So two reports differ only if the models do.

    report.json         every figure, one group per measure
    samples.parquet     generated text: continuations of the fixed prompts, answers to held-back questions
    comparison.parquet  figure, value, before, change: compared with the model that this one was made from
    <table>.parquet     further results of a measure
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
from pipeline.evaluation.figures import comparison, figures, headline_figures, headline_lines
from pipeline.evaluation.measure import ROLES, SAMPLE, Measure, Result, Subject
from pipeline.evaluation.measures import MEASURES, covered_items
from pipeline.evaluation.own_measures import LoadedMeasure
from pipeline.settings import Settings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_table, write_whole
from pipeline.training.model_facts import ModelFacts

# 3: conversations and pairs in the form of training; another rule of drawing; bf16 where it was measured to be faster
VERSION = "3"

ConfiguredMeasure = tuple[Measure[Any], Settings]


def make(context: RunContext, inputs: Inputs, settings: EvaluationSettings, *, asset: str) -> Artifact:
    """The report `asset` on the model `inputs["model"]`.

    inputs, by role (`measure.ROLES`): `model` and `token_shards`; optionally `instruction_data`, `preference_data` and
    `contamination_decisions` (measures that need a missing one are skipped), and `before`, the report on the model that
    this one was made from.
    """
    own = [further.load() for further in settings.further]
    configured: list[ConfiguredMeasure] = [(measure, settings) for measure in MEASURES]
    configured += [(loaded.measure, loaded.settings) for loaded in own]
    identity = settings.of_built_in_measures() | {"seed": context.seed}
    if own:
        identity["further"] = [loaded.identity() for loaded in own]

    def build(draft: Draft) -> None:
        result = run_measures(context, inputs, configured)
        write(draft, result, inputs, [measure for measure, _ in configured], context.log)
        track(context, draft, inputs["model"], result, asset, parameters(settings, own))

    return context.store.make(
        asset,
        code_version=VERSION,
        settings=identity,
        inputs=fingerprint_inputs(inputs, [loaded.measure for loaded in own]),
        build=build,
        log=context.log,
    )


def fingerprint_inputs(inputs: Inputs, own: Sequence[Measure[Any]]) -> dict[str, Artifact | str]:
    """The inputs that are part of the report's fingerprint."""
    by_role: dict[str, Artifact | str] = {role: inputs[role] for role in ROLES if role in inputs}
    contamination = inputs.get("contamination_decisions")
    if contamination is None or any("contamination_decisions" in measure.needs for measure in own):
        return by_role
    # The built-in measures read only the covered items, so only a change to these makes the report out of date.
    del by_role["contamination_decisions"]
    items = covered_items.digest_of(contamination)
    return by_role if items is None else by_role | {"covered_items": items}


def run_measures(context: RunContext, inputs: Inputs, configured: Sequence[ConfiguredMeasure]) -> Result:
    """The results of all measures that are enabled and have their inputs: figures by group, samples, tables."""
    import torch

    from model.export import load as load_model
    from pipeline.tokens.tokenizer import load as load_tokenizer
    from pipeline.training import machine
    from pipeline.training.measured import Machine

    device = torch.device(machine.choose_device(context.device))
    directory, here = inputs["model"].local_directory(), Machine.beside(context.store)
    network, tokenizer = load_model(directory, torch.float32).to(device).eval(), load_tokenizer(directory)
    precision = machine.evaluation_precision(device.type, network.config, here)
    generating = machine.for_generation(network, here)
    groups: dict[str, Any] = {}
    samples = [pl.DataFrame(schema=SAMPLE)]
    tables: dict[str, pl.DataFrame] = {}
    for measure, settings in configured:
        if not measure.enabled(settings) or any(role not in inputs for role in measure.needs):
            continue
        subject = Subject(
            network=network,
            generating=generating,
            tokenizer=tokenizer,
            device=device,
            inputs={role: inputs[role] for role in measure.needs},
            seed=context.seed,
            log=context.log,
            progress=progress_callback(measure.name, context.progress),
        )
        with machine.autocast(device.type, precision):
            result = measure.run(subject, settings)
        if result.figures:
            groups[measure.name] = result.figures
        if result.samples is not None:
            samples.append(result.samples)
        duplicates = [name for name in result.tables if name in tables]
        if duplicates:
            raise UserError(
                f"The measure `{measure.name}` and another one both write a table `{duplicates[0]}`: rename one."
            )
        tables |= result.tables
    return Result(groups, pl.concat(samples), tables)


def progress_callback(part: str, progress: Progress | None) -> Callable[[int, int], None]:
    """A function with which one measure reports its progress."""

    def report(done: int, of: int) -> None:
        if progress:
            progress({"part": part, "done": done, "of": of})

    return report


def write(draft: Draft, result: Result, inputs: Inputs, measures: Sequence[Measure[Any]], log: Log) -> None:
    """Write the report's files, and its headlines to the manifest and the log."""
    assert result.samples is not None
    for name, table in {"samples": result.samples, **result.tables}.items():
        write_table(table, draft.path(f"{name}.parquet"))
    rows = comparison(result.figures, read(inputs["before"]) if "before" in inputs else None)
    if "before" in inputs:
        write_table(rows, draft.path("comparison.parquet"))
    headlines = headline_figures(result.figures, measures)
    log(headline_lines(rows, headlines))
    draft.counts = {"samples": result.samples.height}
    draft.facts = {figure.short: figure.value for figure in headlines if not figure.headline.card_only}
    content = json.dumps(result.figures, indent=1, ensure_ascii=False, sort_keys=True)
    write_whole(draft.path("report.json"), content + "\n")


def read(report: Artifact) -> dict[str, Any]:
    """The figures of a report, by group."""
    return json.loads(report.file("report.json").read_text())


def figures_of(report: Artifact) -> dict[str, float]:
    """All numbers of a report by dotted name, sorted."""
    return dict(figures(read(report)))


def parameters(settings: EvaluationSettings, own: Sequence[LoadedMeasure]) -> dict[str, Any]:
    """The parameters of the MLflow run; the settings of an own measure are under the measure's name."""
    built_in = {name: value for name, value in settings.of_built_in_measures().items() if name != "prompts"}
    return built_in | {loaded.measure.name: loaded.settings.model_dump(mode="json") for loaded in own}


def track(
    context: RunContext, draft: Draft, model: Artifact, result: Result, asset: str, parameters: dict[str, Any]
) -> None:
    """Log the report to an MLflow run."""
    tags = {
        tracking.RECIPE: context.store.recipe,
        tracking.FINGERPRINT: draft.fingerprint,
        "slm.asset": asset,
        "slm.model": f"{model.asset}/{model.version}",
    }
    step = ModelFacts.of(model).tokens  # where the model's training curves end
    with tracking.run(asset, asset, tags, parameters) as run:
        run.metrics({re.sub(r"[^\w./: -]", "_", name): value for name, value in figures(result.figures)}, step=step)
        for name in ("report.json", "samples.parquet", *(f"{table}.parquet" for table in result.tables)):
            run.artifact(draft.path(name))
