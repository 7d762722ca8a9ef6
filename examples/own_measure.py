"""A measure of one's own: does the model find a right sentence likelier than a wrong one that differs in little?

Such minimal pairs test one thing at a time, here agreement and particles (after Warstadt et al. 2020, BLiMP).

How to use it
-------------
Name this file in your recipe; the path starts at the recipe's folder. The keys beside `file` are those of the class
`Settings` below, checked when the recipe is read:

    evaluation:
      further:
        - file: ../examples/own_measure.py
          pairs:
            - {right: "The keys are here.", wrong: "The keys is here."}

Every evaluation then has a group `minimal_pairs` in its `report.json`. Its figures are in MLflow, on the page of the
evaluation in Dagster and in the comparison with the model before; its headline is also on the terminal, in
`slm summary` and on the model card. The table of all pairs is `minimal_pairs.parquet` beside the report.

How to write another one
------------------------
A file needs two things: a function that is given the model (`Subject`) and the settings and returns a `Result`, and a
`MEASURE` that names it. Both are described in `pipeline/evaluation/measure.py`.

- A measure may use other inputs: `needs=("instruction_data",)` runs it only where there are held-back questions, which
  are then `subject.inputs["instruction_data"].table("held_back")`.
- Reports are stored by what they are made of. The bytes of this file and its settings count; a file that the code opens
  does not, so put data into the settings, and draw by chance only with `subject.seed`.
- Import torch inside functions: the file is also read by commands that need no network.
- An exception ends the evaluation with one sentence that names the line. For a mistake of whoever uses the measure,
  raise `pipeline.errors.UserError` with a sentence of your own.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field

from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.scoring import nll_of_rows
from pipeline.settings import Settings as Block


class Pair(Block):
    right: str
    wrong: str
    lang: str = "en"


class Settings(Block):
    pairs: tuple[Pair, ...] = Field(
        (
            Pair(right="The boats on the river are old.", wrong="The boats on the river is old."),
            Pair(right="She gave it to him.", wrong="She gave it to he."),
            Pair(right="파일을 열었다.", wrong="파일를 열었다.", lang="ko"),
            Pair(right="사람이 왔다.", wrong="사람가 왔다.", lang="ko"),
        ),
        min_length=1,
        description="sentences of which the first is right and the second, almost the same, is not",
    )
    batch_tokens: int = Field(4_096, ge=256, description="tokens scored at once")


def run(subject: Subject, settings: Settings) -> Result:
    """The share (0-1) of pairs whose right sentence has the lower negative log-likelihood, in all and by language."""
    texts = [text for pair in settings.pairs for text in (pair.right, pair.wrong)]
    # As in training, a text begins after the token that separates documents.
    rows = [np.append(subject.tokenizer.document_start, ids) for ids in subject.tokenizer.encode(texts)]
    rows = [row[: subject.network.config.context] for row in rows]
    subject.log(f"scoring {len(settings.pairs):,} minimal pairs")
    losses = nll_of_rows(subject.network, rows, [1] * len(rows), settings.batch_tokens, subject.device)
    right, wrong = np.array([part.sum() for part in losses]).reshape(-1, 2).T  # nats of each sentence
    subject.progress(1, 1)
    table = pl.DataFrame([pair.model_dump() for pair in settings.pairs]).with_columns(
        nll_right=right, nll_wrong=wrong, preferred=right < wrong
    )
    by_language = {str(lang): share(part) for (lang,), part in table.partition_by("lang", as_dict=True).items()}
    return Result({**share(table), "by_language": by_language}, tables={"minimal_pairs": table})


def share(table: pl.DataFrame) -> dict[str, float]:
    return {"right": round(float(table["preferred"].to_numpy().mean()), 4), "count": table.height}


MEASURE: Measure[Settings] = Measure(
    name="minimal_pairs",
    description="share of minimal pairs whose right sentence is likelier",
    run=run,
    headlines=(
        Headline("right", "minimal_pairs", higher_is_better=True, words="right of minimal pairs"),
        Headline(
            "by_language.*.right", "minimal_pairs.*", True, words="minimal pairs, {key} ({count})", card_only=True
        ),
    ),
)
