"""A fastText classifier for each language that distinguishes reference text from other text.

After GPT-3's filter and DCLM (Li et al. 2024): good examples are documents of reference sources, poor examples a sample
of all other sources. If the recipe names no reference, the heuristic rules provide the labels: documents well within
all rules are good, documents that break one are poor. The classifier measures resemblance, not quality itself, so only
the documents that resemble the reference least are removed, and only if the classifier is sure.
"""

from __future__ import annotations

import json
import tempfile
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from pipeline.context import Inputs, RunContext
from pipeline.curation.filters import heuristics, learning_sample
from pipeline.curation.filters.learning_sample import Sample, identity_of
from pipeline.curation.filters.model_text import FOLDS, KINDS, model_input, sample_order
from pipeline.curation.filters.perplexity import check_reference
from pipeline.curation.rules import Limit, Rule, decided_by
from pipeline.documents.reasons import meanings_of
from pipeline.documents.stage import FragmentStage, TrainedFilter, stage_inputs
from pipeline.settings import MAX_CHARACTERS, MAX_DOCUMENTS, StageSettings
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.tables import write_whole

VERSION = "1"
MODEL_VERSION = "3"  # each language is a kind of its own
RULES = (
    Rule(
        "low_quality",
        "the classifier finds it unlike the reference text",
        "after GPT-3 (Brown et al. 2020, appendix A) and DCLM (Li et al. 2024)",
        limits=(Limit("quality", "<", "min_quality"), Limit("rank", "<", "max_removed")),
        every=True,
    ),
)
REASONS = meanings_of(RULES)
MODEL_SETTINGS = ("reference", "characters", "min_documents")
BOUNDS = "bounds.json"
REFERENCE, OTHERS = "reference", "others"  # groups of the sample
GOOD, POOR = "__label__good", "__label__poor"
# fastText: with one thread, training is deterministic. N-grams are word pairs, for Hangul triples of syllables.
TRAINING = {"lr": 0.5, "dim": 8, "bucket": 100_000, "minCount": 2, "thread": 1, "seed": 1, "verbose": 0}
EXAMPLES_SEEN = 20_000  # training steps, one per document and epoch: the fewer the documents, the more epochs
N_GRAMS = {"ko": 3, "spaced": 2}
# Well within the rules: the good examples if no reference is named.
WELL_WITHIN = (
    (pl.col("words") >= 80)
    & (pl.col("sentences") >= 5)
    & (pl.max_horizontal("ended_lines", "ends") >= 0.4)
    & (pl.col("alpha_words") >= 0.9)
    & (pl.col("dup_line_chars") <= 0.02)
    & (pl.col("dup_5") <= 0.05)
    & (pl.col("bullet_lines") <= 0.2)
    & (pl.col("hashes") <= 0.03)
    & (pl.col("markup") <= 0.02)
    & pl.when(pl.col("kind") == "ko")
    .then(pl.col("korean_endings") >= 10)
    .otherwise(pl.col("stop_words").fill_null(6) >= 6)
)
# Rules that words do not reflect: language, length, and repetition, which good documentation breaks too.
UNSEEN = (
    "gopher_stop_words",
    "gopher_word_length",
    "gopher_long",
    "gopher_dup_lines",
    "gopher_dup_paragraphs",
    "gopher_top_ngram",
    "gopher_dup_ngrams",
    "fineweb_dup_line_chars",
)


class Settings(StageSettings):
    reference: list[str] = Field(
        [],
        description="sources of good text; empty: documents well within the heuristics, against those that break one",
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
        description="documents in a language with fewer good or poor examples than this are not judged",
    )
    min_quality: float = Field(
        0.05,
        ge=0,
        le=1,
        description="removed below this probability of being good, if also among the lowest `max_removed`",
    )
    max_removed: float = Field(
        0.01,
        ge=0,
        le=1,
        description="largest share of a language's documents to remove (approximate): the least probable ones",
    )


def signals(documents: pl.DataFrame, settings: Settings, models: dict[str, Path]) -> pl.DataFrame:
    """`quality` (f32, probability of being good) and `rank` (f32, share of the corpus with a lower one).

    Null where the document is not judged: code, text without spaces, languages without a model.
    """
    frame = model_input(documents)
    directory = models["quality_model"]
    quality = _qualities(frame, directory)
    rank = np.full(frame.height, np.nan)
    for kind, quantiles in json.loads((directory / BOUNDS).read_text()).items():
        rows = np.flatnonzero((frame["kind"] == kind).to_numpy() & ~np.isnan(quality))
        rank[rows] = np.searchsorted(quantiles, quality[rows], side="left") / len(quantiles)
    columns = {"quality": quality, "rank": rank}
    return pl.DataFrame({name: pl.Series(values, dtype=pl.Float32).fill_nan(None) for name, values in columns.items()})


def decide(signals: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """Remove documents that are unlikely to be good and rank among the lowest; the score is the probability."""
    return decided_by(signals, RULES, settings, pl.col("quality"))


def make_model(context: RunContext, inputs: Inputs, settings: Settings) -> Artifact:
    """The artifact `quality_model`: `<kind>-<fold>.bin` for each language with enough examples, and the ranks.

    inputs: raw_documents, previous. It is made from `quality_sample` alone. Raises UserError if `reference` names
    something that is not a source of the recipe.
    """
    check_reference("quality", settings.reference, context.sources)
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
    examples = _by_source(reference, others) if settings.reference else _by_rules(others)
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


def _by_rules(everything: pl.DataFrame) -> pl.DataFrame:
    """Examples with the column `good`: kept documents well within the heuristics are good, those that break one
    poor."""
    columns = heuristics.signals(everything, heuristics.Settings(), {})
    broken = heuristics.decide(columns, heuristics.Settings())
    taught = everything.hstack(columns.select(well=WELL_WITHIN)).hstack(broken.select("keep", "reason"))
    good = taught.filter(pl.col("well") & pl.col("keep") & pl.col("kept")).with_columns(good=pl.lit(True))
    poor = taught.filter(~pl.col("keep") & ~pl.col("reason").is_in(UNSEEN)).with_columns(good=pl.lit(False))
    return pl.concat([good, poor]).select(*everything.columns, "good").sort(sample_order(), "doc_id")


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
    description="Documents that the quality classifier, with great certainty, finds unlike reference text.",
    kinds=("python", "polars", "fasttext"),
    after=("heuristics",),
    settings=Settings,
    version=VERSION,
    rules=RULES,
    signals=signals,
    decide=decide,
    filters=(
        TrainedFilter(
            name="quality_model",
            version=MODEL_VERSION,
            description=(
                "A fastText classifier that distinguishes reference text from other text. It is trained by one "
                "thread, so that training is deterministic."
            ),
            kinds=("python", "fasttext"),
            make=make_model,
        ),
    ),
)
