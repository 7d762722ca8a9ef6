"""What an artifact was made on: processor, libraries, threads. It explains why two makings of one version differ.

Data artifacts are the same bytes on every machine. Weights are not: products of matrices are summed in another order on
another kind of processor, by another version of torch, or with another number of threads. So the manifest notes these
under `made_on`, outside of the identity of the artifact.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "polars", "sentencepiece", "torch")  # noted if this process has loaded them
UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")  # of a processor, as /proc/cpuinfo names them
UNKNOWN = "an unknown machine"  # of artifacts that older versions made

MadeOn = Mapping[str, Any]


def made_on() -> dict[str, Any]:
    """What this process runs on, as far as it can matter for the bytes that it makes."""
    loaded = {name: sys.modules[name] for name in LIBRARIES if name in sys.modules}
    found: dict[str, Any] = {"cpu": cpu_model(), "python": platform.python_version()}
    found |= {name: str(module.__version__) for name, module in loaded.items()}
    return found | (of_torch() if "torch" in loaded else {})


def of_torch() -> dict[str, Any]:
    """Number of threads, and the libraries that multiply matrices with what they use of the processor."""
    import torch

    about = torch.__config__.show()
    blas = re.search(r"BLAS_INFO=(\w+)", about)
    onednn = re.search(r"MKL-DNN v([\d.]+)", about)
    parts = [blas[1] if blas else "", f"oneDNN {onednn[1]}" if onednn else "", torch.backends.cpu.get_cpu_capability()]
    return {"threads": torch.get_num_threads(), "blas": ", ".join(part for part in parts if part)}


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """The processor's name with its vector units, since hypervisors often give different processors one name."""
    name, flags = platform.processor() or platform.machine(), ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = value
                break
    except OSError:
        pass
    return " ".join([name, *(unit for unit in UNITS if unit in flags.split())])


def words(made: MadeOn | None) -> str:
    """`AMD EPYC avx512_bf16, python 3.11.9, torch 2.13.0, 2 threads`, from a manifest's `made_on`."""
    if not made:
        return UNKNOWN
    first = [str(made[name]) for name in ("device", "cpu") if name in made]
    rest = [f"{name} {value}" for name, value in made.items() if name not in ("device", "cpu")]
    return ", ".join(first + sorted(rest))


def explained(here: MadeOn | None, there: MadeOn | None) -> str:
    """Why two makings of one version may differ: `made with torch 2.13.0 and with 2.12.1`, in one clause."""
    if not here or not there:
        return "one of them was made before manifests noted on what"
    changed = [
        f"{name} {here.get(name, 'none')} and {there.get(name, 'none')}"
        for name in sorted({*here, *there})
        if here.get(name) != there.get(name)
    ]
    if not changed:
        return f"both were made on the same kind of machine ({words(here)})"
    return f"they were made with {', '.join(changed)}"
