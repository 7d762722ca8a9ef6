"""What each of two processes runs: a training, the same with slots empty on its ladder, and that one from nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from pipeline.context import RunContext
from pipeline.store.artifact import Artifact
from pipeline.store.store import Store
from pipeline.training import distributed
from pipeline.training.objectives import pretraining
from pipeline.training.planning import plan
from tests.training.conftest import SHAPE
from tests.training.test_forgetting_exactly import SETTINGS, forget


def made(store: Store, inputs: dict[str, Artifact], lines: list[str], replays: bool = True) -> Artifact:
    context = RunContext(store, log=lines.append, device="cpu", replays=replays)
    return pretraining.make(context, inputs, plan.Pretraining(SHAPE, SETTINGS))


def main() -> None:
    place, doc_id = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    store, nothing = Store(place / "store", "test"), Store(place / "nothing", "test")
    inputs = {name: store.require(name) for name in ("token_shards", "tokenizer")}
    lines: list[str] = []
    with distributed.process_group("cpu") as (ranks, _):
        found = {"before": made(store, inputs, lines).digest}
        if ranks.first:
            for one in (store, nothing):
                forget(one, doc_id)
        ranks.total(0.0)  # the list is written before any rank reads it
        lines.clear()
        found["after"] = made(store, inputs, lines).digest
        found["begun"] = next((line for line in lines if "are as they were" in line), "")
        found["nothing"] = made(nothing, inputs, lines, replays=False).digest
    (place / f"found-{ranks.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
