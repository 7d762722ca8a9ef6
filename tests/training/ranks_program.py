"""What each of two processes runs to show that ranks agree, and that what one refuses, both refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.context import RunContext
from pipeline.errors import UserError
from pipeline.store.artifact import Artifact
from pipeline.store.draft import Draft
from pipeline.store.store import Store
from pipeline.training import distributed, machine
from pipeline.training.distributed import Ranks
from pipeline.training.model_artifact import TrainingProcess, make_on_all_ranks
from pipeline.training.planning import memory, plan
from pipeline.training.planning.tracing import Step
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.stopping import Stopped
from tests.training import toy

LONG = toy.SHAPE.model_copy(update={"context": 1024, "width": 64, "vocab_size": 512})
SETTINGS = PretrainingSettings(sharding="off")


class Full(Store):
    """A store that refuses before anything is trained."""

    def make(self, asset: str, **given: object) -> Artifact:
        raise UserError("SLM_DATA is not writable")


def sentence(call) -> str:
    """What a call is refused with."""
    try:
        return str(call())
    except (UserError, Stopped) as error:
        return f"{type(error).__name__}: {error}"


def found_by(ranks: Ranks, place: Path) -> dict[str, object]:
    """What this rank is told in each of the situations of the test."""
    least = 1.02 * memory.of_step(LONG, Step(1)).total
    context = RunContext(Store(place / f"data-{ranks.rank}", "toy"), log=lambda line: None, device="cpu")
    process = TrainingProcess(context, Draft(place / f"draft-{ranks.rank}", list, print), ranks, "cpu")

    def fitted() -> int:
        return plan.fit(LONG, SETTINGS, "fp32", "cpu", ranks.world, process.memory_limit()).sequences

    def on_one(rank: int, error: Exception) -> None:
        if ranks.rank == rank:
            raise error

    def claims(here: float, there: float) -> None:
        machine.free_memory = lambda device: (there if ranks.rank else here) / machine.USABLE

    found: dict[str, object] = {}
    claims(1e12, 1e12)
    found["both have much"] = fitted()
    claims(1e12, least)
    found["one has less"] = fitted()
    claims(1e12, least / 100)
    found["one has too little"] = sentence(fitted)
    # One rank fails before it comes to the exchange of the other: it is heard there.
    found["one fails early"] = sentence(
        lambda: ranks.together(lambda: (on_one(1, UserError("no file on rank 1")), fitted()))
    )
    found["one is stopped"] = sentence(lambda: ranks.together(lambda: (on_one(0, Stopped("stop")), fitted())))
    found["the first decides"] = ranks.agreed(lambda: f"rank {ranks.rank}")
    found["after all that"] = ranks.least(lambda: 5.0 + ranks.rank)
    return found


def refused_model(rank: int, place: Path, where: str) -> str:
    """The sentence of a training that one rank refuses while it prepares, or the store before that."""
    store = Full(place / "data", "toy") if where == "in the store" and rank == 0 else Store(place / "data", "toy")
    context = RunContext(store, log=lambda line: None, device="cpu")

    def prepare(process: TrainingProcess):
        if process.ranks.rank == 1:
            raise UserError("rank 1 has no room")
        return process.memory_limit()

    return sentence(lambda: make_on_all_ranks(context, "toy_model", prepare, code_version="1", settings={}, inputs={}))


def main() -> None:
    place, where = Path(sys.argv[1]), sys.argv[2]
    with distributed.process_group("cpu") as (ranks, _):
        found = found_by(ranks, place) if where == "alone" else {"model": refused_model(ranks.rank, place, where)}
    (place / f"found-{ranks.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
