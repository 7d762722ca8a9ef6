"""Continuations of fixed prompts for people to read: the same for every model, greedy and sampled with a fixed seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from pipeline.evaluation import diversity
from pipeline.evaluation.measure import SAMPLE, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Continuations of `settings.prompts`, and how varied they are: `sampled` and `greedy` (`diversity.py`)."""
    continued = continuations(
        subject.generating,
        subject.tokenizer,
        settings.prompts,
        settings.answer_tokens,
        settings.temperature,
        subject.seed,
    )
    figures = {
        str(kind): diversity.figures(part["output"].to_list())
        for (kind,), part in continued.partition_by("kind", as_dict=True).items()
    }
    return Result(figures, samples=continued)


def continuations(
    model: Transformer, tokenizer: Tokenizer, prompts: tuple[str, ...], most_new: int, temperature: float, seed: int
) -> pl.DataFrame:
    """Two rows per prompt, first all of kind `sampled`, then `greedy`, in the columns of SAMPLE, without reference."""
    from model.generate import generate
    from model.sampling import GREEDY, Sampling

    stop = (tokenizer.ids["<eos>"],)
    rows = []
    for kind, sampling in (("sampled", Sampling(temperature, top_p=0.95, seed=seed)), ("greedy", GREEDY)):
        for prompt in prompts:
            ids = [tokenizer.document_start, *map(int, tokenizer.encode([prompt])[0])][: model.config.context - 1]
            room = min(most_new, model.config.context - len(ids))
            output = list(generate(model, ids, room, sampling, stop))
            rows.append({
                "kind": kind, "prompt": prompt, "output": tokenizer.decode(output), "ended": len(output) < room,
            })  # fmt: skip
    return pl.DataFrame(rows, schema=SAMPLE)


MEASURE: Measure[MeasureSettings] = Measure(
    name="samples", description="continuations of fixed prompts, greedy and sampled", run=run
)
