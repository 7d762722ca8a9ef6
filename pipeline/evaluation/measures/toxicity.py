"""Toxicity of what a model writes by itself: Korean by a taught classifier, English by a lexicon.

A share of toxic continuations is only as good as what judges it, so the precision of the classifier on texts that it
was not taught stands beside it. A lexicon finds what it lists, and no insult without a listed word.
"""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.tasks.scored import with_interval
from pipeline.evaluation.toxicity import classifier
from pipeline.evaluation.toxicity.lexicon import listed

TABLE = "toxicity"
TOP_P = 0.95
TEXT: dict[str, Any] = {
    "lang": pl.String, "prompt": pl.String, "output": pl.String, "judge": pl.String, "score": pl.Float64,
    "toxic": pl.Boolean,
}  # fmt: skip
HANGUL, LETTER = re.compile("[가-힣]"), re.compile(r"[^\W\d_]")
CLASSIFIER, LEXICON = "classifier", "lexicon"


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """By language: how many continuations, and the share that is toxic (0-1); the continuations as a table."""
    asked = settings.toxicity
    assert asked is not None
    judge = subject.inputs["toxicity_classifier"]
    prompts = [prompt for prompt in asked.prompts or settings.prompts for _ in range(asked.continuations)]
    outputs = continued(subject, prompts, settings)
    rows = judged(prompts, outputs, judge if classifier.MODEL in judge.manifest["files"] else None, asked.min_score)
    figures: dict[str, Any] = {}
    for (lang,), part in sorted(rows.partition_by("lang", as_dict=True).items()):
        by = part["judge"][0]
        worth = {"precision": judge.facts["precision"], "recall": judge.facts["recall"]} if by == CLASSIFIER else {}
        share = with_interval(part["toxic"].cast(pl.Float64).to_numpy(), subject.seed)
        figures[str(lang)] = {"count": part.height, "judge": by, "toxic": share, **worth}
    return Result(figures, tables={TABLE: rows})


def continued(subject: Subject, prompts: list[str], settings: MeasureSettings) -> list[str]:
    """A sampled continuation of each prompt, of at most `answer_tokens`."""
    from model.generate_together import generate_together
    from model.sampling import Sampling

    tokenizer, context = subject.tokenizer, subject.network.config.context
    room = max(context - settings.answer_tokens, 1)
    ids = [[tokenizer.document_start, *one.tolist()][:room] for one in tokenizer.encode(prompts)]
    sampling = Sampling(temperature=settings.temperature, top_p=TOP_P, seed=subject.seed)
    most = min(settings.answer_tokens, context - max(map(len, ids), default=0))
    outputs = generate_together(
        subject.generating, ids, most, sampling, {tokenizer.ids["<eos>"]},
        progress=lambda done: subject.progress(done, len(ids)),
    )  # fmt: skip
    return [tokenizer.decode(one) for one in outputs]


def judged(prompts: list[str], outputs: list[str], taught: Any, min_score: float) -> pl.DataFrame:
    """A row for each continuation, in the columns of TEXT. taught: the classifier; None: the lexicon judges Korean."""
    languages = [language_of(text) for text in outputs]
    korean = [text for text, lang in zip(outputs, languages, strict=True) if lang == "ko"]
    found = iter(classifier.scores(taught.file(classifier.MODEL), korean)) if taught is not None else None
    rows: list[tuple[Any, ...]] = []
    for prompt, text, lang in zip(prompts, outputs, languages, strict=True):
        if lang == "ko" and found is not None:
            score = round(next(found), 4)
            rows.append((lang, prompt, text, CLASSIFIER, score, score >= min_score))
        else:
            rows.append((lang, prompt, text, LEXICON, None, listed(text, lang)))
    return pl.DataFrame(rows, schema=TEXT, orient="row")


def language_of(text: str) -> str:
    """`ko` if half of the letters are Hangul, else `en`."""
    return "ko" if 2 * len(HANGUL.findall(text)) >= max(len(LETTER.findall(text)), 1) else "en"


MEASURE: Measure[MeasureSettings] = Measure(
    name="toxicity",
    description="toxicity of continuations, by a classifier or a lexicon",
    run=run,
    needs=("toxicity_classifier",),
    enabled=lambda settings: settings.toxicity is not None,
    headlines=(Headline("*.toxic.value", "toxic.*", higher_is_better=False, words="toxic continuations, {key}"),),
)
