"""Answers of a fine-tuned model to questions about the made-up village, by kind and language, decoded greedily.

`pipeline/village/questions.py` says of each kind what is held back. An answer about a fact is right if it is the one
right answer, but for white space: a fine-tuned model has one form of answer. Of a story, the grammar is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.evaluation.held_back import prompt_ids
from pipeline.evaluation.measure import SAMPLE, Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.measures.village import by_language
from pipeline.village import facts
from pipeline.village.arithmetic import numbers_of
from pipeline.village.checker import check_story
from pipeline.village.questions import Question, evaluation_questions
from pipeline.village.world import World, world_of

KINDS_OF_NOT_KNOWING = ("unknown_person", "untold_fact")
TABLE = "village_answers"
SHOWN = 1  # answers of each kind and language among the samples


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Shares (0-1) of right answers by kind and language, and of those that the model ended; the answers as a table."""
    assert settings.village is not None
    questions = evaluation_questions(settings.village.seed)
    subject.log(f"answering {len(questions):,} questions about the village")
    answers = answered(subject, questions, world_of(settings.village.seed))
    samples = answers.group_by("kind", "lang", maintain_order=True).head(SHOWN).select(
        pl.lit("answer").alias("kind"), pl.lit("village").alias("source"), "lang", "prompt", "output", "reference",
        "ended",
    ).cast(pl.Schema(SAMPLE))  # fmt: skip
    return Result(figures_of(answers), samples, {TABLE: answers})


def answered(subject: Subject, questions: tuple[Question, ...], world: World) -> pl.DataFrame:
    """kind, lang, prompt, output, reference, right, ended; one row a question. right of a story: that it is about the
    person who was asked for; `consistent`, of stories alone, that the grammar reads it and finds no contradiction."""
    from model.generate_together import generate_together

    tokenizer, model = subject.tokenizer, subject.generating
    prompts = [prompt_ids(tokenizer, [{"role": "user", "content": one.question}]) for one in questions]
    stop = tokenizer.ids["<|im_end|>"], tokenizer.ids["<eos>"]
    context = model.config.context
    prompts = [ids[-(context // 2) :] for ids in prompts]
    outputs = generate_together(
        model, prompts, context, stop_ids=stop, progress=lambda done: subject.progress(done, len(prompts))
    )
    rows = []
    for one, prompt, ids in zip(questions, prompts, outputs, strict=True):
        text = tokenizer.decode(ids)
        rows.append({
            "kind": one.kind, "lang": one.lang, "prompt": one.question, "output": text, "reference": one.answer,
            **judged(one, text, world), "ended": len(prompt) + len(ids) < context,
        })  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"consistent": pl.Boolean}, infer_schema_length=None)


def judged(question: Question, answer: str, world: World) -> dict[str, bool | None]:
    """Whether an answer is right; of a story, also whether it is consistent."""
    said = " ".join(answer.split())
    if question.kind == "story":
        read = check_story(answer, question.lang, world)
        return {"right": read.hero == question.person, "consistent": read.grammatical and not read.contradictions}
    if question.kind == "sum":
        return {"right": numbers_of(said) == numbers_of(question.answer), "consistent": None}
    right = said == question.answer
    if question.kind in KINDS_OF_NOT_KNOWING:
        right = right or says_unknown(said, question.lang)
    return {"right": right, "consistent": None}


def says_unknown(answer: str, lang: str) -> bool:
    """Whether an answer, as a whole, says that one does not know the person, or does not know that of a person."""
    tables = facts.questions(lang)
    for pattern in (tables.UNKNOWN_PERSON, tables.NOBODY, tables.UNKNOWN_FACT):
        found = pattern.match(answer, level="plain")
        if found is not None and found[1] == len(answer):
            return True
    return False


def figures_of(answers: pl.DataFrame) -> Mapping[str, Any]:
    """kind -> language -> count, right, and of stories `consistent`; and the share of all answers that were ended."""
    figures: dict[str, Any] = {"ended": round(float(answers["ended"].sum()) / max(1, answers.height), 4)}
    for (kind,), part in sorted(answers.partition_by("kind", as_dict=True).items()):
        figures[str(kind)] = by_language(part, ("right", "consistent") if kind == "story" else ("right",))
    return figures


MEASURE: Measure[MeasureSettings] = Measure(
    name="village_answers",
    description="answers to held-back questions about the made-up village, by kind and language",
    run=run,
    needs=("instruction_data",),
    enabled=lambda settings: settings.village is not None,
    headlines=(
        Headline("phrasing.*.right", "village.phrasings.*", higher_is_better=True,
                 words="right answers to new phrasings, {key} ({count} asked)"),
        Headline("person.*.right", "village.people.*", higher_is_better=True,
                 words="right answers about people never asked about, {key} ({count} asked)"),
    ),
)  # fmt: skip
