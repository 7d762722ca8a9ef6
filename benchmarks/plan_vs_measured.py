"""Planned against measured memory on a CPU: eight settings, each in a process of its own.

    python -m benchmarks.plan_vs_measured

Measured is the highest resident set of a process that trains two steps, less what it held before the network was made.
Planned is what `pipeline.training.planning.memory` finds on tensors without contents, before and after its margin.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from pathlib import Path

from benchmarks.measuring import output_of, program
from model.config import ModelConfig
from pipeline.training.planning import memory
from pipeline.training.training_settings import PretrainingSettings

SHAPES = {
    "13 M, context 512": (ModelConfig(layers=8, width=320, heads=10, kv_heads=5, context=512, vocab_size=8192), 8),
}
SETTINGS = PretrainingSettings()
BOUND = 0.10
# Freed blocks go back to the system at once, so that the resident set holds only what is alive.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "OMP_NUM_THREADS": "1"}
COLUMNS = (
    "shape", "precision", "checkpointing", "chunked loss", "planned MiB", "measured MiB", "planned / measured",
    "with margin",
)  # fmt: skip


def compare(shape: str, precision: str, recompute: bool, chunked: bool) -> bool:
    """Print a row for one setting; returns whether the plan is good enough."""
    config, sequences = SHAPES[shape]
    chunk = None if chunked else 0
    planned = memory.of_step(config, memory.Step(sequences, precision, recompute, chunk, SETTINGS.optimiser))
    given = {"shape": shape, "precision": precision, "recompute": recompute, "chunk": chunk}
    real = float(output_of(program("plan_vs_measured", "--child", json.dumps(given)), ENVIRONMENT).splitlines()[-1])
    ratio, after = planned.expected / real, planned.total / real
    print(
        f"| {shape} | {precision} | {'yes' if recompute else 'no'} | {'yes' if chunked else 'no'} | "
        f"{planned.expected / 2**20:,.0f} | {real / 2**20:,.0f} | {ratio:.3f} | {after:.3f} |", flush=True,
    )  # fmt: skip
    return abs(ratio - 1) <= BOUND and after >= 1


def measured(shape: str, precision: str, recompute: bool, chunk: int | None) -> float:
    """Peak memory of two steps in bytes, less what the process held before."""
    import resource

    import torch

    from model.transformer import Transformer
    from pipeline.training.machine import autocast
    from pipeline.training.optimiser import Optimiser

    torch.set_num_threads(1)
    config, sequences = SHAPES[shape]
    # The first use of each kernel makes work space of its own; it is not the step's.
    warm = Transformer(config.model_copy(update={"layers": 1, "vocab_size": 64, "context": 64}))
    warm_tokens = torch.zeros(1, 64, dtype=torch.int64)
    with autocast("cpu", precision):
        warm(warm_tokens, warm_tokens, chunk=chunk)[0].backward()
    del warm
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    network = Transformer(config)
    network.gradient_checkpointing = recompute
    optimiser = Optimiser(network, SETTINGS, 1e-3)
    tokens = torch.randint(config.vocab_size, (sequences, config.context))
    for _ in range(2):
        for _ in range(2):  # two micro-batches: the second meets the gradients of the first
            with autocast("cpu", precision):
                loss, _ = network(tokens, tokens, chunk=chunk)
            (loss / tokens.numel()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step(1.0)
        optimiser.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak > before, "the step took less than the warm-up: choose a larger shape"
    return float(peak - held)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)  # settings as JSON: train and print the peak
    return parser


def main() -> int:
    given = arguments().parse_args()
    if given.child:
        print(measured(**json.loads(given.child)))
        return 0
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|")
    settings = itertools.product(SHAPES, ("fp32", "bf16"), (False, True), (False, True))
    wrong = sum(not compare(*of) for of in settings)
    print(f"\n{wrong} settings are more than {BOUND:.0%} off before the margin, or under after it")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
