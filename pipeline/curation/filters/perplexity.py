"""Documents of high perplexity under a model of their language: broken encodings, scrambled letters, other languages.

After CCNet (Wenzek et al. 2020): a Kneser-Ney model of reference text, the perplexity of each document under it, and
bounds from the perplexity of the reference text itself. CCNet keeps a fixed share of every language. Here a document is
removed only if it is both above a percentile of the reference and far beyond its spread, so clean text loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from pipeline.context import Inputs, RunContext
from pipeline.curation.filters import kneser_ney, learning_sample
from pipeline.curation.filters.learning_sample import Sample, identity_of
from pipeline.curation.filters.model_text import FOLDS, KINDS, model_input, prose_to_model
from pipeline.curation.filters.model_words import as_words
from pipeline.curation.filters.own_writing import OfPages, without_figures_of_pages
from pipeline.curation.rules import Limit, Rule, Scope, decided_by
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import FragmentStage, TrainedFilter, stage_inputs
from pipeline.errors import UserError
from pipeline.settings import MAX_CHARACTERS
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_whole

VERSION = "2"  # words without order, and a closer bound
MODEL_VERSION = "4"  # each language is a kind of its own; bounds of the order of words


def _above(settings: Settings) -> pl.Expr:
    return pl.col("percentile") > settings.max_percentile


KOREAN = Scope("Korean", pl.col("kind") == "ko")
NOT_KOREAN = Scope("other text with spaces", pl.col("kind") != "ko")
RULES = (
    Rule(
        "high_perplexity",
        "words in an order that is very unlikely under the language model of the reference text",
        "after CCNet (Wenzek et al. 2020), which keeps a fixed part of each language",
        limits=(
            Limit("deviation", ">", "max_deviation", NOT_KOREAN),
            Limit("deviation", ">", "max_deviation_ko", KOREAN),
        ),
        scope=Scope("text above `max_percentile` of the reference", _above),
    ),
    Rule(
        "no_word_order",
        "its words are hardly likelier in their order than shuffled, as in menus, lists of names and garbled text",
        "docs/results/filters.md",
        limits=(
            Limit("order", "<", "min_order", NOT_KOREAN),
            Limit("order", "<", "min_order_ko", KOREAN),
        ),
    ),
)
REASONS = meanings_of(RULES)
FEWEST_TOKENS = 30  # with fewer, a perplexity is meaningless
BOUNDS = "bounds.json"
LEAST_ORDER = 0.02  # of a reference whose words have hardly any order, by which nothing is judged
# In decades of perplexity: the spread of mixed text, by English word and by Korean syllable (docs/results/filters.md).
# The spread of uniform reference text, such as speeches alone, is smaller, and other good text would be far beyond it.
LEAST_SPREAD = {"spaced": 0.4, "ko": 0.2}
MODEL_SETTINGS = ("reference", "order", "characters", "min_characters")


class Settings(OfPages):
    reference: list[str] = Field(
        [],
        description="sources that the model is trained on; empty: a sample of all that the previous stages kept",
    )
    order: int = Field(4, ge=2, le=6, description="longest n-gram; Hangul counts by syllable (CCNet: 5, on subwords)")
    characters: int = Field(
        4_000_000, gt=0, le=MAX_CHARACTERS, description="most characters of each language to train on"
    )
    min_characters: int = Field(
        200_000,
        ge=0,
        le=MAX_CHARACTERS,
        description="documents in a language with less reference text than this are not judged",
    )
    max_percentile: float = Field(
        99, ge=0, le=100, description="no document below this percentile of the reference text's perplexity is removed"
    )
    max_deviation: float = Field(
        2.5,
        ge=0,
        le=1000,
        description="most deviation from the reference's median, in units of its upper spread (median to 84 %)",
    )
    max_deviation_ko: float = Field(3, ge=0, le=1000, description="the same for Korean")
    min_order: float = Field(
        0.21,
        ge=0,
        le=1000,
        description="least gain in likelihood by the order of the words, against the same words shuffled; 1: as much "
        "as the reference's median",
    )
    min_order_ko: float = Field(0.33, ge=0, le=1000, description="the same for Korean")


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`perplexity`, `percentile` (0-100 among the reference), `deviation`, `order` (f32) and `kind` (String).

    All but `kind` are null where the document is not judged.

    Not judged: code, text without spaces, Korean mixed with other letters, very short text, languages without a model,
    and a person's own writing.
    """
    directory = models["perplexity_model"]
    found = _judge(model_input(documents, shuffled=True), directory)
    return without_figures_of_pages(found, settings.own_writing(documents), ("kind",))


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Remove what is beyond both bounds; the score is the perplexity."""
    return decided_by(signals, RULES, settings, pl.col("perplexity"))


def make_model(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """The artifact `perplexity_model`: `<kind>-<fold>.arpa` for each language with enough text, and the bounds.

    inputs: raw_documents, previous. It is made from `perplexity_sample` alone. Raises UserError if `reference` names
    something that is not a source of the recipe.
    """
    check_reference("perplexity", settings.reference, context.sources)
    learned = {name: value for name, value in settings.model_dump(mode="json").items() if name in MODEL_SETTINGS}
    sampled = sample(context, inputs, settings) if settings.enabled else None

    def build(draft: Draft) -> None:
        if sampled is None:
            write_whole(draft.path(BOUNDS), "{}\n")
        else:
            draft.facts = train(sampled, settings, draft)

    return context.store.make(
        "perplexity_model",
        code_version=MODEL_VERSION,
        settings={"enabled": settings.enabled, **learned},
        inputs={} if sampled is None else {"perplexity_sample": sampled.identity},
        build=build,
        log=context.log,
    )


def sample(context: RunContext, inputs: Inputs, settings: Settings) -> Sample:
    """The documents that the models learn from: those of the reference, or else of all sources."""
    documents, _ = stage_inputs(inputs)
    sources = set(settings.reference) or {documents.source(name) for name in documents.fragments}
    return learning_sample.make(context, "perplexity_sample", documents, {"reference": sources}, settings.characters)


def check_reference(stage: str, reference: Sequence[str], sources: Sequence[str]) -> None:
    """Raises UserError for a reference that is not a source of the recipe."""
    for name in reference:
        if name not in sources:
            raise UserError(
                f"`curation.{stage}.reference` names `{name}`, which is not a source of the recipe: "
                f"{', '.join(sources)}."
            )


def train(sampled: Sample, settings: Settings, draft: Draft) -> dict[str, Any]:
    """Write the models and their bounds to the draft; returns the facts of each language.

    A model is remembered by its training documents, so a changed document causes the training of one model.
    """
    reference = sampled.read().filter("kept")
    directory = draft.path(".")
    bounds: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for kind in sorted({*KINDS, *reference["kind"]}):
        text = reference.filter(pl.col("kind") == kind)
        characters = int(text["text"].str.len_chars().sum())
        facts[kind] = {"documents": text.height, "characters": characters}
        if characters < settings.min_characters or text["fold"].n_unique() < FOLDS:
            draft.log(
                f"perplexity_model: {characters:,} characters of `{kind}` are too few for a model; it is not judged"
            )
            continue
        for number in range(FOLDS):
            learned = text.filter(pl.col("fold") != number)
            key = {"version": MODEL_VERSION, "order": settings.order, **identity_of(learned)}
            entry = draft.file(f"{kind}-{number}.arpa", key, partial(_learn, learned["text"], settings.order))
            facts[kind][f"n_grams_{number}"] = entry["facts"]
        logs, gains = _figures(model_input(text, shuffled=True), directory)
        logs, gains = logs[~np.isnan(logs)], gains[~np.isnan(gains)]
        if len(logs):
            quantiles = [round(float(value), 4) for value in np.percentile(logs, range(101))]
            bounds[kind] = {"perplexity": quantiles, "order": round(float(np.median(gains)), 4)}
    write_whole(directory / BOUNDS, json.dumps(bounds) + "\n")
    return facts


def _learn(texts: pl.Series, order: int, path: Path) -> dict[str, int]:
    return kneser_ney.train(as_words(prose_to_model(texts)), order, path)


def _judge(frame: pl.DataFrame, directory: Path) -> pl.DataFrame:
    """The signals for rows of kind, fold, words and shuffled."""
    logs, gains = _figures(frame, directory)
    percentile, deviation = np.full(frame.height, np.nan), np.full(frame.height, np.nan)
    order = np.full(frame.height, np.nan)
    for kind, found in json.loads((directory / BOUNDS).read_text()).items():
        rows = np.flatnonzero((frame["kind"] == kind).to_numpy() & ~np.isnan(logs))
        quantiles = found["perplexity"]
        percentile[rows] = np.interp(logs[rows], quantiles, range(101))
        spread = max(quantiles[84] - quantiles[50], LEAST_SPREAD.get(kind, LEAST_SPREAD["spaced"]))
        deviation[rows] = (logs[rows] - quantiles[50]) / spread
        order[rows] = gains[rows] / max(found["order"], LEAST_ORDER)
    columns = {"perplexity": 10**logs, "percentile": percentile, "deviation": deviation, "order": order}
    figures = {name: pl.Series(values, dtype=pl.Float32).fill_nan(None) for name, values in columns.items()}
    return pl.DataFrame({**figures, "kind": frame["kind"]})


def _figures(frame: pl.DataFrame, directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """For rows of kind, fold, words and shuffled, NaN where there is no model or hardly any text:

    the logarithm (base 10) of the perplexity per word (per syllable of Hangul), and the share of it by which the
    perplexity of the same words shuffled is higher.
    """
    counts = frame["words"].str.count_matches(" ", literal=True) + 2  # words, and the end of the text
    logs, gains = np.full(frame.height, np.nan), np.full(frame.height, np.nan)
    for kind in sorted(frame["kind"].unique()):
        for number in range(FOLDS):
            path = directory / f"{kind}-{number}.arpa"
            if not path.exists():
                continue
            score = _model(str(path)).score
            with_text = (frame["kind"] == kind) & (frame["fold"] == number) & (counts >= FEWEST_TOKENS)
            rows = with_text.arg_true().to_numpy()
            texts, others = frame["words"].gather(rows), frame["shuffled"].gather(rows)
            per_word = np.array([score(text) for text in texts]) / counts.gather(rows).to_numpy()
            shuffled = np.array([score(text) for text in others]) / counts.gather(rows).to_numpy()
            logs[rows], gains[rows] = -per_word, (per_word - shuffled) / -per_word
    return logs, gains


@lru_cache(maxsize=8)
def _model(path: str) -> Any:
    import kenlm

    settings = kenlm.Config()
    settings.show_progress = False
    settings.arpa_complain = kenlm.ARPALoadComplain.NONE  # the note that a binary file would load faster
    return kenlm.Model(path, settings)


STAGE = FragmentStage(
    name="perplexity_decisions",
    block="perplexity",
    description=("Documents whose perplexity is far above that of others in their language: noise, menus, lists."),
    kinds=("python", "polars", "kenlm"),
    after=("heuristics",),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    signals=signals,
    decide=decide,
    signal_settings=("notes",),
    filters=(
        TrainedFilter(
            name="perplexity_model",
            version=MODEL_VERSION,
            description=(
                "An n-gram language model for each language (modified Kneser-Ney), trained on reference text. "
                "Text of very high perplexity is seldom prose."
            ),
            kinds=("python", "kenlm"),
            make=make_model,
        ),
    ),
)
