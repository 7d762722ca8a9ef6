"""The `Objective`: what differs between pretraining, fine-tuning and preference tuning.

Also how its batches are read: one step ahead, with a seed for each micro-batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from pipeline.training import transfer
from pipeline.training.transfer import Batch

# What is done before a step, on every rank: (network as it is, step, its batches) -> its batches with what follows from
# that network, such as text that it writes. Called without gradients, in the number format of the training.
Enrich = Callable[[torch.nn.Module, int, list[Batch]], list[Batch]]


@dataclass(frozen=True)
class Objective:
    """What the loop trains: batches, their loss and their validation.

    `batch(step, micro)` is a pure function. `units(batch)` is the number of targets or pairs that the loss is averaged
    over. `loss(model, batch)` returns the loss and further figures, all summed over the units. `enrich` is a pure
    function, too: of the step, its batches and the weights; so a step that was broken off and is repeated from a
    checkpoint does the same. `measure(model, i)` returns sums over validation batch i, always under the same names;
    `summary` turns their totals into figures, among them `validation_loss`. Validation uses the first
    `validation_batches` during training and, if there are more, `validation_batches_final` once at the end. Figures
    stay on the device (`transfer.py`); the loop fetches them.
    """

    name: str
    steps: int
    accumulation: int
    step_tokens: int
    batch: Callable[[int, int], Batch]
    units: Callable[[Batch], float]
    loss: Callable[[torch.nn.Module, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
    enrich: Enrich | None = None
    together: int = 1  # steps that share what the first of them is enriched with: no checkpoint is kept between them
    validation_batches: int = 0
    validation_batches_final: int = 0
    measure: Callable[[torch.nn.Module, int], dict[str, torch.Tensor | float]] | None = None
    summary: Callable[[dict[str, float]], dict[str, float]] | None = None
    sample: Callable[[torch.nn.Module], str] | None = None
    ask: Callable[[torch.nn.Module], dict[str, float]] | None = None  # further figures of the log at each validation
    kept_steps: frozenset[int] = frozenset()  # the weights after these stay beside the finished model
    flops_per_token: float = 0.0
    shapes: int = 1  # in which batches come if the network is compiled, which takes its time for each
    out_of_memory: Callable[[], str] = lambda: "use fewer sequences in a micro-batch"

    @property
    def flops(self) -> float:
        """Of the whole run."""
        return self.flops_per_token * self.step_tokens * self.steps


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
    """Reads the next step's batches, into memory from which `device` can copy, while the current step is computed."""

    def __init__(self, objective: Objective, device: str):
        self._objective, self._device = objective, device
        self._reader = ThreadPoolExecutor(1, "batches", initializer=transfer.use_in_this_thread, initargs=(device,))
        self._next: tuple[int, Future[tuple[list[Batch], float]]] | None = None

    def take(self, step: int) -> tuple[list[Batch], float]:
        """(the micro-batches of `step`, the units in all of them)."""
        prefetched, self._next = self._next, None
        future = prefetched[1] if prefetched and prefetched[0] == step else self._submit(step)
        taken = future.result()
        if step + 1 < self._objective.steps:
            self._next = (step + 1, self._submit(step + 1))
        return taken

    def _submit(self, step: int) -> Future[tuple[list[Batch], float]]:
        return self._reader.submit(self._read, step)

    def _read(self, step: int) -> tuple[list[Batch], float]:
        batches = [self._objective.batch(step, micro) for micro in range(self._objective.accumulation)]
        units = sum(self._objective.units(batch) for batch in batches)
        return [transfer.pinned(batch, self._device) for batch in batches], units

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)


def micro_batch_seed(seed: int, step: int, micro: int, rank: int) -> int:
    """The random seed of one micro-batch (for dropout), so that checkpoints need no generator state."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{micro}/{rank}".encode()).digest()[:8], "big") >> 1
