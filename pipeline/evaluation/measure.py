"""The interface of a measure: its record, the arguments of its function, and its result.

A measure is one file with one `Measure`. The report runs every measure whose inputs are available and knows none by
name. `measures/__init__.py` lists the built-in measures, the recipe those of your own (`own_measures.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

import polars as pl

from pipeline.context import Inputs, Log
from pipeline.settings import Settings

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer
    from pipeline.evaluation.tasks.covered_questions import Coverage
    from pipeline.tokens.tokenizer import Tokenizer

# The inputs of an evaluation, by role. Only the first two are always available.
Role = Literal[
    "model", "token_shards", "instruction_data", "preference_data", "evaluation_tasks", "before", "base",
    "contamination_decisions", "covered_questions", "toxicity_classifier",
]  # fmt: skip
ROLES: tuple[Role, ...] = get_args(Role)

# The columns of samples.parquet: a row is one generated text.
SAMPLE: dict[str, pl.DataType | type[pl.DataType]] = {
    "kind": pl.String,  # sampled, greedy or answer
    "source": pl.String,
    "lang": pl.String,
    "prompt": pl.String,
    "output": pl.String,
    "reference": pl.String,
    "ended": pl.Boolean,  # whether the model ended it before the length limit
}


@dataclass(frozen=True)
class Subject:
    """The model to measure, and what to measure it with."""

    network: Transformer  # on `device`, in evaluation mode; what it computes is in bf16 where that is faster
    generating: Transformer  # the same network to generate with, its weights in the format that is fastest for it
    tokenizer: Tokenizer
    device: torch.device
    inputs: Inputs  # the artifacts that `Measure.needs` and `Measure.reads` name, by role
    seed: int
    log: Log
    progress: Callable[[int, int], None]  # call it with (number done, total number)
    coverage: Coverage | None = None  # which questions the text that it learned from holds; None: not known


@dataclass(frozen=True)
class Result:
    """The result of a measure."""

    figures: Mapping[str, Any] = field(default_factory=dict)  # its group in report.json: numbers, strings, mappings
    samples: pl.DataFrame | None = None  # rows for samples.parquet, in the columns of SAMPLE
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)  # file name without `.parquet` -> table
    # Figures of the model at earlier points of its training, by the tokens that it had seen: curves in MLflow.
    curves: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Headline:
    """An important figure: it is printed to the terminal, and part of the manifest and the model card."""

    path: str  # dotted, within the measure's group; one `*` matches any key, such as a language
    short: str  # its name on the terminal and in the manifest; `*` is replaced by the key
    higher_is_better: bool
    words: str = ""  # on the card, with `{key}` and `{count}` (the neighbouring figure) filled in; "": the short name
    digits: int = 4  # on the card
    card_only: bool = False


S = TypeVar("S", bound=Settings)


def always(settings: Settings) -> bool:
    return True


@dataclass(frozen=True)
class Measure(Generic[S]):
    """One measure of a model.

    `run` and `enabled` receive the measure's settings: the recipe's block `evaluation`, or, for a measure of your own,
    the keys next to its `file`.
    """

    name: str  # also its group in report.json
    description: str
    run: Callable[[Subject, S], Result]
    needs: tuple[Role, ...] = ()  # the measure is skipped if one of these inputs is missing
    reads: tuple[Role, ...] = ()  # further inputs, which it gets where they exist
    enabled: Callable[[S], bool] = always
    headlines: tuple[Headline, ...] = ()
