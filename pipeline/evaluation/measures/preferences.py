"""Whether the model finds the better answer likelier than the worse one, on pairs that were held back.

The one idea: preference training moves exactly this, so it is the first thing to look at after it. Two figures: by
the whole answer's likelihood, which favours short answers, and by the mean of its tokens, which does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.evaluation.held_back import chosen_questions, prompt_ids
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
    pairs = chosen_questions(held_back, settings.preferences)
    subject.log(f"scoring {pairs.height:,} held-back preference pairs")
    found = preference_accuracy(subject.network, subject.tokenizer, pairs, settings.batch_tokens, subject.device)
    subject.progress(1, 1)
    return Result(found)


def preference_accuracy(
    model: Transformer, tokenizer: Tokenizer, pairs: pl.DataFrame, batch_tokens: int, device: torch.device
) -> dict[str, float]:
    """Shares (0-1) of pairs (prompt, chosen, rejected) whose chosen answer is likelier (`whole`, `mean`), and `pairs`.

    A pair of which one answer does not fit the context is left out and counted as `too_long`.
    """

    def said(text: str) -> dict[str, str]:
        return {"role": "assistant", "content": text}

    rows: list[np.ndarray] = []
    first: list[int] = []
    too_long = 0
    for pair in pairs.iter_rows(named=True):
        start = len(prompt_ids(tokenizer, pair["prompt"]))
        both = [
            np.append(tokenizer.document_start, tokenizer.encode_chat([*pair["prompt"], said(pair[side])])[0])
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
    whole = np.array([part.sum() for part in losses]).reshape(-1, 2)
    mean = np.array([part.mean() for part in losses]).reshape(-1, 2)
    return {
        "pairs": len(whole),
        "too_long": too_long,
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
