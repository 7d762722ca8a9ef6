"""The plan's memory against what a process really takes, on a CPU: eight settings, each in a process of its own.

    python -m benchmarks.plan_vs_measured

Measured: the highest resident set of a process that trains three steps, less what it held before the network was made.
Planned: what `pipeline.training.planning.memory` finds on tensors without contents, before and after its margin.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

from model.config import ModelConfig
from pipeline.training.planning import memory
from pipeline.training.training_settings import PretrainingSettings

SHAPES = {
    "13 M, context 512": (ModelConfig(layers=8, width=320, heads=10, kv_heads=5, context=512, vocab_size=8192), 8),
}
SETTINGS = PretrainingSettings()
BOUND = 0.10


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--child", help="settings as JSON: train and print the peak")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(**json.loads(options.child))))
        return 0
    print(
        "| shape | precision | checkpointing | chunked loss | planned MiB | measured MiB | planned / measured | with"
        " margin |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    wrong = 0
    for name, precision, recompute, chunked in itertools.product(
        SHAPES, ("fp32", "bf16"), (False, True), (False, True)
    ):
        config, sequences = SHAPES[name]
        chunk = None if chunked else 0
        step = memory.Step(sequences, precision, recompute, chunk, SETTINGS.optimiser)
        planned = memory.of_step(config, step)
        given = {"shape": name, "precision": precision, "recompute": recompute, "chunk": chunk}
        # Freed blocks go back to the system at once, so that the resident set is what lives and not what lived.
        environment = {
            **os.environ,
            "MALLOC_MMAP_THRESHOLD_": "65536",
            "MALLOC_TRIM_THRESHOLD_": "0",
            "OMP_NUM_THREADS": "1",
        }
        output = subprocess.run(
            [sys.executable, __file__, "--child", json.dumps(given)],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        ).stdout
        real = json.loads(output.splitlines()[-1])
        ratio, after = planned.expected / real, planned.total / real
        wrong += abs(ratio - 1) > BOUND or after < 1
        print(
            f"| {name} | {precision} | {'yes' if recompute else 'no'} | {'yes' if chunked else 'no'} | "
            f"{planned.expected / 2**20:,.0f} | "
            f"{real / 2**20:,.0f} | {ratio:.3f} | {after:.3f} |", flush=True,
        )  # fmt: skip
    print(f"\n{wrong} settings are more than {BOUND:.0%} off before the margin, or under after it")
    return int(wrong > 0)


def measured(shape: str, precision: str, recompute: bool, chunk: int | None) -> float:
    """Bytes that three steps take at their highest, over what the process held before."""
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


if __name__ == "__main__":
    sys.exit(main())
