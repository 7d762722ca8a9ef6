"""What each process of the test of reinforcement on several ranks runs: a model of a store, trained on rewards."""

from __future__ import annotations

import json
import sys

import torch

from pipeline.store.store import Store
from pipeline.training.objectives import reinforcement
from pipeline.training.reinforcement_settings import ReinforcementSettings
from tests.making import context


def main() -> None:
    torch.set_num_threads(1)
    store = Store(sys.argv[1], "test")
    inputs = {"base": store.require("sft_model"), "instruction_data": store.require("instruction_data")}
    settings = ReinforcementSettings.model_validate(json.loads(sys.argv[2]))
    reinforcement.make(context(store), inputs, settings)


if __name__ == "__main__":
    main()
