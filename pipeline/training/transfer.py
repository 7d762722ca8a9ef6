"""Batches on their way to the device, and figures on their way back.

A GPU works through a queue that the program fills in advance. Whoever asks for a value (`.item()`, `float(tensor)`, an
index of truth values, an ordinary copy) waits until the queue is empty, and then the GPU waits for the next entry. So
batches are copied from page-locked memory, into which the thread that reads them puts them, and figures stay on the
device until all of a step are fetched at once (`tests/training/test_synchronisations.py` counts).

On a CPU nothing of this has an effect, and figures come out as `float(tensor)` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Any]  # name -> tensor (on the CPU when read) or None
Figures = Mapping[str, Sequence[Tensor | float]]  # single numbers


def pinned(batch: Batch, device: str) -> Batch:
    """The batch in page-locked memory if `device` is a GPU. It takes a while: call it where batches are read."""
    if not device.startswith("cuda"):
        return batch
    return {name: value.pin_memory() if isinstance(value, Tensor) else value for name, value in batch.items()}


def use_in_this_thread(device: str) -> None:
    """Make `device` the current one. A thread starts with the first GPU, and page-locking would open it."""
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


def to_device(batch: Batch, device: str) -> Batch:
    """The batch on `device`. From page-locked memory it is copied while the program goes on."""
    if device == "cpu":
        return batch
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }


def send(batch: Batch, device: str) -> Batch:
    """The batch on `device`, where no other thread could have put it into page-locked memory before."""
    return to_device(pinned(batch, device), device)


def fetch(figures: Figures) -> Callable[[], dict[str, float]]:
    """Start to copy figures from the device, all at once.

    The function returned waits for them, and for no later work, and gives the sum of each: in fp64, in their order.
    """
    tensors = [value for values in figures.values() for value in values if isinstance(value, Tensor)]
    arrive = start_copy(torch.stack([tensor.detach().to(torch.float64) for tensor in tensors])) if tensors else list

    def wait() -> dict[str, float]:
        arrived = iter(arrive())
        sums = dict.fromkeys(figures, 0.0)
        for name, values in figures.items():
            for value in values:
                sums[name] += next(arrived) if isinstance(value, Tensor) else value
        return sums

    return wait


def start_copy(values: Tensor) -> Callable[[], list[float]]:
    """Start to copy a vector from its device; the function returned waits for the copy."""
    if not values.is_cuda:
        return values.tolist
    copied = values.to("cpu", non_blocking=True)  # into page-locked memory, as torch does for such a copy
    event = torch.cuda.current_stream(values.device).record_event()

    def wait() -> list[float]:
        event.synchronize()
        return copied.tolist()

    return wait
