"""One step of the demonstration, or of a larger network: its time, and the optimiser's share of it.

    python -m benchmarks.step [--size demo|10m|100m] [--threads 2] [--optimiser muon] [--precision bf16]
        [--without-amx] [--busy 1]

The batch is 4,096 tokens, for the demonstration all of a step's; larger networks take more of them by default, so for
them the time of the optimiser counts, and its share is far less than the one printed.
`--busy` starts as many programs that do nothing but compute; GOMP_SPINCOUNT, set outside, says how long threads spin.
`--without-amx` has Muon in fp32, as a CPU without AMX gets it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import model  # noqa: F401  (before torch: it says how threads wait)
from model import allocator

STEPS, WARM = 12, 3
BATCH = 4096


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["demo", "10m", "100m"], default="demo")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--optimiser", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--without-amx", action="store_true")
    parser.add_argument("--busy", type=int, default=0)
    options = parser.parse_args()
    import torch

    from benchmarks.training_vs_peers import SIZES, ours
    from model.transformer import Transformer
    from pipeline.recipe import load
    from pipeline.training import machine
    from pipeline.training.optimiser import Optimiser

    if options.without_amx:
        machine.bf16_is_fast = lambda device: False
    torch.set_num_threads(options.threads)
    recipe = load(Path(__file__).parent.parent / "recipes" / "demo.yaml")
    if options.size == "demo":
        network = Transformer(recipe.model.model_copy(update={"vocab_size": 4096}))
    else:
        network = ours(SIZES[options.size])
    settings = recipe.pretraining.model_copy(update={"optimiser": options.optimiser})
    optimiser = Optimiser(network, settings, 1e-3)
    tokens = torch.randint(0, 4096, (BATCH // network.config.context, network.config.context))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    rows = []
    try:
        with allocator.kept_memory():
            for _ in range(WARM + STEPS):
                started, cpu = time.perf_counter(), time.process_time()
                with machine.autocast("cpu", options.precision):
                    total, count = network(tokens, tokens)
                (total / count).backward()
                computed = time.perf_counter()
                optimiser.step(1.0)
                optimiser.zero_grad()
                ended = time.perf_counter()
                rows.append((ended - started, time.process_time() - cpu, ended - computed))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    wall, cpu, update = (statistics.median(column) for column in zip(*rows[WARM:], strict=True))
    print(
        f"{options.size}, {options.precision}, {options.optimiser}, {options.threads} thread(s), {options.busy} busy:"
        f" {wall:.3f} s a step, {cpu:.3f} CPU-s, optimiser {1000 * update:.0f} ms, {update / wall:.1%}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
