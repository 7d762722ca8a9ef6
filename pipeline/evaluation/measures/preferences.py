"""How often the model gives the better answer of a held-back pair the higher likelihood.

This is what preference tuning optimises. There are two figures: one by the likelihood of the whole answer, which
favours short answers, and one by the mean over its tokens, which does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.evaluation.held_back import prompt_ids, sample_questions
from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.scoring import nll_of_rows

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """The accuracy on the held-back pairs of `preference_data`."""
    held_back = pl.read_parquet(subject.inputs["preference_data"].table("held_back"))
    pairs = sample_questions(held_back, settings.preferences)
    subject.log(f"scoring {pairs.height:,} held-back preference pairs")
    figures = preference_accuracy(subject.network, subject.tokenizer, pairs, settings.batch_tokens, subject.device)
    subject.progress(1, 1)
    return Result(figures)


def preference_accuracy(
    model: Transformer, tokenizer: Tokenizer, pairs: pl.DataFrame, batch_tokens: int, device: torch.device
) -> dict[str, float]:
    """Shares (0-1) of pairs (prompt, chosen, rejected) whose chosen answer is likelier (`whole`, `mean`), and `pairs`.

    A pair with an answer that does not fit into the context is skipped and counted as `too_long`.
    """

    def assistant_turn(text: str) -> dict[str, str]:
        return {"role": "assistant", "content": text}

    rows: list[np.ndarray] = []
    first: list[int] = []
    too_long = 0
    for pair in pairs.iter_rows(named=True):
        start = len(prompt_ids(tokenizer, pair["prompt"]))
        both = [
            np.append(tokenizer.document_start, tokenizer.encode_chat([*pair["prompt"], assistant_turn(pair[side])])[0])
            for side in ("chosen", "rejected")
        ]
        if max(len(ids) for ids in both) > model.config.context:
            too_long += 1
            continue
        rows += both
        first += [start, start]
    if not rows:
        return {"pairs": 0, "too_long": too_long}
    losses = nll_of_rows(model, rows, first, batch_tokens, device)
    sums = np.array([by_token.sum() for by_token in losses]).reshape(-1, 2)
    means = np.array([by_token.mean() for by_token in losses]).reshape(-1, 2)
    return {
        "pairs": len(sums),
        "too_long": too_long,
        "whole": round(float((sums[:, 0] < sums[:, 1]).mean()), 4),
        "mean": round(float((means[:, 0] < means[:, 1]).mean()), 4),
    }


MEASURE: Measure[MeasureSettings] = Measure(
    name="preferences",
    description="share of held-back preference pairs whose better answer is likelier",
    run=run,
    needs=("preference_data",),
    enabled=lambda settings: settings.preferences > 0,
    headlines=(Headline("whole", "preferred", higher_is_better=True),),
)
