"""Training speed against transformers' Llama, litgpt and nanoGPT's model: same shape, weights, batch and precision.

    python -m benchmarks.training_vs_peers --size 10m --threads 1
    python -m benchmarks.training_vs_peers --size 100m --threads 1 --steps 4
    python -m benchmarks.training_vs_peers --size 10m --compile
    python -m benchmarks.training_vs_peers --size 100m --precision bf16

Each contestant is a process of its own that takes one step when it is told to. They take turns, so that other load on
the machine affects all alike. A step is forward, backward and fused AdamW; CPU seconds and wall time are measured. All
start from the same weights, so the losses of the first step are compared. Beside them, the network's own matrix
multiplications run forward and backward in the same shapes with nothing in between: the limit. With bf16, weights stay
in fp32 and all contestants run under torch's autocast, as ours does in training.

Ours keeps freed memory, in huge pages (model/allocator.py), as the training program does; `--same-allocator` does this
for all. How long threads spin (model/__init__.py) is the same for all. The machine's peak is that of a square
multiplication, measured after the last step.

nanoGPT is not a package: its model is rebuilt here from its description (GPT-2 with a fused projection of queries, keys
and values, exact GELU, learned positions, no biases, tied embeddings). Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contestants import CONTESTANTS, NEEDS, SIZES, contestant, linear_flops, multiplications
from benchmarks.measuring import ROOT, program
from model import allocator

NAMES = (*CONTESTANTS, "matmul", "matmul+attention")
WARM = 2  # steps that are not measured
PAIRS = (("ours", "transformers"), ("ours", "litgpt"), ("ours gpt", "nanogpt"))


# -- a contestant's process --------------------------------------------------------------------------------------------


def work(given: argparse.Namespace) -> None:
    """Take a step for each line on standard input, and print what it took."""
    import torch

    torch.set_num_threads(given.threads)
    step = step_of(given)
    with allocator.kept_memory() if keeps_memory(given.worker, given) else nullcontext():
        print("ready", flush=True)
        for line in sys.stdin:
            if line.strip() == "end":
                return
            cpu, wall = time.process_time(), time.perf_counter()
            found = step()
            spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            print(json.dumps({**spent, **found}), flush=True)


def step_of(given: argparse.Namespace) -> Callable[[], dict[str, float | None]]:
    """One step of the contestant `given.worker`; it returns the loss, and the optimiser's CPU seconds."""
    import torch

    name, size, low = given.worker, SIZES[given.size], given.precision == "bf16"
    if name.startswith("matmul"):
        bare = multiplications(size, "attention" in name, torch.bfloat16 if low else torch.float32)

        def multiply() -> dict[str, float | None]:
            bare()
            return {"loss": None, "update": 0.0}

        return multiply

    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randint(0, size.vocabulary, (size.batch, size.context), generator=generator) for _ in range(2))
    network, loss_of = contestant(name, size, given.compile)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)

    def train() -> dict[str, float | None]:
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = loss_of(x, y)
        loss.backward()
        started = time.process_time()
        optimiser.step()
        optimiser.zero_grad()
        update = time.process_time() - started
        return {"loss": loss.item(), "update": update}

    return train


def keeps_memory(name: str, given: argparse.Namespace) -> bool:
    return given.same_allocator or name.startswith(("ours", "matmul"))


# -- the process that tells them when ----------------------------------------------------------------------------------


@dataclass
class Runner:
    """A contestant's process, and what its steps took."""

    name: str
    process: subprocess.Popen[str]
    steps: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def start(name: str, given: argparse.Namespace) -> Runner:
        options = ["--size", given.size, "--threads", given.threads, "--precision", given.precision]
        options += ["--compile"] * given.compile + ["--same-allocator"] * given.same_allocator
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
        if keeps_memory(name, given):
            environment |= allocator.environment()
        process = subprocess.Popen(
            program("training_vs_peers", "--worker", name, *options),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None if given.loud else subprocess.DEVNULL,
            text=True, env=environment, cwd=ROOT,
        )  # fmt: skip
        return Runner(name, process)

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def step(self) -> None:
        self.tell("step")
        self.steps.append(json.loads(self.answer()))

    def end(self) -> None:
        self.tell("end")
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    @property
    def measured(self) -> list[dict[str, Any]]:
        return self.steps[WARM:]

    def median(self, figure: str) -> float:
        """Of the steps that are measured."""
        return statistics.median(step[figure] for step in self.measured)


def started(given: argparse.Namespace) -> dict[str, Runner]:
    """The contestants whose packages are installed, ready for their first step."""
    running = {}
    for name in given.only:
        if name in NEEDS and not importlib.util.find_spec(NEEDS[name]):
            print(f"{name} is not installed: left out")
        else:
            running[name] = Runner.start(name, given)
    ready = {}
    for name, runner in running.items():
        if runner.answer().strip() == "ready":
            ready[name] = runner
        else:
            print(f"{name} could not be started: left out")
    return ready


def race(running: Mapping[str, Runner], steps: int, threads: int) -> None:
    """All contestants take their steps in turns, then end."""
    for turn in range(steps + WARM):
        for runner in running.values():
            runner.step()
            if threads > 1:
                time.sleep(0.3)  # the last one's other threads look out for work for a while
        print(f"turn {turn + 1} of {steps + WARM}", file=sys.stderr, flush=True)
    for runner in running.values():
        runner.end()


# -- what came of it ---------------------------------------------------------------------------------------------------


def print_steps(runners: Sequence[Runner], given: argparse.Namespace) -> None:
    size = SIZES[given.size]
    mode = "compiled" if given.compile else "eager"
    whose = "all keep freed memory" if given.same_allocator else "each as it comes"
    print(f"\n{given.size}, {given.precision}, {mode}, {given.threads} thread(s), {size.batch} x {size.context} tokens")
    print(f"allocator: {whose}")
    print(f"{'':18}{'loss':>9}{'cpu-s':>8}{'wall-s':>8}{'tokens/cpu-s':>14}{'optimiser':>11}")
    for runner in runners:
        loss, cpu = runner.steps[0]["loss"], runner.median("cpu")
        shown = f"{loss:9.4f}" if loss is not None else f"{'':9}"
        rate = size.batch * size.context / cpu
        print(f"{runner.name:18}{shown}{cpu:8.3f}{runner.median('wall'):8.3f}{rate:14.0f}"
              f"{runner.median('update') / cpu:11.1%}")  # fmt: skip


def print_ratios(running: Mapping[str, Runner], precision: str) -> None:
    """How much faster ours is than each peer. SystemExit where their first losses differ."""
    for left, right in PAIRS:
        if left in running and right in running:
            pairs = zip(running[left].measured, running[right].measured, strict=True)
            ratios = [theirs["cpu"] / mine["cpu"] for mine, theirs in pairs]
            print(f"{left} / {right}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) "
                  "tokens/cpu-s")  # fmt: skip
            apart = abs(running[left].steps[0]["loss"] - running[right].steps[0]["loss"])
            if apart > (1e-3 if precision == "fp32" else 1e-2):  # bf16 rounds to 3 digits, in another order
                raise SystemExit(f"the losses of {left} and {right} differ by {apart}: not the same network")


def print_limits(running: Mapping[str, Runner], given: argparse.Namespace) -> None:
    """How near ours comes to its multiplications alone, and these to the machine's peak."""
    if "matmul" in running:
        import torch

        from pipeline.training.machine import measured_peak

        torch.set_num_threads(given.threads)
        dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
        peak = measured_peak(dtype, size=2048) / given.threads
        for name in ("ours", "matmul"):
            if name in running:
                share = linear_flops(SIZES[given.size]) / running[name].median("cpu") / peak
                print(f"multiplications of {name} make {share:.0%} of the peak of {peak / 1e9:.0f} GFLOP/s a thread")
    if "ours" in running:
        for name in ("matmul", "matmul+attention"):
            if name in running:
                share = running[name].median("cpu") / running["ours"].median("cpu")
                print(f"ours reaches {share:.0%} of its {name} alone")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="10m")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8, help=f"measured, after {WARM} that are not")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--same-allocator", action="store_true", help="let the peers keep freed memory too")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES)
    parser.add_argument("--loud", action="store_true", help="show what the contestants write of themselves")
    parser.add_argument("--worker", choices=NAMES, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    given = arguments().parse_args()
    if given.worker:
        work(given)
        return
    running = started(given)
    race(running, given.steps, given.threads)
    print_steps(list(running.values()), given)
    print_ratios(running, given.precision)
    print_limits(running, given)


if __name__ == "__main__":
    main()
