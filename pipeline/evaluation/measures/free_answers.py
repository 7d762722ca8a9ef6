"""Questions answered in free text, greedily: GSM8K by its exact number, IFEval by constraints that a program checks."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from pipeline.evaluation.free import constraints
from pipeline.evaluation.free.answer_sets import AnswerSet, FreeQuestion, last_number, stated_number
from pipeline.evaluation.held_back import prompt_ids
from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.tasks import task_items
from pipeline.evaluation.tasks.covered_questions import figures_without
from pipeline.evaluation.tasks.scored import with_interval

TABLE = "free_answers"
NEXT_QUESTION = "Question:"  # where a model that continues text begins another one
ANSWER: dict[str, Any] = {
    "set": pl.String, "item": pl.Int64, "prompt": pl.String, "answer": pl.String, "ended": pl.Boolean,
    "reference": pl.String, "constraint": pl.List(pl.String), "strict": pl.List(pl.Boolean),
    "loose": pl.List(pl.Boolean), "covered": pl.Boolean,
}  # fmt: skip
# Ways to judge an answer: GSM8K by the number after `####`, or by the last one; IFEval as the answer is, or as any of
# its variants is.
WAYS = ("strict", "loose")


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Figures by set, and every answer with what was checked of it."""
    groups: dict[str, Any] = {}
    tables: list[pl.DataFrame] = []
    for number, chosen in enumerate(settings.free_answers):
        questions = task_items.read_free(subject.inputs["evaluation_tasks"], chosen.name)
        subject.log(f"answering {len(questions):,} questions of {chosen.name}")
        covered = subject.coverage.of_items(chosen.name) if subject.coverage else None
        rows = answered(subject, chosen, questions)
        if covered:
            known = pl.Series([covered.get(item) for item in rows["item"]], dtype=pl.Boolean)
            rows = rows.with_columns(covered=known)
        tables.append(rows)
        groups[chosen.name] = figures(rows, chosen.form, subject.seed, covered is not None)
        subject.progress(number + 1, len(settings.free_answers))
    return Result(groups, tables={TABLE: pl.concat(tables)})


def answered(subject: Subject, chosen: AnswerSet, questions: list[FreeQuestion]) -> pl.DataFrame:
    """A row for each question, in the columns of ANSWER. Of a prompt too long for the context, the end counts."""
    from model.generate_together import generate_together

    tokenizer, context = subject.tokenizer, subject.network.config.context
    if chosen.as_turn:
        prompts = [prompt_ids(tokenizer, [{"role": "user", "content": one.prompt}]) for one in questions]
    else:
        texts = [f"{NEXT_QUESTION} {one.prompt}\nAnswer:" for one in questions]
        prompts = [[tokenizer.document_start, *ids.tolist()] for ids in tokenizer.encode(texts)]
    room = max(context - chosen.tokens, context // 2)
    ids = [one[-room:] for one in prompts]
    stop = (tokenizer.ids["<|im_end|>"], tokenizer.ids["<eos>"])
    most = min(chosen.tokens, context - room)
    outputs = generate_together(subject.generating, ids, most, stop_ids=stop)
    rows = []
    for item, (one, output) in enumerate(zip(questions, outputs, strict=True)):
        text = tokenizer.decode(output)
        answer = text if chosen.as_turn else text.partition(NEXT_QUESTION)[0]
        rows.append({
            "set": chosen.name, "item": item, "prompt": one.prompt, "answer": answer,
            "ended": len(output) < most or answer != text, "reference": one.reference, "covered": None,
            **checked(one, answer),
        })  # fmt: skip
    return pl.DataFrame(rows, schema=ANSWER)


def checked(question: FreeQuestion, answer: str) -> dict[str, Any]:
    """constraint, strict, loose: of GSM8K, the number after `####`, and the last number; of IFEval, each constraint."""
    if question.reference:
        stated, last = stated_number(answer) == question.reference, last_number(answer) == question.reference
        return {"constraint": ["number"], "strict": [stated], "loose": [last]}
    given = [(name, json.loads(arguments)) for name, arguments in question.constraints]
    return {
        "constraint": [name for name, _ in given],
        "strict": [constraints.followed(name, arguments, answer) for name, arguments in given],
        "loose": [constraints.followed_loosely(name, arguments, answer) for name, arguments in given],
    }


def figures(rows: pl.DataFrame, form: str, seed: int, searched: bool) -> dict[str, Any]:
    """Shares (0-1) of questions that are answered rightly or whose constraints are all followed, strictly and loosely,
    with intervals; of IFEval also the shares of constraints, all and by kind."""
    by_row = rows.select(*(pl.col(name).list.all().cast(pl.Float64) for name in WAYS), "covered")
    found: dict[str, Any] = {"items": rows.height, "ended": round(float(rows["ended"].mean()), 4)}  # type: ignore[arg-type]
    found |= {name: with_interval(by_row[name].to_numpy(), seed) for name in WAYS}
    if searched:
        found["without_covered"] = figures_without(by_row, {name: name for name in WAYS}, seed)
    if form == "ifeval":
        every = rows.select("constraint", "strict", "loose").explode("constraint", "strict", "loose")
        found["constraints"] = {"count": every.height, **_shares(every)}
        kinds = every.with_columns(kind=pl.col("constraint").str.replace(r"^[a-z]{2}:", "")).partition_by(
            "kind", as_dict=True
        )
        found["by_constraint"] = {
            str(kind): {"count": part.height, **_shares(part)} for (kind,), part in sorted(kinds.items())
        }
    return found


def _shares(rows: pl.DataFrame) -> dict[str, float]:
    return {name: round(float(rows[name].mean()), 4) for name in WAYS}  # type: ignore[arg-type]


MEASURE: Measure[MeasureSettings] = Measure(
    name="free_answers",
    description="questions answered in free text: right numbers, and constraints that are followed",
    run=run,
    needs=("evaluation_tasks",),
    enabled=lambda settings: bool(settings.free_answers),
    headlines=(
        Headline("*.strict.value", "strict.*", higher_is_better=True, words="{key}, as asked"),
        Headline("*.loose.value", "loose.*", higher_is_better=True, words="{key}, loosely"),
    ),
)
