"""What a measure is: its record, what its function is given, and what it gives back.

A measure is one file with one `Measure`. The report runs every measure whose inputs are there; it knows none by name.
Built-in measures are listed in `measures/__init__.py`, a person's own in the recipe (`own_measures.py`).
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
    from pipeline.tokens.tokenizer import Tokenizer

# What an evaluation may be given, by the part that it plays. Only the first two are always there.
Role = Literal["model", "token_shards", "instruction_data", "preference_data", "before", "contamination_decisions"]
ROLES: tuple[Role, ...] = get_args(Role)

# The columns of samples.parquet: a row is one text that the model wrote.
SAMPLE: dict[str, pl.DataType | type[pl.DataType]] = {
    "kind": pl.String,  # what it is: sampled, greedy, answer
    "source": pl.String,
    "lang": pl.String,
    "prompt": pl.String,
    "output": pl.String,
    "reference": pl.String,
    "ended": pl.Boolean,  # whether the model ended it, before the limit did
}


@dataclass(frozen=True)
class Subject:
    """The model that is measured, and what there is to measure it with."""

    network: Transformer  # on `device`, in evaluation mode
    tokenizer: Tokenizer
    device: torch.device
    inputs: Inputs  # the artifacts that `Measure.needs` names, by role
    seed: int
    log: Log
    progress: Callable[[int, int], None]  # called with (how many are done, of how many)


@dataclass(frozen=True)
class Result:
    """What a measure found."""

    figures: Mapping[str, Any] = field(default_factory=dict)  # numbers, strings and mappings of them; its group
    samples: pl.DataFrame | None = None  # rows for samples.parquet, in the columns of SAMPLE
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)  # name of the file without `.parquet` -> table


@dataclass(frozen=True)
class Headline:
    """A figure that a person looks at first: it is on the terminal, in the manifest and on the model card."""

    path: str  # dotted, below the measure's group; one `*` stands for any key, such as a language
    short: str  # its name on the terminal and in the manifest; `*` is replaced by the key
    higher_is_better: bool
    words: str = ""  # on the card, `{key}` and `{count}` (the figure `count` beside it) filled in; "": the short name
    digits: int = 4  # on the card
    card_only: bool = False


S = TypeVar("S", bound=Settings)


def always(settings: Settings) -> bool:
    return True


@dataclass(frozen=True)
class Measure(Generic[S]):
    """One thing that is measured of a model.

    `run` and `enabled` are given the measure's settings: the recipe's block `evaluation`, or, for a person's own
    measure, what the recipe says beside its `file`.
    """

    name: str  # the measure's group in report.json
    description: str
    run: Callable[[Subject, S], Result]
    needs: tuple[Role, ...] = ()  # left out where one of these inputs is not there
    enabled: Callable[[S], bool] = always
    headlines: tuple[Headline, ...] = ()
