"""The evaluation of one model: all measures, one report.

The one idea: a report is made of a model and of data, never of the moment: scores are greedy, samples are drawn from
a fixed seed, the documents and questions are chosen by hash. So the same model is given the same report, and two
reports differ because the models do.

    report.json         every figure, in groups
    samples.parquet     continuations of the fixed prompts, then the answers to held-back questions
    comparison.parquet  figure, value, before, change: against the model that this one was made from
    covered_items.parquet  evaluation items that the training text holds something of, the most covered first
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline import tracking
from pipeline.curation.contamination import ITEMS, covered_items
from pipeline.evaluation import text_overlap
from pipeline.evaluation.evaluation_settings import EvaluationSettings
from pipeline.evaluation.measures import answers, language_modelling, samples
from pipeline.evaluation.measures import preferences as pairs
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.store.tables import write_table, write_whole
from pipeline.tokens.shards import validation_documents

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer

VERSION = "2"


def make(
    store: Store,
    asset: str,
    model: Artifact,
    shards: Artifact,
    instructions: Artifact | None,
    settings: EvaluationSettings,
    device: str = "auto",
    log: Callable[[str], None] = print,
    *,
    preferences: Artifact | None = None,
    before: Artifact | None = None,
    contamination: Artifact | None = None,
    seed: int = 0,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> Artifact:
    """The report `asset` on `model`.

    shards: their validation documents are scored. instructions, preferences: their held-back parts are used, None
    leaves these measures out. before: the report on the model that this one was made from. contamination: the decisions
    on the training text; the evaluation items that it holds are told beside the scores that they make doubtful.
    """
    inputs: dict[str, Artifact | str] = {"model": model, "token_shards": shards}
    for name, given in (("instruction_data", instructions), ("preference_data", preferences), ("before", before)):
        if given is not None:
            inputs[name] = given
    covered, by_set = coverage(contamination)
    if contamination is not None and by_set:
        # Of the decisions only this matters here: other documents with the same items found change no report.
        inputs["covered_items"] = contamination.manifest["files"][f"{ITEMS}.parquet"]["sha256"]

    def build(draft: Draft) -> None:
        from model.export import load as load_model
        from pipeline.tokens.tokenizer import load as load_tokenizer
        from pipeline.training.machine import choose_device

        place = choose_device(device)
        tokenizer = load_tokenizer(model.whole())
        network = load_model(model.whole()).to(place)
        found, said = measure(
            network, tokenizer, shards, instructions, preferences, settings, seed, place, log, progress
        )
        write_table(said, draft.path("samples.parquet"))
        if by_set:
            found["covered_items"] = by_set
            write_table(covered, draft.path("covered_items.parquet"))
        rows = comparison(found, None if before is None else read(before))
        if before is not None:
            write_table(rows, draft.path("comparison.parquet"))
        log(shown(rows))
        draft.counts = {"samples": said.height}
        draft.facts = headlines(found)
        write_whole(draft.path("report.json"), json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        track(store, asset, draft, model, settings, found)

    return store.make(
        asset,
        code_version=VERSION,
        settings={**settings.model_dump(mode="json"), "seed": seed},
        inputs=inputs,
        build=build,
        log=log,
    )


def measure(
    network: Transformer,
    tokenizer: Any,
    shards: Artifact,
    instructions: Artifact | None,
    preferences: Artifact | None,
    settings: EvaluationSettings,
    seed: int,
    device: torch.device | str,
    log: Callable[[str], None],
    progress: Callable[[dict[str, Any]], None] | None,
) -> tuple[dict[str, Any], pl.DataFrame]:
    """(figures in groups, samples)."""
    import torch

    def tell(part: str, done: int, of: int) -> None:
        if progress:
            progress({"part": part, "done": done, "of": of})

    device = torch.device(device)
    found: dict[str, Any] = {}
    documents = language_modelling.chosen_documents(
        validation_documents(shards).drop("length").collect(), settings.validation_tokens
    )
    if documents.height:
        log(f"scoring {documents.height:,} validation documents")
        scored = language_modelling.score_documents(
            network, documents, tokenizer.document_start, settings.batch_tokens, device
        )
        found["language_modelling"] = {
            "all": language_modelling.summarise(scored),
            "by_source": language_modelling.summarise(scored, "source"),
            "by_language": language_modelling.summarise(scored, "lang"),
        }
        tell("language_modelling", 1, 1)
    tables = [
        samples.continuations(network, tokenizer, settings.prompts, settings.answer_tokens, settings.temperature, seed)
    ]
    if instructions is not None and settings.answers:
        questions = answers.chosen_questions(pl.read_parquet(instructions.table("held_back")), settings.answers)
        log(f"answering {questions.height:,} held-back questions")
        given = answers.answer(
            network, tokenizer, questions, settings.answer_tokens, lambda n: tell("answers", n, questions.height)
        )
        found["answers"] = about_answers(given)
        tables.append(given)
    if preferences is not None and settings.preferences:
        held_back = answers.chosen_questions(pl.read_parquet(preferences.table("held_back")), settings.preferences)
        log(f"scoring {held_back.height:,} held-back preference pairs")
        found["preferences"] = pairs.preference_accuracy(network, tokenizer, held_back, settings.batch_tokens, device)
        tell("preferences", 1, 1)
    return found, pl.concat(tables)


def coverage(contamination: Artifact | None) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    """(evaluation items that the training text holds something of, figures of each evaluation set).

    The figures: `items`, those long enough to be looked for (`checked`), those that a document shares an n-gram with
    (`found`), those of which one document holds 80 % or more (`most`). Both are empty where nothing was looked for.
    """
    if contamination is None or f"{ITEMS}.parquet" not in contamination.manifest["files"]:
        return pl.DataFrame(), {}
    return covered_items(contamination), contamination.facts["sets"]


def about_answers(given: pl.DataFrame) -> dict[str, Any]:
    """Figures of answers (output, reference, lang, ended): in all and by language."""
    if not given.height:
        return {"count": 0}
    found: dict[str, Any] = {"by_language": {}}
    for (lang,), part in sorted(
        given.with_columns(pl.col("lang").fill_null("?")).partition_by("lang", as_dict=True).items()
    ):
        outputs, references = part["output"].to_list(), part["reference"].to_list()
        found["by_language"][str(lang)] = {
            "count": part.height,
            **text_overlap.bleu(outputs, references, lang=str(lang)),
            **text_overlap.rouge(outputs, references),
            **answers.form(part),
        }
    found["count"] = given.height
    found |= text_overlap.rouge(given["output"].to_list(), given["reference"].to_list())
    found |= answers.form(given)
    return found


def read(report: Artifact) -> dict[str, Any]:
    """The figures of a report."""
    return json.loads(report.file("report.json").read_text())


def figures(found: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a report under dotted names, in order."""
    if isinstance(found, dict):
        for key in sorted(found):
            yield from figures(found[key], f"{name}.{key}" if name else str(key))
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield name, float(found)


# What a person looks at first: dotted name in the report -> short name. Higher is better for all but the first two.
HEADLINES = {
    "language_modelling.all.bits_per_byte": "bits_per_byte",
    "language_modelling.all.perplexity": "perplexity",
    "answers.rougeL": "rougeL",
    "answers.exact": "exact",
    "answers.ended": "ended",
    "answers.repetitive": "repetitive",
    "preferences.whole": "preferred",
}


def headlines(found: dict[str, Any]) -> dict[str, float]:
    """The few figures that stand in the manifest."""
    known = dict(figures(found))
    said = {short: known[name] for name, short in HEADLINES.items() if name in known}
    for lang, of in found.get("answers", {}).get("by_language", {}).items():
        said[f"bleu.{lang}"] = of["bleu"]
    return said


def comparison(found: dict[str, Any], before: dict[str, Any] | None) -> pl.DataFrame:
    """figure, value, before, change: one row a figure, in order; `before` and `change` are null where there is none."""
    earlier = dict(figures(before or {}))
    return pl.DataFrame(
        [(name, value, earlier.get(name)) for name, value in figures(found)],
        schema={"figure": pl.String, "value": pl.Float64, "before": pl.Float64},
        orient="row",
    ).with_columns(change=pl.col("value") - pl.col("before"))


def shown(rows: pl.DataFrame) -> str:
    """The headline figures of a comparison as a small table for the terminal."""
    lines = []
    for name, value, earlier, change in rows.iter_rows():
        if name in HEADLINES or name.endswith(".bleu"):
            told = f"  {HEADLINES.get(name, name.removeprefix('answers.by_language.')):20} {value:10.4f}"
            lines.append(told if earlier is None else f"{told}   before {earlier:10.4f}   change {change:+.4f}")
    return "\n".join(lines)


def track(
    store: Store, asset: str, draft: Draft, model: Artifact, settings: EvaluationSettings, found: dict[str, Any]
) -> None:
    """Leave the report in MLflow."""
    tags = {
        tracking.RECIPE: store.recipe,
        tracking.FINGERPRINT: draft.fingerprint,
        "slm.asset": asset,
        "slm.model": f"{model.asset}/{model.version}",
    }
    params = {name: value for name, value in settings.model_dump(mode="json").items() if name != "prompts"}
    step = int(model.facts.get("tokens", 0))
    with tracking.run(asset, asset, tags, params) as run:
        run.metrics({re.sub(r"[^\w./: -]", "_", name): value for name, value in figures(found)}, step=step)
        for name in ("report.json", "samples.parquet", "covered_items.parquet"):
            if draft.path(name).exists():
                run.artifact(draft.path(name))
