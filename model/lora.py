"""Low-rank additions to a trained network (LoRA, Hu et al. 2021): train a few weights, keep the rest frozen.

A linear layer with an addition keeps its weight under the same name and gains two small matrices. So the network's
files stay loadable, and merging is one sum per layer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.transformer import Transformer

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHTS, ABOUT = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."  # the `peft` library's name for the network


class LoraLinear(nn.Linear):
    """y = W x + b + (alpha / rank) B A x, with W and b frozen. B is initialised to 0, so the function is unchanged."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as in the authors' code

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) + F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scale


def add(model: Transformer, rank: int, alpha: float, targets: Sequence[str] = TARGETS) -> list[nn.Parameter]:
    """Freeze the network and add a low-rank addition to its linear layers named `targets`; returns their parameters.

    Raises ValueError if there are additions already, or if no layer has such a name.
    """
    if additions(model):
        raise ValueError("this network already has low-rank additions: merge them first.")
    layers = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if name in targets and isinstance(child, nn.Linear)
    ]
    if not layers or rank < 1:
        raise ValueError(f"no addition of rank {rank} can be made to {', '.join(targets)}: no such layer or rank.")
    model.requires_grad_(False)
    for parent, name, child in layers:
        setattr(parent, name, LoraLinear(child, rank, alpha))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def additions(model: Transformer) -> dict[str, LoraLinear]:
    """The layers that have an addition, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


@torch.no_grad()
def merge(model: Transformer) -> None:
    """Merge the additions into the weights, in place, and make every parameter trainable again."""
    for name, layer in additions(model).items():
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        product = (layer.lora_B.float() @ layer.lora_A.float()) * layer.scale
        plain.weight = nn.Parameter((layer.weight.float() + product).to(layer.weight.dtype))
        plain.bias = layer.bias
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, plain)
    model.requires_grad_(True)


def save(model: Transformer, directory: str | Path) -> None:
    """Write only the additions, in the `peft` library's format: `adapter_model.safetensors`, `adapter_config.json`."""
    layers = additions(model)
    if not layers:
        raise ValueError("this network has no low-rank additions to save.")
    weights = {}
    for name, layer in layers.items():
        weights[f"{PREFIX}{name}.lora_A.weight"] = layer.lora_A.detach().cpu().contiguous()
        weights[f"{PREFIX}{name}.lora_B.weight"] = layer.lora_B.detach().cpu().contiguous()
    first = next(iter(layers.values()))
    rank = first.lora_A.shape[0]
    about = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": first.scale * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in layers}),
        "base_model_name_or_path": None,
        "inference_mode": True,
    }
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(weights, directory / WEIGHTS, {"format": "pt"})
    (directory / ABOUT).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(model: Transformer, directory: str | Path) -> list[nn.Parameter]:
    """Add the additions saved in `directory`; returns their parameters. Raises ValueError if they do not fit."""
    about = json.loads((Path(directory) / ABOUT).read_text(encoding="utf-8"))
    weights = load_file(Path(directory) / WEIGHTS)
    trained = add(model, about["r"], about["lora_alpha"], about["target_modules"])
    layers = additions(model)
    expected = {
        f"{PREFIX}{name}.{part}.weight": getattr(layer, part)
        for name, layer in layers.items()
        for part in ("lora_A", "lora_B")
    }
    if {name: tuple(w.shape) for name, w in weights.items()} != {name: tuple(w.shape) for name, w in expected.items()}:
        raise ValueError(f"the additions in {directory} were made for a network of another shape.")
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(weights[name])
    return trained
