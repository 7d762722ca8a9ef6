"""What the machine can do: its device, number formats, peak speed and memory.

Peak rates of GPUs are those of `cards.py`; on a CPU the peak is measured with a matrix multiplication, where training
spends most of its time. Which number format is faster on a CPU is measured, too (`measured.py`).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from model.config import ModelConfig
from pipeline.errors import UserError
from pipeline.training import cards
from pipeline.training.measured import Machine, bf16_gain, decoding_gain, muon_gain

if TYPE_CHECKING:
    import torch


# On a CPU, smaller networks are trained in fp32: there, conversion costs as much as bf16 saves, so nothing is measured.
BF16_PARAMETERS = 1_000_000  # docs/results/training-quality.md, "Precision on a CPU"
DECODING_PARAMETERS = 5_000_000  # the same for generating, one token at a time
USABLE = 0.95  # of free memory: a desktop takes a part, and so does fragmentation
WORTH_IT = 1.25  # how many times as fast bf16 has to be: far from 1, so that no machine is on the edge


def choose_device(setting: str) -> str:
    """The device that `setting` (`auto`, `cpu` or `cuda`) stands for. Raises UserError if there is no such device."""
    import torch

    if setting == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if setting.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            "The recipe sets device: cuda, but torch finds no GPU: set execution.device to auto or cpu, or install a"
            " CUDA build of torch."
        )
    return setting


def capability(device: str) -> tuple[int, int] | None:
    """Compute capability of a GPU, as (major, minor); None for a CPU."""
    import torch

    return torch.cuda.get_device_capability(device) if device.startswith("cuda") else None


def choose_precision(setting: str, device: str, config: ModelConfig, here: Machine) -> str:
    """The number format that `setting` stands for; `auto` is the fastest one in which training on `device` is stable.

    On a CPU, `auto` follows what was measured `here`. Raises UserError for a format that the device does not support.
    """
    import torch

    if device.startswith("cuda"):
        modern = torch.cuda.get_device_capability(device)[0] >= 8
        if setting == "auto":
            return "bf16" if modern else "fp16"
        return setting
    if setting == "fp16":
        raise UserError("precision: fp16 needs a GPU; on a CPU use auto, fp32 or bf16.")
    if setting == "auto":
        return "bf16" if large_enough(config) and bf16_gain(here, config) >= WORTH_IT else "fp32"
    return setting


def large_enough(config: ModelConfig) -> bool:
    """Whether bf16 may pay for training a network of this size on a CPU."""
    from pipeline.training.planning.budget import size

    return size(config).parameters >= BF16_PARAMETERS


def muon_precision(device: str, config: ModelConfig, here: Machine) -> str:
    """The number format in which Muon's rounds multiply on `device`: bf16 on a GPU, what is faster on a CPU."""
    if not device.startswith("cpu"):
        return "bf16"
    return "bf16" if large_enough(config) and muon_gain(here, config) >= WORTH_IT else "fp32"


def evaluation_precision(device: str, config: ModelConfig, here: Machine) -> str:
    """The number format in which a finished model is measured: that of training, without the scaling of fp16."""
    precision = choose_precision("auto", device, config, here)
    return "fp32" if precision == "fp16" else precision


def for_generation(network: Any, here: Machine) -> Any:
    """The network to generate with, one text at a time: a copy in bf16 where that was measured to be faster on a CPU.

    On a GPU, and for small networks, the network itself. On a CPU its weights are arranged for decoding, a second time.
    """
    import copy

    import torch

    from model.decoding import arrange
    from pipeline.training.measured import in_format

    weight = network.output_weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or not network.config.causal:
        return arrange(network)
    if network.parameters_count() < DECODING_PARAMETERS or decoding_gain(here, network) < WORTH_IT:
        return arrange(network)
    return arrange(in_format(copy.deepcopy(network), torch.bfloat16))


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    import torch

    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def worth_compiling(setting: str, device: str, flops: float) -> bool:
    """Whether to compile the network. It takes half a minute or more; on a CPU it pays from 15 minutes of training."""
    if setting != "auto":
        return setting == "on"
    if device.startswith("cuda"):
        try:
            import triton  # noqa: F401
        except ImportError:
            return False
        return flops > 1e15
    return flops > 1.5e14 and shutil.which("g++") is not None


def compiled(network: torch.nn.Module) -> torch.nn.Module:
    """The network, compiled for each shape that it is given."""
    import warnings

    import torch

    # Said in every compiled run on a GPU. What is multiplied in fp32 is meant to be, and autocast multiplies the rest.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    return torch.compile(network, dynamic=False)  # type: ignore[return-value]


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Within it, kernels are deterministic. Those of a CPU are anyway.

    Strictly: with `warn_only`, torch's fused attention kernels warn in each run and compute their gradients in any
    order. Nothing in a training lacks a deterministic kernel. In this mode torch also fills every `torch.empty`, to
    show reads of memory that nothing was written to; that is a pass over memory for each, so it is switched off.
    """
    import torch
    import torch.utils.deterministic

    if not device.startswith("cuda"):
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings: Any = torch.utils.deterministic
    filled, enabled = settings.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    settings.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:  # code of one's own, a measure perhaps, may need other kernels
        torch.use_deterministic_algorithms(enabled, warn_only=warned)
        settings.fill_uninitialized_memory = filled


def peak_flops(device: str, precision: str) -> float:
    """Peak FLOP/s of one device, now; 0 for a GPU that is not in the table."""
    import torch

    if device.startswith("cuda"):
        card = cards.match(torch.cuda.get_device_name(device))
        return card.tflops.get(precision, 0.0) * 1e12 if card else 0.0
    return measured_peak(torch.bfloat16 if precision == "bf16" else torch.float32)


def measured_peak(dtype: torch.dtype, size: int = 1024, times: int = 4) -> float:
    """FLOP/s of a square matrix multiplication, the best of `times` runs."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a = torch.randn(size, size, generator=generator).to(dtype)
    best = float("inf")
    for _ in range(times):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def memory_used(device: str) -> float:
    """Bytes: on a GPU, the peak that torch has reserved so far; on a CPU, what this process holds now."""
    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_reserved(device))
    import psutil

    return float(psutil.Process().memory_info().rss)


def free_memory(device: str) -> float:
    """Memory of the device that this process may use, in bytes: what is free, within the limit of the container.

    Processes of one run that share a machine's memory (torchrun on a CPU) divide it.
    """
    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    available = float(psutil.virtual_memory().available)
    limit = container_limit()
    sharers = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return (min(available, limit) if limit else available) / sharers


def container_limit() -> float:
    """Bytes that the control group of this process may still allocate; 0 if there is no limit."""
    from pathlib import Path

    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
    except OSError:
        return 0.0
    return 0.0 if limit == "max" else float(limit) - float(used)


def is_out_of_memory(error: BaseException) -> bool:
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))
    )
