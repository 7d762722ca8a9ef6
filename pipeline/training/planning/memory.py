"""How much memory a training step takes, found by running it on tensors that have a shape but no contents.

The step is the real one: the same network, loss, optimiser and order of calls, under torch's `FakeTensorMode` and its
memory tracker. So there is no formula to keep consistent with the network. What the tracker cannot see is added: a
fixed amount for the process (kernel workspaces, the driver) and a measured margin; docs/results/plan.md has the
figures.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Literal

from model.config import ModelConfig
from pipeline.training.training_settings import LoopSettings

# Measured against real peaks (benchmarks/plan_vs_measured.py; docs/results/plan.md): the estimate is up to 5 % low.
MARGIN = 0.10
# A CUDA context with its libraries, before the first tensor: 0.3-0.6 GB on current drivers.
CUDA_CONTEXT = 600e6
# Workspaces of kernels and threads on a CPU: 15 to 31 MiB were measured (docs/results/plan.md).
WORK_SPACE = 24e6
LARGEST_MICRO_BATCH = 1024
TRACED_TOKENS = 1024  # in the smaller of the two batches that are traced


@dataclass(frozen=True)
class Step:
    """The settings that a step's memory depends on."""

    sequences: int
    precision: str = "fp32"
    activation_checkpointing: bool = False
    chunk: int | None = None  # as in `linear_cross_entropy`: None is the device's default, 0 disables chunking
    optimiser: Literal["adamw", "muon"] = "adamw"
    average: bool = False
    accumulates: bool = True  # gradients of earlier micro-batches are in memory
    shards: int = 1  # devices that weights, gradients and optimiser are split over

    @staticmethod
    def of(settings: LoopSettings, sequences: int, precision: str, shards: int = 1) -> Step:
        return Step(
            sequences, precision, settings.activation_checkpointing, settings.chunk, settings.optimiser,
            settings.ema > 0,
            shards=shards,
        )  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """Peak memory in bytes, by part."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    other: float  # short-lived tensors, such as gradients of activations
    process: float  # not in tensors: the CUDA context, workspaces of kernels and threads
    margin: float

    @property
    def expected(self) -> float:
        return self.total - self.margin

    @property
    def tracked(self) -> float:
        """The memory of the tensors alone."""
        return self.expected - self.process

    @property
    def total(self) -> float:
        return sum(getattr(self, field.name) for field in fields(self))

    def parts(self) -> dict[str, int]:
        """Each part and the total, in MiB."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)} | {"total": self.total}
        return {name: round(size / 2**20) for name, size in parts.items()}


def of_step(config: ModelConfig, step: Step, device: str = "cpu") -> Memory:
    """Memory of one training step of `step.sequences` full sequences. Takes a second or two for a network of any size.

    All blocks are alike, and so are all sequences, so every depth and batch size is extrapolated from two of each (a
    test checks this).
    """
    from model.operations import rows_at_once

    if step.chunk is None:
        step = replace(step, chunk=rows_at_once(config.vocab_size, device.split(":")[0]))
    # With recomputation, small batches peak in the loss and larger ones in a block. Trace batches large enough for the
    # peak to be in a block, and for the loss to use a full chunk.
    tokens = max(TRACED_TOKENS * (4 if step.activation_checkpointing else 1), step.chunk or 0)
    few = max(1, tokens // config.context)

    def at(layers: int, sequences: int) -> dict[str, float]:
        return _traced(config.model_copy(update={"layers": layers}), replace(step, sequences=sequences))

    def at_depth(layers: int) -> dict[str, float]:
        if step.sequences <= 2 * few:
            return at(layers, step.sequences)
        return _extrapolated(at(layers, few), at(layers, 2 * few), (step.sequences - few) / few)

    parts = (
        at_depth(config.layers) if config.layers <= 3 else _extrapolated(at_depth(2), at_depth(3), config.layers - 2)
    )
    if step.chunk and device.startswith("cuda"):  # there the gradient has a buffer of its own
        parts["logits"] += 4.0 * min(step.chunk, step.sequences * config.context) * config.vocab_size
    tracked = sum(parts.values())
    process = CUDA_CONTEXT if device.startswith("cuda") else WORK_SPACE
    return Memory(**parts, process=process, margin=MARGIN * tracked)


def _extrapolated(first: dict[str, float], second: dict[str, float], steps: float) -> dict[str, float]:
    return {name: max(0.0, first[name] + steps * (second[name] - first[name])) for name in first}


def upper_bound(config: ModelConfig, step: Step) -> float:
    """A loose upper bound in bytes, computed without tracing: a step whose bound fits needs no closer look.

    It counts every tensor that a block could keep, in fp32, with materialised attention scores and all logits twice.
    """
    full = config.resolved()
    tokens = step.sequences * full.context
    block = 30 * full.width + 8 * full.ffn + 4 * full.heads * full.context
    weights = full.vocab_size * full.width * 2 + full.layers * (
        4 * full.width * full.heads * full.head_width + 3 * full.width * full.ffn
    )
    tensors = 6 * weights + tokens * (full.layers * block + 10 * full.width + 4 * full.vocab_size)
    return 4.0 * tensors + WORK_SPACE


@lru_cache(maxsize=256)
def _traced(config: ModelConfig, step: Step) -> dict[str, float]:
    """Peak memory in bytes, by part. The optimiser step is not traced: it needs no more than the backward pass."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.distributed._tools.mem_tracker import MemTracker

    from model.transformer import Transformer
    from pipeline.training.optimiser import Optimiser

    with FakeTensorMode():
        network = Transformer(config)
        network.gradient_checkpointing = step.activation_checkpointing
        optimiser = Optimiser(network, LoopSettings.model_validate({"optimiser": step.optimiser}), 1e-3)
        tokens = torch.zeros(step.sequences, config.context, dtype=torch.int64)
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimiser.step(1.0)  # creates the optimiser's state
        if not step.accumulates:
            optimiser.zero_grad()
        tracker = MemTracker()
        tracker.track_external(network, *optimiser.parts, tokens)
        with tracker:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=step.precision != "fp32"):
                loss, _ = network(tokens, tokens, chunk=step.chunk)
            loss.backward()
        (peak,) = [parts for where, parts in tracker.get_tracker_snapshot("peak").items() if where.type == "cpu"]
        vocabulary = network.config.vocab_size
    size = {str(getattr(kind, "value", kind)): float(value) for kind, value in peak.items()}
    weights = size["Parameter"] + size["Buffer"]
    passing = size["Activation"] + size["Temp"] + size["Other"]
    # Logits in fp32: those of all tokens with their gradient, or those of one chunk, which its gradient overwrites.
    rows_held = min(tokens.numel(), step.chunk) if step.chunk else 2 * tokens.numel()
    logits = min(4.0 * rows_held * vocabulary, passing)
    activations = min(size["Activation"], passing - logits)
    average = size["Parameter"] if step.average else 0.0
    share = 1 / step.shards
    return {
        "weights": weights * share,
        "gradients": size["Gradient"] * share,
        "optimiser": (size["Optstate"] + average) * share,
        "activations": activations,
        "logits": logits,
        "other": passing - logits - activations,
    }


def largest_micro_batch(config: ModelConfig, step: Step, limit: float, device: str = "cpu") -> int:
    """The largest number of sequences (a power of two) whose step fits into `limit` bytes; 0 if not even one does."""
    sequences = LARGEST_MICRO_BATCH
    while sequences and of_step(config, replace(step, sequences=sequences), device).total > limit:
        sequences //= 2
    return sequences
