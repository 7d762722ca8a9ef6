"""The `Objective`: what differs between pretraining, fine-tuning and preference tuning.

Also how its batches reach the network: prefetched one step ahead, with a seed for each micro-batch, on the device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

Batch = dict[str, Any]  # name -> tensor (on the CPU when read) or None


@dataclass(frozen=True)
class Objective:
    """What the loop trains: batches, their loss and their validation.

    `batch(step, micro)` is a pure function. `units(batch)` is the number of targets or pairs that the loss is averaged
    over. `loss(model, batch)` returns the loss and further figures, all summed over the units. `measure(model, i)`
    returns sums over validation batch i, always under the same names; `summary` turns their totals into figures, among
    them `validation_loss`. Validation uses the first `validation_batches` during training and, if there are more,
    `validation_batches_final` once at the end.
    """

    name: str
    steps: int
    accumulation: int
    step_tokens: int
    batch: Callable[[int, int], Batch]
    units: Callable[[Batch], float]
    loss: Callable[[torch.nn.Module, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
    validation_batches: int = 0
    validation_batches_final: int = 0
    measure: Callable[[torch.nn.Module, int], dict[str, float]] | None = None
    summary: Callable[[dict[str, float]], dict[str, float]] | None = None
    sample: Callable[[torch.nn.Module], str] | None = None
    flops_per_token: float = 0.0
    out_of_memory: Callable[[], str] = lambda: "use fewer sequences in a micro-batch"


@dataclass
class TrainingResult:
    """The result of a run: its log, its last validation figures, the skipped steps, and timings in seconds."""

    log: list[dict[str, Any]]
    figures: dict[str, float]
    skipped: list[int]
    timings: dict[str, float] = field(default_factory=dict)


class LossModule(torch.nn.Module):
    """A module whose call returns the loss of a batch, for DDP and torch.compile to wrap."""

    def __init__(self, model: torch.nn.Module, loss: Callable[..., Any]):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Batch) -> Any:
        return self.loss(self.model, batch)


class Prefetcher:
    """Reads the next step's batches while the current step is computed."""

    def __init__(self, objective: Objective):
        self._objective = objective
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[list[Batch]]] | None = None

    def take(self, step: int) -> list[Batch]:
        """The micro-batches of `step`."""
        prefetched, self._next = self._next, None
        future = prefetched[1] if prefetched and prefetched[0] == step else self._submit(step)
        batches = future.result()
        if step + 1 < self._objective.steps:
            self._next = (step + 1, self._submit(step + 1))
        return batches

    def _submit(self, step: int) -> Future[list[Batch]]:
        return self._reader.submit(
            lambda: [self._objective.batch(step, m) for m in range(self._objective.accumulation)]
        )

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)


def to_device(batch: Batch, device: str) -> Batch:
    if device == "cpu":
        return batch
    return {
        name: value.pin_memory().to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in batch.items()
    }


def micro_batch_seed(seed: int, step: int, micro: int, rank: int) -> int:
    """The random seed of one micro-batch (for dropout), so that checkpoints need no generator state."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{micro}/{rank}".encode()).digest()[:8], "big") >> 1
