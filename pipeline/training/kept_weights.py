"""Weights of a run before its end, kept beside the finished model so that tasks can be measured on them.

    kept/step-00000120.safetensors

What a task's figure is worth follows from how much it moves from one of the last of these to the next (Heineman et al.
2025, "Signal and Noise"). A checkpoint, which exists while a run is under way, also holds what it takes to resume.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from model.files import whole

if TYPE_CHECKING:
    import torch

FOLDER = "kept"


def steps_to_keep(steps: int, number: int) -> frozenset[int]:
    """`number` steps, evenly spaced before the end of a run of `steps`; fewer if there are not as many."""
    return frozenset(round(steps * place / (number + 1)) for place in range(1, number + 1)) - {0, steps}


def write(weights: dict[str, torch.Tensor], directory: Path, step: int) -> None:
    """Write the weights after a step below the model's folder, in fp32 on the CPU."""
    import torch
    from safetensors.torch import save_file

    from model.predict_ahead import of_the_model

    own = of_the_model(weights.items())
    copies = {name: tensor.to("cpu", torch.float32, copy=True).contiguous() for name, tensor in own}
    with whole(directory / FOLDER / f"step-{step:08d}.safetensors") as unfinished:
        save_file(copies, unfinished)


def kept(directory: Path) -> list[tuple[int, Path]]:
    """(step, file) of the weights that were kept of a model, the earliest first; empty if none were."""
    files = sorted((directory / FOLDER).glob("step-*.safetensors"))
    return [(int(path.stem.removeprefix("step-")), path) for path in files]


def load_into(network: torch.nn.Module, path: Path) -> None:
    """Replace the weights of a network of the same shape, whatever its number format. Raises ValueError if they are of
    another one."""
    import torch
    from safetensors.torch import load_file

    found, parameters = load_file(path), dict(network.named_parameters())
    if found.keys() != parameters.keys():
        raise ValueError(f"the weights in {path} are of a network of another shape")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(found[name])
