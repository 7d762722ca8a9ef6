"""How often the model gives the better answer of a held-back pair the higher likelihood.

This is what preference tuning optimises. There are two figures: one by the likelihood of the whole answer, which
favours short answers, and one by the mean over its tokens, which does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.evaluation.held_back import sample_questions
from pipeline.evaluation.measure import Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings
from pipeline.evaluation.scoring import nll_of_rows
from pipeline.training.data.pairs import encode_pairs

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
    """Shares (0-1) of pairs (prompt, chosen, rejected) whose chosen answer is likelier (`whole`, `mean`), and counts.

    Pairs are encoded, truncated to the context (counted as `cut`) and excluded (`left_out`) as in preference tuning.
    """
    encoded = encode_pairs(pairs, tokenizer, model.config.context)
    counts: dict[str, float] = {
        "pairs": len(encoded.pairs),
        "cut": encoded.cut,
        "left_out": sum(encoded.left_out.values()),
    }
    if not encoded.pairs:
        return counts
    rows = [ids for pair in encoded.pairs for ids in (pair.chosen, pair.rejected)]
    first = [pair.start for pair in encoded.pairs for _ in range(2)]
    losses = nll_of_rows(model, rows, first, batch_tokens, device)
    sums = np.array([by_token.sum() for by_token in losses]).reshape(-1, 2)
    means = np.array([by_token.mean() for by_token in losses]).reshape(-1, 2)
    return {
        **counts,
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
