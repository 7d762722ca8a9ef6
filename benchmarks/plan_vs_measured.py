"""Planned against measured memory on a CPU: each setting in a process of its own.

    python -m benchmarks.plan_vs_measured [--only KIND...]

Measured is the highest resident set of a process that trains two steps, less what it held before the network was made.
Planned is what `pipeline.training.planning.memory` finds on tensors without contents, before and after its margin.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import output_of, program
from model.config import ModelConfig
from pipeline.training.planning import memory
from pipeline.training.planning.tracing import Step
from pipeline.training.training_settings import LoopSettings, PreferenceSettings

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer

SHAPE = ModelConfig(layers=8, width=320, heads=10, kv_heads=5, context=512, vocab_size=8192)  # 13 M parameters
KINDS: dict[str, dict[str, Any]] = {
    "pretraining": {"optimiser": "muon"},
    "fine-tuning": {"masked": True},
    "fine-tuning, LoRA": {"masked": True, "lora_rank": 16},
    "fine-tuning, QLoRA": {"masked": True, "lora_rank": 16, "quantised": True},
    "preferences": {"preference": True},
    "preferences, LoRA": {"preference": True, "lora_rank": 16},
}
SEQUENCES = 8
BOUND = 0.10
# Freed blocks go back to the system at once, so that the resident set holds only what is alive.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "OMP_NUM_THREADS": "1"}
COLUMNS = (
    "training", "precision", "checkpointing", "chunked loss", "planned MiB", "measured MiB", "planned / measured",
    "with margin",
)  # fmt: skip


def compare(kind: str, precision: str, recompute: bool, chunked: bool) -> bool:
    """Print a row for one setting; returns whether the plan is good enough."""
    step = Step(SEQUENCES, precision, recompute, None if chunked else 0, **KINDS[kind])
    planned = memory.of_step(SHAPE, step)
    given = json.dumps(dataclasses.asdict(step))
    real = float(output_of(program("plan_vs_measured", "--child", given), ENVIRONMENT).splitlines()[-1])
    ratio, after = planned.expected / real, planned.total / real
    print(
        f"| {kind} | {precision} | {'yes' if recompute else 'no'} | {'yes' if chunked else 'no'} | "
        f"{planned.expected / 2**20:,.0f} | {real / 2**20:,.0f} | {ratio:.3f} | {after:.3f} |", flush=True,
    )  # fmt: skip
    return abs(ratio - 1) <= BOUND and after >= 1


def batch_of(config: ModelConfig, step: Step) -> dict[str, torch.Tensor | None]:
    """A batch whose every token counts; with documents of 100 tokens, if they are told apart."""
    import torch

    tokens = torch.randint(config.vocab_size, (step.sequences, config.context))
    documents = (torch.arange(config.context) // 100).expand_as(tokens) if step.masked else None
    return {
        "tokens": tokens, "targets": tokens, "documents": documents, "reference": torch.zeros(step.sequences // 2, 2)
    }  # fmt: skip


def backward(network: Transformer, batch: dict[str, torch.Tensor | None], step: Step) -> None:
    """One micro-batch, forward and backward."""
    from pipeline.training.machine import autocast
    from pipeline.training.objectives.dpo import dpo

    with autocast("cpu", step.precision):
        if step.preference:
            loss, _ = dpo(network, batch, PreferenceSettings(loss_chunk="auto" if step.chunk is None else step.chunk))
        else:
            loss, _ = network(batch["tokens"], batch["targets"], documents=batch["documents"], chunk=step.chunk)
    loss.backward()


def measured(step: Step) -> float:
    """Peak memory of two steps in bytes, less what the process held before."""
    import resource

    import torch

    from model import lora
    from model.transformer import Transformer
    from pipeline.training.optimiser import Optimiser

    torch.set_num_threads(1)
    # The first use of each kernel makes work space of its own; it is not the step's.
    small = SHAPE.model_copy(update={"layers": 1, "vocab_size": 64, "context": 64})
    few = dataclasses.replace(step, sequences=2)
    backward(Transformer(small), batch_of(small, few), few)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    network = Transformer(SHAPE)
    network.gradient_checkpointing = step.activation_checkpointing
    if step.lora_rank:
        lora.add(network, step.lora_rank, 1.0, quantised=step.quantised)
    optimiser = Optimiser(network, LoopSettings(optimiser=step.optimiser), 1e-3)
    batch = batch_of(SHAPE, step)
    for _ in range(2):
        for _ in range(2):  # two micro-batches: the second meets the gradients of the first
            backward(network, batch, step)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step(1.0)
        optimiser.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert peak > before, "the step took less than the warm-up: choose a larger shape"
    return float(peak - held)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)  # a step as JSON: train and print the peak
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS), help="of these trainings")
    return parser


def main() -> int:
    given = arguments().parse_args()
    if given.child:
        print(measured(Step(**json.loads(given.child))))
        return 0
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|")
    every = itertools.product(given.only, ("fp32", "bf16"), (False, True), (False, True))
    settings = [of for of in every if of[0] == "pretraining" or not of[2]]  # checkpointing is the same in all
    wrong = sum(not compare(*of) for of in settings)
    print(f"\n{wrong} settings are more than {BOUND:.0%} off before the margin, or under after it")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
