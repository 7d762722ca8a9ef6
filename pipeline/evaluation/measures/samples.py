"""Continuations of prompts for people to read: the same for every model, greedy and sampled with a fixed seed.

The prompts are beginnings of the recipe's own validation documents, unless the recipe names others: what a model says
in a language that it never read shows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from pipeline.evaluation import diversity
from pipeline.evaluation.measure import SAMPLE, Measure, Result, Subject
from pipeline.evaluation.measure_settings import PROMPTS, MeasureSettings
from pipeline.tokens.own_prompts import OwnPrompt, own_prompts

if TYPE_CHECKING:
    from model.transformer import Transformer
    from pipeline.tokens.tokenizer import Tokenizer


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Continuations of the prompts, and how varied they are: `sampled` and `greedy` (`diversity.py`)."""
    continued = continuations(
        subject.generating,
        subject.tokenizer,
        prompts_of(subject, settings),
        settings.answer_tokens,
        settings.temperature,
        subject.seed,
    )
    figures = {
        str(kind): diversity.figures(part["output"].to_list())
        for (kind,), part in continued.partition_by("kind", as_dict=True).items()
    }
    return Result(figures, samples=continued)


def prompts_of(subject: Subject, settings: MeasureSettings) -> list[OwnPrompt]:
    """The prompts of the recipe, else those of its own text, else fixed ones."""
    shards = subject.inputs.get("token_shards")
    own = own_prompts(shards, subject.tokenizer) if shards is not None and not settings.prompts else []
    return own or [OwnPrompt(prompt, None, "") for prompt in settings.prompts or PROMPTS]


def continuations(
    model: Transformer,
    tokenizer: Tokenizer,
    prompts: Sequence[OwnPrompt],
    most_new: int,
    temperature: float,
    seed: int,
) -> pl.DataFrame:
    """Two rows per prompt, first all of kind `sampled`, then `greedy`, in the columns of SAMPLE, without reference."""
    from model.generate import generate
    from model.sampling import GREEDY, Sampling

    stop = (tokenizer.ids["<eos>"],)
    rows = []
    for kind, sampling in (("sampled", Sampling(temperature, top_p=0.95, seed=seed)), ("greedy", GREEDY)):
        for prompt in prompts:
            encoded = tokenizer.encode([prompt.text])[0]
            ids = [tokenizer.document_start, *map(int, encoded)][: model.config.context - 1]
            room = min(most_new, model.config.context - len(ids))
            output = list(generate(model, ids, room, sampling, stop))
            rows.append({
                "kind": kind, "source": prompt.source or None, "lang": prompt.lang, "prompt": prompt.text,
                "output": tokenizer.shown(output), "ended": len(output) < room,
            })  # fmt: skip
    return pl.DataFrame(rows, schema=SAMPLE)


MEASURE: Measure[MeasureSettings] = Measure(
    name="samples",
    description="continuations of beginnings of validation documents, greedy and sampled",
    run=run,
    reads=("token_shards",),
)
