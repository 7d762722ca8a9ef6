"""The results of a recipe on one screen, independent of Dagster. It reads manifests alone and is fast; of a made-up
village it also reads decisions.

`slm summary` and `make pretrain` show it: documents kept and removed by stage and reason, tokens, the models with their
figures, samples or what the models say of the village, and commands to continue with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from pipeline import places
from pipeline.evaluation.figures import headline_figures
from pipeline.evaluation.measure import Measure
from pipeline.evaluation.measures import MEASURES
from pipeline.evaluation.report import read
from pipeline.ingest.source_kind import SourceKind
from pipeline.inspect import removals, tuning, village_summary
from pipeline.printing import aligned, duration
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.trained_models import EVALUATIONS, IMPORTED, MODELS, TRAINED_MODELS
from pipeline.training.model_facts import ModelFacts

MOST_REASONS = 4  # shown per stage, the most frequent ones
SAMPLES = 3
SAMPLE_CHARACTERS = 160


def summary(
    store: Store,
    stages: Sequence[str],
    measures: Sequence[Measure[Any]] = MEASURES,
    recipe: str | None = None,
    generated: Sequence[str] = (),
    sources: Sequence[SourceKind] = (),
) -> str:
    """The summary as text; parts that do not exist yet are listed as not made yet.

    stages: the decision tables, in order. measures: whose headlines to show for the models. recipe: the file, if it was
    given to this command only, so that the suggested commands name it too. generated: the sources that say what they
    planted for the stages to find. sources: those of the recipe, for a line each on what was removed of them.
    """
    environment, option = places.in_commands(recipe) if recipe else ("", "")

    # With an imported model there need be no text of one's own.
    own_text = [
        documents(store, ("raw_documents", *stages, "curated_documents")),
        removals.lines(store, stages, sources, option),
        tokens(store, environment),
    ]
    parts = [
        f"recipe `{store.recipe}`",
        *(own_text if store.current("raw_documents") or not store.current(IMPORTED) else []),
        models(store, environment, measures),
        tuning.tunings(store, measures),
        village_summary.planted(store, stages, generated),
        village_summary.goals(store),
        village_summary.speaks(store) or samples(store),
        next_steps(store, environment, option),
    ]
    return "\n\n".join(part for part in parts if part)


def documents(store: Store, stages: Sequence[str]) -> str:
    """One line per stage: documents in, kept and removed, and the reasons."""
    rows = []
    for name in stages:
        artifact = store.current(name)
        if artifact is None:
            rows.append([name, "", "", "", "not made yet"])
            continue
        counts = artifact.counts
        removed = counts["in"] - counts["kept"]
        rows.append([name, f"{counts['in']:,}", f"{counts['kept']:,}", f"{removed:,}", reasons(counts)])
    return aligned(["documents", "in", "kept", "removed", "why"], rows)


def reasons(counts: dict[str, Any]) -> str:
    removed = sorted(counts.get("removed", {}).items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [f"{name} {number:,}" for name, number in removed[:MOST_REASONS]]
    if len(removed) > MOST_REASONS:
        others = removed[MOST_REASONS:]
        parts.append(f"{len(others)} other reasons {sum(number for _, number in others):,}")
    edits = sorted(counts.get("edits", {}).items(), key=lambda pair: (-pair[1], pair[0]))
    if edits:
        parts.append("edits: " + ", ".join(f"{name} {number:,}" for name, number in edits[:MOST_REASONS]))
    return ", ".join(parts)


def tokens(store: Store, environment: str) -> str:
    shards = store.current("token_shards")
    if shards is None:
        return f"tokens: not made yet (`{environment}dagster job execute -j tokenize_job`)"
    by_split = shards.facts.get("tokens", {})
    line = ", ".join(f"{figure(number)} {split}" for split, number in by_split.items())
    tokenizer = store.current("tokenizer")
    languages = tokenizer.facts.get("report", {}).get("languages", {}) if tokenizer is not None else {}
    if tokenizer is not None:
        line += f"; vocabulary {figure(tokenizer.facts.get('vocab_size'))}"
    if languages:
        line += "; bytes per token: " + ", ".join(
            f"{name} {figure(language['bytes_per_token'])}" for name, language in languages.items()
        )
    by_source = shards.facts.get("tokens_by_source", {})
    rows = [[name, figure(number)] for name, number in by_source.items()]
    return f"tokens: {line}\n" + aligned(["source", "tokens"], rows)


def models(store: Store, environment: str, measures: Sequence[Measure[Any]]) -> str:
    """One line per model: size, training and figures."""
    rows = []
    for kind in TRAINED_MODELS:
        model = store.current(kind.name)
        if model is None:
            continue
        facts, seconds = ModelFacts.of(model), model.manifest["seconds"]
        spent = seconds.get("training", seconds.get("train", seconds.get("total")))
        figures = measured(store.current(kind.evaluation), measures)
        rows.append(
            [
                kind.name,
                figure(facts.parameters),
                figure(facts.tokens),
                duration(spent) if spent is not None else "",
                figure(seconds.get("tokens_per_second")),
                figures or figure(model.facts.get("bits_per_byte", model.facts.get("validation_loss"))),
            ]
        )
    if not rows:
        return f"model: not made yet (`{environment}dagster job execute -j pretrain_job`)"
    return aligned(["model", "parameters", "tokens trained", "time", "tokens/s", "measured"], rows)


def measured(report: Artifact | None, measures: Sequence[Measure[Any]]) -> str:
    """The first headline of each measure in the report."""
    if report is None:
        return ""
    content = read(report)
    headlines = [headline_figures(content, [measure])[:1] for measure in measures]
    return ", ".join(f"{figure.value:.3f} {figure.words}" for first in headlines for figure in first)


def samples(store: Store) -> str:
    for evaluation in reversed(EVALUATIONS):
        report = store.current(evaluation)
        if report is not None and "samples.parquet" in report.manifest["files"]:
            rows = pl.read_parquet(report.file("samples.parquet"))
            rows = rows.with_columns(turn=pl.int_range(pl.len()).over("kind", "lang"))
            # One of each language before a second of any.
            shown = rows.filter(kind="sampled").sort("turn", maintain_order=True).head(SAMPLES)
            lines = [
                f"  {shortened(f'{prompt} ⏵ {output}')}" for prompt, output in shown["prompt", "output"].iter_rows()
            ]
            head = f"samples of {evaluation.removesuffix('_evaluation')} (what follows ⏵ is made up):"
            return "\n".join([head, *lines])
    return ""


def shortened(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SAMPLE_CHARACTERS else flat[: SAMPLE_CHARACTERS - 1] + "…"


def next_steps(store: Store, environment: str, option: str) -> str:
    """The folder of the newest model, and commands to continue with."""
    made = [artifact for name in MODELS if (artifact := store.current(name)) is not None]
    steps = [("the graph, the tables, the curves", f"{environment}make ui   (or: {environment}dagster dev)")]
    if store.current("heuristic_decisions"):
        steps.append(("documents that were removed", f"slm {option}documents --stage heuristic_decisions"))
    if not made:
        return "\n".join(_titled(steps))
    model = made[-1].asset
    talking = [("talk to it in the browser", f"slm {option}serve"), ("talk to it here", f"slm {option}chat {model}")]
    steps = [*talking, *steps, ("what it was made from", f"slm {option}lineage model {model}")]
    return "\n".join([f"model: {made[-1].directory}", *_titled(steps)])


def _titled(steps: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of a title and a command, the commands below each other."""
    wide = max(len(title) for title, _ in steps) + 3
    return [f"{title + ':':{wide}}{command}" for title, command in steps]


def figure(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}"
    return f"{int(value):,}" if isinstance(value, int | float) else str(value)
