"""What the machine can do: its device, number formats, peak speed and memory.

Peak rates of GPUs are the dense ones with fp32 accumulation from the manufacturer's data sheets, as training uses
them; on a CPU the peak is measured with a matrix multiplication, where training spends most of its time.
"""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    import torch


BF16_PARAMETERS = 1_000_000  # from this size, `auto` is bf16 on a CPU with AMX (docs/results/training-quality.md)


@dataclass(frozen=True)
class Card:
    """One kind of GPU. `tflops`: peak rate by number format; `memory_gib`: approximately as the driver reports it."""

    name: str
    memory_gib: float
    tflops: dict[str, float]

    @property
    def precision(self) -> str:
        """The number format that `auto` is on this card."""
        return "bf16" if "bf16" in self.tflops else "fp16"


# NVIDIA's data sheets and architecture white papers (Turing, Ampere GA102, Ada, Hopper), dense tensor-core rates with
# fp32 accumulation. GeForce cards reach half their fp16-accumulation rate here; the white papers list both.
CARDS = {
    "t4": Card("Tesla T4", 15.0, {"fp16": 65.0, "fp32": 8.1}),
    "v100": Card("Tesla V100", 16.0, {"fp16": 125.0, "fp32": 15.7}),
    "2080ti": Card("GeForce RTX 2080 Ti", 11.0, {"fp16": 53.8, "fp32": 13.4}),
    "3060": Card("GeForce RTX 3060", 12.0, {"bf16": 25.5, "fp16": 25.5, "fp32": 12.7}),
    "3090": Card("GeForce RTX 3090", 24.0, {"bf16": 71.0, "fp16": 71.0, "fp32": 35.6}),
    "4060ti": Card("GeForce RTX 4060 Ti", 16.0, {"bf16": 44.1, "fp16": 44.1, "fp32": 22.1}),
    "4070tisuper": Card("GeForce RTX 4070 Ti SUPER", 16.0, {"bf16": 88.2, "fp16": 88.2, "fp32": 44.1}),
    "4080": Card("GeForce RTX 4080", 16.0, {"bf16": 97.5, "fp16": 97.5, "fp32": 48.7}),
    "4090": Card("GeForce RTX 4090", 24.0, {"bf16": 165.2, "fp16": 165.2, "fp32": 82.6}),
    "a10": Card("A10", 23.0, {"bf16": 125.0, "fp16": 125.0, "fp32": 31.2}),
    "a100": Card("A100", 40.0, {"bf16": 312.0, "fp16": 312.0, "fp32": 19.5}),
    "a100-80": Card("A100 80GB", 80.0, {"bf16": 312.0, "fp16": 312.0, "fp32": 19.5}),
    "l4": Card("L4", 22.5, {"bf16": 121.0, "fp16": 121.0, "fp32": 30.3}),
    "l40s": Card("L40S", 45.0, {"bf16": 362.0, "fp16": 362.0, "fp32": 91.6}),
    "h100": Card("H100", 80.0, {"bf16": 989.0, "fp16": 989.0, "fp32": 67.0}),
}


def find_card(name: str) -> Card:
    """The card called `name` (`3090`, `rtx 3090`, `A100-80`). Raises UserError, listing the known cards."""
    import difflib

    key = (
        name.lower().replace("rtx", "").replace("geforce", "").replace("nvidia", "").replace(" ", "").replace("_", "-")
    )
    if key in CARDS:
        return CARDS[key]
    near = difflib.get_close_matches(key, CARDS, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"The card `{name}` is not in the table: {hint}the known cards are {', '.join(CARDS)}.")


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


def choose_precision(setting: str, device: str, parameters: int) -> str:
    """The number format that `setting` stands for; `auto` is the fastest one in which training on `device` is stable.

    Raises UserError for a format that the device does not support.
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
        # With AMX, bf16 is 1.2 times as fast at 1 M parameters and twice as fast at 18 M; below, conversion costs more.
        return "bf16" if bf16_is_fast(device) and parameters >= BF16_PARAMETERS else "fp32"
    return setting


def bf16_is_fast(device: str) -> bool:
    """Whether the device multiplies matrices faster in bf16 than in fp32; a CPU without AMX does not."""
    import torch

    return not device.startswith("cpu") or torch.cpu._is_amx_tile_supported()


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


def make_deterministic(device: str) -> None:
    """Use deterministic kernels. CPU kernels are deterministic anyway."""
    import os

    import torch

    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def peak_flops(device: str, precision: str) -> float:
    """Peak FLOP/s of one device; 0 if unknown."""
    import torch

    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
        matching = [
            card for card in CARDS.values() if card.name.removeprefix("GeForce ").removeprefix("Tesla ") in name
        ]
        if not matching:
            return 0.0
        return max(matching, key=lambda card: len(card.name)).tflops.get(precision, 0.0) * 1e12
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
    """Free memory of the device in bytes, within the limit of the container."""
    import torch

    if device.startswith("cuda"):
        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    available = float(psutil.virtual_memory().available)
    limit = container_limit()
    return min(available, limit) if limit else available


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
