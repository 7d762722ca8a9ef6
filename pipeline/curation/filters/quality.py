"""Good and poor text: a scorer of English pages, or a classifier that is taught with a reference of one's own.

Without a reference, English is scored by a linear scorer over figures of the heuristics, taught with human labels of
web pages (`page_scorer.py`); other languages and code are not judged, since no labels of them are at hand.

With a reference, a fastText classifier for each language distinguishes it from other text, after GPT-3's filter and
DCLM (Li et al. 2024): good examples are documents of reference sources, poor examples a sample of all other sources.
The classifier measures resemblance, not quality itself, so only the documents that resemble the reference least are
removed, and only if the classifier is sure.
"""

from __future__ import annotations

import json
import tempfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field, ValidationInfo, field_validator

from pipeline.context import Inputs, RunContext
from pipeline.curation.filters import learning_sample, page_scorer
from pipeline.curation.filters.learning_sample import Sample, identity_of
from pipeline.curation.filters.model_text import FOLDS, KINDS, model_input
from pipeline.curation.filters.own_writing import OfPages
from pipeline.curation.filters.perplexity import check_reference
from pipeline.curation.rules import Limit, Rule, decided_by
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import FragmentStage, TrainedFilter, scatter, stage_inputs
from pipeline.settings import MAX_CHARACTERS, MAX_DOCUMENTS
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_whole
from pipeline.text.characters import count_kinds
from pipeline.text.kinds import detect_code, kinds_of_prose, mixed

VERSION = "2"  # English pages are scored where no reference is named; all signals in one form
MODEL_VERSION = "4"  # a scorer where no reference is named, in place of classifiers that the heuristics teach
RULES = (
    Rule(
        "low_quality",
        "the classifier finds it unlike the reference text",
        "after GPT-3 (Brown et al. 2020, appendix A) and DCLM (Li et al. 2024)",
        limits=(Limit("quality", "<", "min_quality"), Limit("rank", "<", "max_removed")),
        every=True,
        switches=("reference",),
    ),
    Rule(
        "poor_page",
        "an English page whose words, lines and marks are those of pages that people call poor",
        "taught with 318 human labels of web pages published with DCLM (Li et al. 2024): docs/results/filters.md",
        limits=(Limit("page_score", "<", "min_score"),),
    ),
)
REASONS = meanings_of(RULES)
WITH_REFERENCE = ("characters", "min_documents", "min_quality", "max_removed")  # settings that need a reference
MODEL_SETTINGS = ("reference", "characters", "min_documents")
BOUNDS = "bounds.json"
SCORER = "scorer.json"
REFERENCE, OTHERS = "reference", "others"  # groups of the sample
GOOD, POOR = "__label__good", "__label__poor"
# fastText: with one thread, training is deterministic. N-grams are word pairs, for Hangul triples of syllables.
TRAINING = {"lr": 0.5, "dim": 8, "bucket": 100_000, "minCount": 2, "thread": 1, "seed": 1, "verbose": 0}
EXAMPLES_SEEN = 20_000  # training steps, one per document and epoch: the fewer the documents, the more epochs
N_GRAMS = {"ko": 3, "spaced": 2}


class Settings(OfPages):
    reference: list[str] = Field(
        [],
        description="sources of good text, which teach a classifier of each language; empty: English pages are scored, "
        "other text is not judged",
    )
    characters: int = Field(
        10_000_000,
        gt=0,
        le=MAX_CHARACTERS,
        description="most characters of each language, for good and for poor text, to train on",
    )
    min_documents: int = Field(
        20,
        ge=1,
        le=MAX_DOCUMENTS,
        description="with a reference: documents in a language with fewer good or poor examples are not judged",
    )
    min_quality: float = Field(
        0.05,
        ge=0,
        le=1,
        description="with a reference: removed below this probability of being good, if also among the lowest "
        "`max_removed`",
    )
    max_removed: float = Field(
        0.01,
        ge=0,
        le=1,
        description="with a reference: largest share of a language's documents to remove (approximate): the least "
        "probable ones",
    )
    scorer: str | None = Field(
        None,
        description="a scorer of English pages that `slm quality teach` wrote, relative to the recipe's folder; "
        "default: the one that comes with the project",
    )
    min_score: float = Field(
        page_scorer.load(page_scorer.SHIPPED).min_score,
        ge=0,
        le=1,
        description="without a reference: English pages below this score are removed (`slm quality teach` names the "
        "limit of another scorer)",
    )

    @field_validator("scorer")
    @classmethod
    def _from_the_recipe(cls, scorer: str | None, info: ValidationInfo) -> str | None:
        base = (info.context or {}).get("base")
        return str(Path(base) / scorer) if base and scorer else scorer


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """With a reference: `quality` (f32, probability of being good), `rank` (f32, share of the corpus below it).

    Without: `page_score` (f32, probability of being a good page), `weakest` (String, the figure that lowers it most)
    and the figures themselves (f32, see `page_scorer.figures_of`).

    Null where the document is not judged: code, text without spaces, languages without a model; without a reference,
    all but English, and a person's own writing.
    """
    directory = models["quality_model"]
    if (directory / SCORER).exists():
        return _by_scorer(documents, directory / SCORER, settings)
    return _by_classifier(documents, directory)


def _by_classifier(documents: pl.DataFrame, directory: Path) -> pl.DataFrame:
    frame = model_input(documents)
    quality = _qualities(frame, directory)
    rank = np.full(frame.height, np.nan)
    for kind, quantiles in json.loads((directory / BOUNDS).read_text()).items():
        rows = np.flatnonzero((frame["kind"] == kind).to_numpy() & ~np.isnan(quality))
        rank[rows] = np.searchsorted(quantiles, quality[rows], side="left") / len(quantiles)
    columns = {"quality": quality, "rank": rank}
    found = pl.DataFrame({name: pl.Series(values, dtype=pl.Float32).fill_nan(None) for name, values in columns.items()})
    return _with_all_columns(found)


def _by_scorer(documents: pl.DataFrame, path: Path, settings: Settings) -> pl.DataFrame:
    english = (documents["lang"] == "en").fill_null(False) & ~settings.own_writing(documents)
    if english.any():
        english &= ~detect_code(documents)[0]
    # A page of names and commands may be called English although its sentences are not.
    letters = count_kinds(documents["text"].filter(english).str.slice(0, page_scorer.READ))
    english = english.scatter(english.arg_true(), (kinds_of_prose(letters) == "spaced") & ~mixed(letters))
    figures = page_scorer.figures_of(documents["text"].filter(english))
    scored = page_scorer.score(figures, page_scorer.load(path))
    return _with_all_columns(scatter(scored.hstack(figures), english))


def _with_all_columns(found: pl.DataFrame) -> pl.DataFrame:
    names = ("quality", "rank", "page_score", "weakest", *page_scorer.FIGURES)
    kinds = {"weakest": pl.String}
    none = [pl.lit(None, kinds.get(name, pl.Float32)).alias(name) for name in names if name not in found.columns]
    return found.with_columns(none).select(names)


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Remove English pages of a low score, or what is unlikely to be good and ranks among the lowest.

    The score is the probability of being good.
    """
    return decided_by(signals, RULES, settings, pl.coalesce("quality", "page_score"))


def make_model(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """The artifact `quality_model`: with a reference, `<kind>-<fold>.bin` for each language with enough examples, and
    the ranks, made from `quality_sample` alone; without, a copy of the scorer.

    inputs: raw_documents, previous. Raises UserError if `reference` names something that is not a source of the recipe.
    """
    check_reference("quality", settings.reference, context.sources)
    if settings.enabled and not settings.reference:
        for name in sorted(settings.model_fields_set & set(WITH_REFERENCE)):
            context.log(
                f"`curation.quality.{name}` has no effect without `reference`: set `min_score`, or name a reference"
            )
        return _made_of_scorer(context, page_scorer.load(Path(settings.scorer or page_scorer.SHIPPED)))
    learned = {name: value for name, value in settings.model_dump(mode="json").items() if name in MODEL_SETTINGS}
    sampled = sample(context, inputs, settings) if settings.enabled else None

    def build(draft: Draft) -> None:
        if sampled is None:
            write_whole(draft.path(BOUNDS), "{}\n")
        else:
            draft.facts = train(sampled, settings, draft)

    return context.store.make(
        "quality_model",
        code_version=MODEL_VERSION,
        settings={"enabled": settings.enabled, **learned},
        inputs={} if sampled is None else {"quality_sample": sampled.identity},
        build=build,
        log=context.log,
    )


def _made_of_scorer(context: RunContext, scorer: page_scorer.Scorer) -> Artifact:
    def build(draft: Draft) -> None:
        write_whole(draft.path(SCORER), page_scorer.as_file(scorer))
        draft.facts = {"taught": scorer.taught}

    return context.store.make(
        "quality_model",
        code_version=MODEL_VERSION,
        settings={"enabled": True, "scorer": scorer.model_dump(mode="json")},
        inputs={},
        build=build,
        log=context.log,
    )


def sample(context: RunContext, inputs: Inputs, settings: Settings) -> Sample:
    """The documents that the classifiers learn from: the reference and all other sources."""
    documents, _ = stage_inputs(inputs)
    present = {documents.source(name) for name in documents.fragments}
    groups = {OTHERS: present - set(settings.reference), REFERENCE: present & set(settings.reference)}
    return learning_sample.make(context, "quality_sample", documents, groups, settings.characters)


def train(sampled: Sample, settings: Settings, draft: Draft) -> dict[str, Any]:
    """Write the classifiers and the ranks to the draft; returns the facts of each language.

    A classifier is remembered by its examples, so a changed document that is not among them causes no training.
    """
    everything = sampled.read()
    reference, others = (everything.filter(pl.col("group") == name) for name in (REFERENCE, OTHERS))
    examples = _by_source(reference, others)
    corpus = pl.concat([reference, others]).filter("kept")
    directory = draft.path(".")
    bounds: dict[str, list[float]] = {}
    facts: dict[str, Any] = {}
    for kind in sorted({*KINDS, *examples["kind"]}):
        of_kind = examples.filter(pl.col("kind") == kind)
        counts = {
            name: of_kind.filter(pl.col("good") == good).height for name, good in (("good", True), ("poor", False))
        }
        facts[kind] = counts
        if min(counts.values()) < settings.min_documents:
            draft.log(
                f"quality_model: {counts['good']} good and {counts['poor']} poor documents of `{kind}` are too few "
                "to learn from; it is not judged"
            )
            continue
        for number in range(FOLDS):
            balanced = _balanced(of_kind.filter(pl.col("fold") != number))
            if balanced.height:
                key = {"version": MODEL_VERSION, "good": balanced["good"].to_list(), **identity_of(balanced)}
                draft.file(f"{kind}-{number}.bin", key, partial(_train_classifier, balanced, kind))
        values = _qualities(model_input(corpus.filter(pl.col("kind") == kind)), directory)
        if len(values):
            bounds[kind] = [round(float(value), 5) for value in np.percentile(values, np.arange(0, 100.1, 0.5))]
    write_whole(directory / BOUNDS, json.dumps(bounds) + "\n")
    return facts


def _by_source(reference: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Examples with the column `good`: kept documents of the reference are good, those of other sources poor."""
    return pl.concat(
        [reference.filter("kept").with_columns(good=pl.lit(True)), others.with_columns(good=pl.lit(False))]
    )


def _balanced(examples: pl.DataFrame) -> pl.DataFrame:
    """Equal numbers of good and poor examples, alternating, in their random order."""
    fewer = min(int(examples["good"].sum()), int((~examples["good"]).sum()))
    balanced = examples.with_columns(turn=pl.int_range(pl.len()).over("good")).filter(pl.col("turn") < fewer)
    return balanced.sort("turn", "good")


def _train_classifier(balanced: pl.DataFrame, kind: str, path: Path) -> dict[str, Any]:
    import fasttext

    label = pl.when("good").then(pl.lit(GOOD)).otherwise(pl.lit(POOR))
    lines = balanced.with_columns(model_input(balanced)["words"]).select(pl.concat_str(label, "words", separator=" "))
    epochs = min(max(EXAMPLES_SEEN // balanced.height, 5), 100)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "examples.txt", Path(folder) / "model.bin"
        source.write_text("\n".join(lines.to_series()) + "\n", encoding="utf-8")
        model = fasttext.train_supervised(
            str(source), epoch=epochs, wordNgrams=N_GRAMS.get(kind, N_GRAMS["spaced"]), **TRAINING
        )
        model.save_model(str(target))
        write_whole(path, target.read_bytes())
    return {"examples": balanced.height}


def _qualities(frame: pl.DataFrame, directory: Path) -> np.ndarray:
    """Probability of being good for rows of kind, fold and words; NaN without a model or without words."""
    quality = np.full(frame.height, np.nan)
    for kind in sorted(frame["kind"].unique()):
        for number in range(FOLDS):
            path = directory / f"{kind}-{number}.bin"
            if not path.exists():
                continue
            with_text = (frame["kind"] == kind) & (frame["fold"] == number) & (frame["words"].str.len_bytes() > 0)
            rows = with_text.arg_true().to_numpy()
            if len(rows):
                labels, sureness = _model(str(path)).predict(frame["words"].gather(rows).to_list())
                good = np.array([one[0] == GOOD for one in labels])
                sure = np.minimum([float(one[0]) for one in sureness], 1.0)
                quality[rows] = np.where(good, sure, 1 - sure)
    return quality


@lru_cache(maxsize=8)
def _model(path: str) -> Any:
    import fasttext

    return fasttext.load_model(path)


STAGE = FragmentStage(
    name="quality_decisions",
    block="quality",
    description="English pages that look like those people call poor, or text that is unlike a reference of one's own.",
    kinds=("python", "polars", "fasttext"),
    after=("heuristics",),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    signals=signals,
    decide=decide,
    signal_settings=("notes",),
    in_models=("scorer",),
    filters=(
        TrainedFilter(
            name="quality_model",
            version=MODEL_VERSION,
            description=(
                "A scorer of English pages; with a reference, a fastText classifier that distinguishes it from other "
                "text, trained by one thread, so that training is deterministic."
            ),
            kinds=("python", "fasttext"),
            make=make_model,
        ),
    ),
)
