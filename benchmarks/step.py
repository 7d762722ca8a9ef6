"""One training step of the demonstration, or of a larger network: its time, and the optimiser's share of it.

    python -m benchmarks.step [--size demo|10m|100m] [--threads 2] [--optimiser muon] [--precision bf16]
        [--without-amx] [--busy 1]

The batch is 4,096 tokens: a whole step of the demonstration. Larger networks take more by default, so for them only the
optimiser's time counts; its share is then far smaller than the one printed. `--busy` starts that many programs that do
nothing but compute; set GOMP_SPINCOUNT to choose how long threads spin. `--without-amx` runs Muon in fp32, as a CPU
without AMX does.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import model  # noqa: F401  (before torch: it says how threads wait)
from benchmarks.measuring import ROOT
from model import allocator

STEPS, WARM = 12, 3
BATCH = 4096


@contextmanager
def busy_programs(number: int) -> Iterator[None]:
    """So many programs that do nothing but compute."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def step_of(size: str, optimiser_name: str, precision: str) -> Callable[[], float]:
    """A function that takes one step of a network; it returns the optimiser's seconds of wall time."""
    import torch

    from benchmarks.contestants import SIZES, our_network
    from model.transformer import Transformer
    from pipeline.recipe import load
    from pipeline.training import machine
    from pipeline.training.optimiser import Optimiser

    recipe = load(ROOT / "recipes" / "demo.yaml")
    demo = recipe.model.model_copy(update={"vocab_size": 4096})
    network = Transformer(demo) if size == "demo" else our_network(SIZES[size])
    settings = recipe.pretraining.model_copy(update={"optimiser": optimiser_name})
    optimiser = Optimiser(network, settings, 1e-3)
    tokens = torch.randint(0, 4096, (BATCH // network.config.context, network.config.context))

    def step() -> float:
        with machine.autocast("cpu", precision):
            total, count = network(tokens, tokens)
        (total / count).backward()
        computed = time.perf_counter()
        optimiser.step(1.0)
        optimiser.zero_grad()
        return time.perf_counter() - computed

    return step


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["demo", "10m", "100m"], default="demo")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--optimiser", choices=["muon", "adamw"], default="muon")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--without-amx", action="store_true")
    parser.add_argument("--busy", type=int, default=0)
    return parser


def main() -> None:
    given = arguments().parse_args()
    import torch

    from pipeline.training import machine

    if given.without_amx:
        machine.bf16_is_fast = lambda device: False
    torch.set_num_threads(given.threads)
    step = step_of(given.size, given.optimiser, given.precision)
    rows = []
    with busy_programs(given.busy), allocator.kept_memory():
        for _ in range(WARM + STEPS):
            started, cpu = time.perf_counter(), time.process_time()
            update = step()
            rows.append((time.perf_counter() - started, time.process_time() - cpu, update))
    wall, cpu, update = (statistics.median(column) for column in zip(*rows[WARM:], strict=True))
    print(
        f"{given.size}, {given.precision}, {given.optimiser}, {given.threads} thread(s), {given.busy} busy:"
        f" {wall:.3f} s a step, {cpu:.3f} CPU-s, optimiser {1000 * update:.0f} ms, {update / wall:.1%}"
    )


if __name__ == "__main__":
    main()
