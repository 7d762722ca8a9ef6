"""How much memory a training step takes: traced at a few sizes (`tracing.py`), from which every size follows.

What the tracker cannot see is added: a fixed amount for the process (kernel workspaces, the driver) and a measured
margin; docs/results/plan.md has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from model.config import ModelConfig
from pipeline.training.planning.tracing import Step, traced

# Measured against real peaks (benchmarks/plan_vs_measured.py; docs/results/plan.md): the estimate is up to 5 % low.
MARGIN = 0.10
# A CUDA context with its libraries, before the first tensor: 0.3-0.6 GB on current drivers.
CUDA_CONTEXT = 600e6
# Workspaces of kernels and threads on a CPU: 15 to 31 MiB were measured (docs/results/plan.md).
WORK_SPACE = 24e6
LARGEST_MICRO_BATCH = 1024
CHUNKS = 32  # of the loss, in the smaller of two batches that stand for a larger one; each takes 20 ms to trace


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


def of_step(config: ModelConfig, step: Step) -> Memory:
    """Memory of one training step of `step.sequences` full sequences, whose every token counts.

    All blocks are alike, so every depth is extrapolated from two (a test checks this). Whether the peak is in the loss
    or in a block depends on the number of sequences, so they are traced as they are. Only a very large batch is
    extrapolated, from two that are large enough to peak in the same place.
    """
    from model.operations import rows_at_once

    if step.chunk is None:
        step = replace(step, chunk=rows_at_once(config.vocab_size, step.device))
    most = step.with_sequences(CHUNKS * step.chunk // config.context).sequences if step.chunk else step.sequences

    def at(layers: int, sequences: int) -> Mapping[str, float]:
        return traced(config.model_copy(update={"layers": layers}), replace(step, sequences=sequences))

    def at_depth(layers: int) -> Mapping[str, float]:
        if step.sequences <= 2 * most:
            return at(layers, step.sequences)
        return _extrapolated(at(layers, most), at(layers, 2 * most), (step.sequences - most) / most)

    shallow = config.layers <= 3
    found = at_depth(config.layers) if shallow else _extrapolated(at_depth(2), at_depth(3), config.layers - 2)
    parts = dict(found)
    if step.chunk and step.gpu:  # there the gradient has a buffer of its own
        parts["logits"] += 4.0 * min(step.chunk, step.sequences * config.context) * config.vocab_size
    tracked = sum(parts.values())
    process = CUDA_CONTEXT if step.gpu else WORK_SPACE
    return Memory(**parts, process=process, margin=MARGIN * tracked)


def _extrapolated(first: Mapping[str, float], second: Mapping[str, float], steps: float) -> Mapping[str, float]:
    return {name: max(0.0, first[name] + steps * (second[name] - first[name])) for name in first}


def upper_bound(config: ModelConfig, step: Step) -> float:
    """A loose upper bound in bytes, computed without tracing: a step whose bound fits needs no closer look.

    It counts every tensor that a block could keep, in fp32, with materialised attention scores and all logits twice
    (four times for preferences, whose logits are kept for the backward pass if they are not chunked).
    """
    full = config.resolved()
    tokens = step.sequences * full.context
    block = 30 * full.width + 8 * full.ffn + 4 * full.heads * full.context + 7 * step.lora_rank
    logits = 8 if step.preference or step.tokenwise else 4
    layers = full.layers + step.ahead
    weights = full.vocab_size * full.width * 2 + layers * (
        4 * full.width * full.heads * full.head_width + 3 * full.width * full.ffn
    )
    tensors = 6 * weights + tokens * (layers * block + 10 * full.width + (1 + step.ahead) * logits * full.vocab_size)
    return 4.0 * tensors + WORK_SPACE


def largest_micro_batch(config: ModelConfig, step: Step, limit: float) -> int:
    """The largest number of sequences (a power of two) whose step fits into `limit` bytes; 0 if not even one does."""
    few, many = 0, LARGEST_MICRO_BATCH.bit_length()  # 2^(few - 1) fit and 2^many do not
    while few < many:
        power = (few + many) // 2
        sequences = 2**power
        fits = sequences < step.least or of_step(config, replace(step, sequences=sequences)).total <= limit
        few, many = (power + 1, many) if fits else (few, power)
    sequences = 2**few // 2
    return sequences if sequences >= step.least else 0
