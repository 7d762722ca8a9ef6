"""An experiment: a question, the settings that are compared to answer it, and what all of them share.

    experiments:
      activations:
        question: which activation predicts held-back text best?
        grid: {model.activation: [swiglu, relu2], pretraining.seed: [0, 1, 2]}

The same block is a file by itself for `slm experiment FILE`.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
OF_PRETRAINING = "pretraining.seed"
SEEDS = (OF_PRETRAINING, "seed")  # keys by which cells of one setting differ
MOST_CELLS = 1000
Equal = Literal["flops", "tokens", "steps", "parameters", "nothing"]
Fit = Literal["nothing", "scaling", "mixtures"]
TOKENS = "pretraining.tokens"


class Experiment(Settings):
    """Cells to train and compare: the product of a grid, or of a grid and a list of cells."""

    question: str = Field("", description="what the experiment is to answer; stands above its table")
    at: dict[str, Any] = Field(
        {},
        description="keys of the recipe that all cells share, such as a smaller `model`, as `model.layers: 4` or as a"
        " block",
    )
    grid: dict[str, list[Any]] = Field(
        {},
        description="keys of the recipe, each with its values; cells are the product of all. Null takes the default or,"
        " of `sources.NAME`, leaves the source out; `curation.*.enabled` means every stage",
    )
    cells: list[dict[str, Any]] = Field(
        [],
        description="cells that are no product, each as keys with a value, and perhaps a `name`; {}: the recipe as it"
        " is. With a grid, each is crossed with it",
    )
    equal: Equal = Field(
        "flops",
        description="what all cells spend alike: FLOPs, tokens or steps (through `pretraining.tokens`), tokens and"
        " parameters (through `model.ffn`), or nothing",
    )
    against: str = Field("", description="name of the setting that the others are compared with; empty: the first one")

    fit: Fit = Field(
        "nothing",
        description="what is fitted to the results: scaling (the laws of Kaplan et al. 2020 and Hoffmann et al. 2022),"
        " or mixtures (bits per byte over the weights of sources; Liu et al. 2024, RegMix)",
    )

    @model_validator(mode="after")
    def _whole(self) -> Experiment:
        for key, values in self.grid.items():
            if not values:
                raise ValueError(f"`grid.{key}` has no values: name at least one")
        for keys in (self.at, self.grid, *self.cells):
            for key in keys:
                if key.split(".")[0] in ("name", "experiments", "base") and not (keys in self.cells and key == "name"):
                    raise ValueError(f"`{key}` cannot differ between cells: leave it out")
        if self.equal != "nothing" and any(sets_tokens(keys) for keys in (self.grid, *self.cells)):
            raise ValueError(f"`equal: {self.equal}` sets `{TOKENS}`, as cells do: say `equal: nothing`")
        return self


def sets_tokens(keys: dict[str, Any]) -> bool:
    """Whether changes set the number of tokens, as a key or within the block."""
    block = keys.get("pretraining")
    blocks = block if isinstance(block, list) else [block]
    return TOKENS in keys or any(isinstance(one, dict) and "tokens" in one for one in blocks)


def asset_of(name: str) -> str:
    """The asset of an experiment's result."""
    return "experiment_" + name.replace("-", "_")
