"""What a checkpoint of sharded weights costs: gathered and written by one process, or in parts by all of them.

    python -m benchmarks.checkpoint_parts --width 512 --layers 8

Two processes on this machine train one step and save. For each way: how far the memory of each process grows while it
saves, its CPU seconds, and the bytes that it writes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.training import distributed
from pipeline.training.loop import Loop
from pipeline.training.reporting import RunOptions
from pipeline.training.training_settings import LoopSettings

WAYS = {"gathered": False, "in parts": True}


def process(options: argparse.Namespace) -> None:
    """One of the processes: a step, a save; writes what the save cost."""
    from tests.training import toy

    place = Path(options.place)
    shape = ModelConfig(
        layers=options.layers, width=options.width, heads=8, kv_heads=8, context=toy.CONTEXT, vocab_size=8192
    )
    with distributed.process_group("cpu") as (ranks, _):
        torch.manual_seed(0)
        run = RunOptions(place / f"checkpoints-{ranks.rank}", ranks=ranks, sharded=True, log=lambda line: None)
        settings = LoopSettings(precision="fp32", compile=False)
        objective = toy.objective(rank=ranks.rank, world=ranks.world)
        loop = Loop(objective, Transformer(shape), settings, 1e-4, 0, run)
        assert loop.in_parts
        loop.in_parts = WAYS[options.way]
        loop._advance()
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
        loop._save()
        loop.close()
        after = resource.getrusage(resource.RUSAGE_SELF)
        parameters = sum(p.numel() for p in loop.model.parameters())
        found = {"way": options.way, "rank": ranks.rank, "parameters": parameters}
        found |= {"peak_mb": (after.ru_maxrss - before.ru_maxrss) >> 10, "cpu_s": time.process_time() - started}
        own = place.glob(f"checkpoints-0/step-*/shard-{ranks.rank + 1:05d}-*" if loop.in_parts else "no")
        ranks.total(0.0)  # all is written
        if ranks.first and not loop.in_parts:
            own = place.glob("checkpoints-0/step-*/*.safetensors")
        found["written_mb"] = sum(path.stat().st_size for path in own) >> 20
        (place / f"found-{ranks.rank}.json").write_text(json.dumps(found))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--place")
    return parser


def main() -> None:
    options = arguments().parse_args()
    if options.place:
        process(options)
        return
    for way in WAYS:
        with tempfile.TemporaryDirectory() as place:
            command = [sys.executable, "-m", "pipeline.training.torchrun", "--standalone", "--nproc-per-node=2", "-m"]
            command += ["benchmarks.checkpoint_parts", "--place", place, "--way", way]
            command += ["--width", str(options.width), "--layers", str(options.layers)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
            for path in sorted(Path(place).glob("found-*.json")):
                print(json.dumps(json.loads(path.read_text())), flush=True)


if __name__ == "__main__":
    main()
