"""Whether the model finds the better answer likelier than the worse one, on pairs that were held back.

The one idea: preference training moves exactly this, so it is the first thing to look at after it. Two figures: by
the whole answer's likelihood, which favours short answers, and by the mean of its tokens, which does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.evaluation.held_back import chosen_questions
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
    pairs = chosen_questions(held_back, settings.preferences)
    subject.log(f"scoring {pairs.height:,} held-back preference pairs")
    found = preference_accuracy(subject.network, subject.tokenizer, pairs, settings.batch_tokens, subject.device)
    subject.progress(1, 1)
    return Result(found)


def preference_accuracy(
    model: Transformer, tokenizer: Tokenizer, pairs: pl.DataFrame, batch_tokens: int, device: torch.device
) -> dict[str, float]:
    """Shares (0-1) of pairs (prompt, chosen, rejected) whose chosen answer is likelier (`whole`, `mean`), and counts.

    The pairs are encoded, cut to the context (`cut`) and left out (`left_out`) as in training, so a long pair is scored
    on what training would have learned of it.
    """
    encoded = encode_pairs(pairs, tokenizer, model.config.context)
    counts = {"pairs": len(encoded.pairs), "cut": encoded.cut, "left_out": sum(encoded.left_out.values())}
    if not encoded.pairs:
        return counts
    rows = [ids for pair in encoded.pairs for ids in (pair.chosen, pair.rejected)]
    first = [pair.start for pair in encoded.pairs for _ in range(2)]
    losses = nll_of_rows(model, rows, first, batch_tokens, device)
    whole = np.array([part.sum() for part in losses]).reshape(-1, 2)
    mean = np.array([part.mean() for part in losses]).reshape(-1, 2)
    return {
        **counts,
        "whole": round(float((whole[:, 0] < whole[:, 1]).mean()), 4),
        "mean": round(float((mean[:, 0] < mean[:, 1]).mean()), 4),
    }


MEASURE: Measure[MeasureSettings] = Measure(
    name="preferences",
    description="share of held-back preference pairs whose better answer is likelier",
    run=run,
    needs=("preference_data",),
    enabled=lambda settings: settings.preferences > 0,
    headlines=(Headline("whole", "preferred", higher_is_better=True),),
)
