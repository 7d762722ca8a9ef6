"""Continuations of fixed prompts for people to read: the same for every model, greedy and sampled with a fixed seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.evaluation.measure import SAMPLE, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Continuations of `settings.prompts`; no figures."""
    continued = continuations(
        subject.network,
        subject.tokenizer,
        settings.prompts,
        settings.answer_tokens,
        settings.temperature,
        subject.seed,
    )
    return Result(samples=continued)


def continuations(
    model: Transformer, tokenizer: Tokenizer, prompts: tuple[str, ...], most_new: int, temperature: float, seed: int
) -> pl.DataFrame:
    """Two rows per prompt, first all of kind `sampled`, then `greedy`, in the columns of SAMPLE, without reference."""
    from model.generate import generate

    rows = []
    for kind, kind_temperature in (("sampled", temperature), ("greedy", 0.0)):
        for prompt in prompts:
            ids = [tokenizer.document_start, *map(int, tokenizer.encode([prompt])[0])][: model.config.context - 1]
            room = min(most_new, model.config.context - len(ids))
            top_p = 0.95 if kind_temperature else 1.0
            output = list(generate(model, ids, room, kind_temperature, 0, top_p, seed, (tokenizer.ids["<eos>"],)))
            rows.append({
                "kind": kind, "prompt": prompt, "output": tokenizer.decode(output), "ended": len(output) < room,
            })  # fmt: skip
    return pl.DataFrame(rows, schema=SAMPLE)


MEASURE: Measure[MeasureSettings] = Measure(
    name="samples", description="continuations of fixed prompts, greedy and sampled", run=run
)
