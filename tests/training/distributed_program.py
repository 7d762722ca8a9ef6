"""What each process of the distributed tests runs: the toy, alone or under torchrun, and writes what came of it."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from pipeline.errors import UserError
from pipeline.training import distributed
from pipeline.training.checkpoint import log_table
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import LoopSettings
from tests.training import toy


def main() -> None:
    place, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    lines: list[str] = []
    calls: list[int] = []
    gathered: list[int] = []
    whole = DTensor.full_tensor

    def counted(tensor: DTensor, **options: Any) -> torch.Tensor:
        gathered.append(tensor.numel())
        return whole(tensor, **options)

    DTensor.full_tensor = counted  # type: ignore[method-assign]
    with distributed.process_group("cpu") as (ranks, _):
        model = toy.network(dropout=options.get("dropout", 0.0))
        if options.get("double"):
            model = model.double()

        def should_stop() -> bool:
            # One rank is asked, in the middle of a step; all have to hear of it.
            calls.append(1)
            if len(calls) > options.get("kill_after", len(calls)):
                if options.get("with_agent"):  # the whole node is gone
                    os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)  # where there are two ranks, the launcher then ends the other
            return ranks.rank == 1 and len(calls) > options.get("stop_after", len(calls))

        try:
            _, trained = toy.run(
                place / "checkpoints", LoopSettings(**options.get("settings", {})), model, steps=options["steps"],
                accumulation=2, rank=ranks.rank, world=ranks.world, ranks=ranks, log=lines.append,
                sharded=options.get("sharded", False),
                should_stop=should_stop,
            )  # fmt: skip
        except Stopped:
            return
        finally:
            (place / f"gathered-{ranks.rank}.json").write_text(json.dumps(max(gathered, default=0)))
            (place / f"lines-{ranks.rank}.txt").write_text("\n".join(lines))
        weights = {name: distributed.gathered(p.detach()) for name, p in model.named_parameters()}
        if ranks.first:
            from safetensors.torch import save_file

            save_file(weights, place / "model.safetensors")
            log_table(trained.log).write_parquet(place / "log.parquet")
            (place / "figures.json").write_text(json.dumps(trained.figures))
        else:
            assert not any((place / "checkpoints").glob(f"*rank{ranks.rank}*"))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"slm: {error}")
