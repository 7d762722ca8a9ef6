"""At which steps a model learned a passage: of pretraining from its feed, of tunings from the rows of their steps.

Nothing was recorded for this: batches are a pure function of the step, so they are asked the other way round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.inspect.lineage import ancestry
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.training import slots
from pipeline.training.model_facts import ModelFacts


class Learned:
    """When a model learned what. learned: what it and those that it started from were trained on, by role."""

    def __init__(self, store: Store, model: Artifact, learned: dict[str, Artifact]) -> None:
        self._made_of = ancestry(store, model)
        self._learned = learned

    def steps(self, role: str, fragment: str, row: int, first: int, end: int) -> dict[str, Any] | None:
        """The steps (from 1) whose batch held some of the tokens: {of: the model, steps: [...], last: its last step}.

        None where this is not known: where what it follows from is no longer in the store, and for answers that were
        rated by themselves. Of conversations and preferences the steps are those of the whole of it.
        """
        if role == "token_shards" and self._pretraining is not None:
            feed, last, name = self._pretraining
            steps = feed.steps_with(fragment, row, first, end, last)
            return {"of": name, "steps": [step + 1 for step in steps], "last": last}
        if role == "instruction_data" and self._fine_tuning is not None:
            return self._fine_tuning.told(row)
        if role == "preference_data" and self._preferences is not None:
            return self._preferences.told(row // 2)  # two documents of each pair (index.py)
        return None

    @cached_property
    def _pretraining(self) -> tuple[Any, int, str] | None:
        """The feed, the number of its steps, and the model's name."""
        from model.config import ModelConfig
        from pipeline.training.data.feed import FeedSettings
        from pipeline.training.data.whereabouts import TracedFeed

        trained = self._made_of.get("distilled_model") or self._made_of.get("pretrained_model")
        if trained is None:
            return None
        settings, facts = trained.manifest["made_of"]["settings"], ModelFacts.of(trained)
        context = ModelConfig(**settings["model"]).context
        feed = FeedSettings(**settings["pretraining"]["feed"])
        given = (feed, settings["seed"], context, facts.batch_tokens // context)
        traced = TracedFeed(self._learned["token_shards"], *given)
        empty = slots.read(self._made_of.get(slots.OF_SHARDS))
        if empty is not None:
            traced.leave_empty(empty)
        return traced, facts.steps, trained.asset

    @cached_property
    def _fine_tuning(self) -> Rows | None:
        from pipeline.tokens.tokenizer import load
        from pipeline.training.objectives.fine_tuning import packed_rows

        tuned, data = self._made_of.get("sft_model"), self._learned["instruction_data"]
        if tuned is None:
            return None
        settings, facts, length = tuned.manifest["made_of"]["settings"], ModelFacts.of(tuned), row_length(tuned, "sft")
        row_of, count = packed_rows(data, load(tuned.local_directory()), length)
        if count != facts.details["rows"]:
            return None
        row_of = self._without_slots(row_of, slots.OF_CONVERSATIONS)
        step_rows, seed = facts.batch_tokens // length, settings["seed"]
        return Rows(tuned.asset, facts.steps, row_of, steps_of_packed(count, step_rows, seed, facts.steps))

    @cached_property
    def _preferences(self) -> Rows | None:
        import polars as pl

        from pipeline.tokens.tokenizer import load
        from pipeline.training.data.by_length import LengthBatches
        from pipeline.training.data.pairs import encode_pairs

        tuned, data = self._made_of.get("preference_model"), self._learned["preference_data"]
        if tuned is None or tuned.facts.get("loss") == "kto":  # which takes pairs apart
            return None
        settings, facts = tuned.manifest["made_of"]["settings"], ModelFacts.of(tuned)
        block = settings["preference"]
        table = pl.read_parquet(data.table("train"))
        pairs = encode_pairs(table, load(tuned.local_directory()), row_length(tuned, "preference"))
        count = len(pairs.pairs)
        step_rows = min(block["batch_pairs"], count)
        if count != facts.details["pairs"] or math.ceil(block["epochs"] * count / step_rows) < facts.steps:
            return None
        batches = LengthBatches(pairs.lengths, step_rows, settings["seed"])
        steps: dict[int, list[int]] = {}
        for step in range(facts.steps):
            for number in np.unique(batches.rows(step)).tolist():
                steps.setdefault(number, []).append(step + 1)
        pair_of = np.full(table.height, -1, np.int64)
        pair_of[[pair.row for pair in pairs.pairs]] = np.arange(count)
        return Rows(tuned.asset, facts.steps, self._without_slots(pair_of, slots.OF_PREFERENCES), steps)

    def _without_slots(self, number: np.ndarray, asset: str) -> np.ndarray:
        """The numbers of rows to train on, with -1 for those whose slots the model left empty."""
        empty = slots.read(self._made_of.get(asset))
        if empty is not None and "train" in empty.rows:
            number[empty.rows["train"]] = -1
        return number


@dataclass(frozen=True)
class Rows:
    """When a tuning learned the rows of its data."""

    model: str
    last: int  # the number of its steps
    number: np.ndarray  # for each row of the table the number under which `steps` has it; -1 if it was left out
    steps: dict[int, list[int]]  # from 1

    def told(self, row: int) -> dict[str, Any] | None:
        if row >= len(self.number):
            return None
        return {"of": self.model, "steps": self.steps.get(int(self.number[row]), []), "last": self.last}


def row_length(tuned: Artifact, block: str) -> int:
    """The longest sequence that a tuning was done on."""
    from model.export import read_config
    from pipeline.training.objectives import tuning

    asked = tuned.manifest["made_of"]["settings"][block].get("context", 0)
    return tuning.row_length(tuned, read_config(tuned.local_directory()), asked)


def steps_of_packed(rows: int, step_rows: int, seed: int, steps: int) -> dict[int, list[int]]:
    """The steps (from 1) of each packed row, in a run of `steps` steps of `step_rows` rows."""
    from pipeline.training.data.by_length import shuffled_rows

    found: dict[int, list[int]] = {}
    for at in range(steps * step_rows):
        row = int(shuffled_rows(rows, seed, at // rows)[at % rows])
        step = at // step_rows + 1
        if found.setdefault(row, [])[-1:] != [step]:
            found[row].append(step)
    return found
