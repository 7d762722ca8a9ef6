"""A few held-back questions, answered by a tuned model and by the model that it was made from, side by side.

Figures say how much a tuning changed; these say what. An answer is better than the one before if it is closer to the
reference, by the characters that they share (chrF, Popović 2015), by more than MARGIN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.evaluation.held_back import sample_questions
from pipeline.evaluation.measure import Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.measures.answers import answer

if TYPE_CHECKING:
    from model.transformer import Transformer

QUESTIONS = 5
MARGIN = 5.0  # of 100; a word more or less in a short answer
TABLE = "before_after"
BETTER, WORSE, SAME = "better", "worse", "same"


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """How many of the questions are answered better and worse, and all answers as a table.

    Columns of the table: lang, prompt, reference, before, after, before_score and after_score (chrF, 0-100), change
    (better, worse or same).
    """
    held_back = pl.read_parquet(subject.inputs["instruction_data"].table("held_back"))
    questions = chosen(held_back)
    if not questions.height:
        return Result()
    before = answer(base_of(subject), subject.tokenizer, questions, settings.answer_tokens, lambda done: None)
    after = answer(subject.generating, subject.tokenizer, questions, settings.answer_tokens, lambda done: None)
    table = judged(before, after)
    counts = {change: table.filter(change=change).height for change in (BETTER, WORSE, SAME)}
    return Result({"count": table.height, **counts}, tables={TABLE: table})


def chosen(held_back: pl.DataFrame) -> pl.DataFrame:
    """QUESTIONS of the held-back ones, from each language in turn; always the same."""
    spread = sample_questions(held_back, held_back.height)
    turn = pl.int_range(pl.len()).over("lang")
    return spread.with_columns(turn=turn).sort("turn", "lang", maintain_order=True).head(QUESTIONS).drop("turn")


def base_of(subject: Subject) -> Transformer:
    """The network that the model was made from, arranged for generating."""
    from model.decoding import arrange
    from model.export import load

    weights = subject.generating.output_weight
    return arrange(load(subject.inputs["base"].local_directory(), weights.dtype).to(weights.device).eval())


def judged(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The answers side by side; both in the columns of SAMPLE, of the same questions."""
    table = after.select("lang", "prompt", "reference", before=before["output"], after="output")
    scores = {
        f"{column}_score": pl.Series([likeness(*pair) for pair in table.select(column, "reference").iter_rows()])
        for column in ("before", "after")
    }
    gain = pl.col("after_score") - pl.col("before_score")
    change = (
        pl.when(gain > MARGIN).then(pl.lit(BETTER)).when(gain < -MARGIN).then(pl.lit(WORSE)).otherwise(pl.lit(SAME))
    )
    return table.with_columns(**scores).with_columns(change=change)


def likeness(answered: str, reference: str) -> float:
    """chrF of an answer against its reference, 0-100."""
    import sacrebleu

    return round(sacrebleu.CHRF().sentence_score(answered, [reference]).score, 2)


MEASURE: Measure[MeasureSettings] = Measure(
    name="before_after",
    description="a few held-back questions, answered before and after the tuning",
    run=run,
    needs=("instruction_data", "base"),
    enabled=lambda settings: settings.answers > 0,
)
