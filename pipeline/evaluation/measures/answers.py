"""The model's answers to held-back questions, decoded greedily, so that they depend on the model alone.

Prompts are encoded as in training (`held_back.py`), and an answer ends where the model ends it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.evaluation import diversity, text_overlap
from pipeline.evaluation.held_back import prompt_ids, sample_questions
from pipeline.evaluation.measure import SAMPLE, Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer

HANGUL = re.compile(r"[가-힣]")
LETTER = re.compile(r"[^\W\d_]")


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Figures of the answers to held-back questions of `instruction_data`, and the answers as samples."""
    held_back = pl.read_parquet(subject.inputs["instruction_data"].table("held_back"))
    questions = sample_questions(held_back, settings.answers)
    subject.log(f"answering {questions.height:,} held-back questions")
    answered = answer(
        subject.generating,
        subject.tokenizer,
        questions,
        settings.answer_tokens,
        lambda done: subject.progress(done, questions.height),
    )
    return Result(summarise(answered), answered)


def answer(
    model: Transformer, tokenizer: Tokenizer, questions: pl.DataFrame, most_new: int, progress: Callable[[int], None]
) -> pl.DataFrame:
    """One row per question, in the columns of SAMPLE.

    questions: messages (the last one is the reference answer), source, lang. A prompt that leaves too little of the
    context for the answer loses its start, but keeps at least half a context.
    """
    from model.generate import generate

    stop = tokenizer.ids["<|im_end|>"], tokenizer.ids["<eos>"]
    rows = []
    for done, row in enumerate(questions.iter_rows(named=True)):
        *before, reference = row["messages"]
        ids = prompt_ids(tokenizer, before)
        ids = ids[-max(model.config.context - most_new, model.config.context // 2) :]
        room = min(most_new, model.config.context - len(ids))
        output = list(generate(model, ids, room, stop_ids=stop))
        rows.append({
            "kind": "answer", "source": row["source"], "lang": row["lang"], "prompt": before[-1]["content"],
            "output": tokenizer.shown(output), "reference": reference["content"], "ended": len(output) < room,
        })  # fmt: skip
        progress(done + 1)
    return pl.DataFrame(rows, schema=SAMPLE)


def summarise(answered: pl.DataFrame) -> dict[str, Any]:
    """Figures of answers (output, reference, lang, ended), overall and by language."""
    if not answered.height:
        return {"count": 0}
    by_language: dict[str, Any] = {}
    for (lang,), part in sorted(
        answered.with_columns(pl.col("lang").fill_null("?")).partition_by("lang", as_dict=True).items()
    ):
        outputs, references = part["output"].to_list(), part["reference"].to_list()
        by_language[str(lang)] = {
            "count": part.height,
            **text_overlap.bleu(outputs, references, lang=str(lang)),
            **text_overlap.rouge(outputs, references),
            **diversity.figures(outputs),
            **form(part),
        }
    return {
        "count": answered.height,
        **text_overlap.rouge(answered["output"].to_list(), answered["reference"].to_list()),
        **form(answered),
        "by_language": by_language,
    }


def form(answers: pl.DataFrame) -> dict[str, float]:
    """Shares (0-1) of answers with a given form, whether they are right or not.

    exact: equal to the reference, apart from white space and case; ended: ended by the model; empty: white space only;
    repetitive: more than half of the four-word sequences repeat earlier ones; same_script: has Hangul if and only if
    the reference does; parses (code only): is valid Python. Nothing is executed.
    """
    if not answers.height:
        return {}
    outputs, references = answers["output"].to_list(), answers["reference"].to_list()
    pairs = list(zip(outputs, references, strict=True))
    shares = {
        "exact": _share(" ".join(o.lower().split()) == " ".join(r.lower().split()) for o, r in pairs),
        "ended": _share(answers["ended"].to_list()),
        "empty": _share(not o.strip() for o in outputs),
        "repetitive": _share(repetition(o) > 0.5 for o in outputs),
        "same_script": _share(
            bool(HANGUL.search(o)) == bool(HANGUL.search(r)) and bool(LETTER.search(o)) for o, r in pairs
        ),
    }
    code = answers.filter(lang="code")["output"].to_list()
    if code:
        shares["parses"] = _share(parses(o) for o in code)
    return shares


def repetition(text: str) -> float:
    """Share of four-word sequences that repeat an earlier one in the text (0 for a shorter text)."""
    words = text.split()
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def parses(text: str) -> bool:
    """Whether the text is valid Python with at least one statement."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _share(values: Iterable[object]) -> float:
    flags = [bool(v) for v in values]
    return round(sum(flags) / len(flags), 4) if flags else 0.0


MEASURE: Measure[MeasureSettings] = Measure(
    name="answers",
    description="BLEU, chrF, TER, ROUGE, diversity and form of the answers to held-back questions, by language",
    run=run,
    needs=("instruction_data",),
    enabled=lambda settings: settings.answers > 0,
    headlines=(
        Headline("rougeL", "rougeL", higher_is_better=True),
        Headline("exact", "exact", higher_is_better=True),
        Headline("ended", "ended", higher_is_better=True),
        Headline("repetitive", "repetitive", higher_is_better=False),
        Headline(
            "by_language.*.bleu", "bleu.*", higher_is_better=True, words="BLEU, {key} ({count} answers)", digits=2
        ),
    ),
)
