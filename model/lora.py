"""Low-rank additions to a trained network (LoRA, Hu et al. 2021): train a few weights, keep the rest frozen.

A linear layer with an addition keeps its weight under the same name and gains two small matrices. So the network's
files stay loadable, and merging is one sum per layer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.export import GPT2_MATRICES, QKV, layout
from model.files import whole, write_whole
from model.transformer import Transformer

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHTS, ABOUT = "adapter_model.safetensors", "adapter_config.json"
PARTS = ("lora_A", "lora_B")
JOINED = "attn.c_attn"  # GPT-2's queries, keys and values
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


def save(model: Transformer, directory: str | Path, base: str | None = None) -> None:
    """Write only the additions, in the `peft` library's format: `adapter_model.safetensors`, `adapter_config.json`.

    Modules have the names that they have in the layout in which the network is saved (`export.layout`), so the
    additions fit that folder there. `base`: its name on the Hugging Face hub, which `peft` loads by itself.
    """
    layers = additions(model)
    if not layers:
        raise ValueError("this network has no low-rank additions to save.")
    parts = {name: (layer.lora_A.detach().cpu(), layer.lora_B.detach().cpu()) for name, layer in layers.items()}
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
        "base_model_name_or_path": base,
        "inference_mode": True,
    }
    if layout(model.config) == "gpt2":
        parts = _to_gpt2(parts, rank)
        about |= {
            "fan_in_fan_out": True,  # GPT-2's matrices are transposed
            "target_modules": sorted({".".join(name.rsplit(".", 2)[1:]) for name in parts}),
            "rank_pattern": {JOINED: 3 * rank},
            "alpha_pattern": {JOINED: 3 * first.scale * rank},  # the scale, alpha / rank, stays
        }
    weights = {
        f"{PREFIX}{name}.{part}.weight": tensor.contiguous()
        for name, both in parts.items()
        for part, tensor in zip(PARTS, both, strict=True)
    }
    directory = Path(directory)
    with whole(directory / WEIGHTS) as unfinished:
        save_file(weights, unfinished, {"format": "pt"})
    write_whole(directory / ABOUT, json.dumps(about, indent=2, sort_keys=True) + "\n")


def load(model: Transformer, directory: str | Path) -> list[nn.Parameter]:
    """Add the additions saved in `directory`; returns their parameters. Raises ValueError if they do not fit."""
    about = json.loads((Path(directory) / ABOUT).read_text(encoding="utf-8"))
    found = {name.removeprefix(PREFIX): tensor for name, tensor in load_file(Path(directory) / WEIGHTS).items()}
    if layout(model.config) == "gpt2":
        found = _from_gpt2(found)
    targets = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in found})
    trained = add(model, about["r"], about["lora_alpha"], targets)
    expected = {
        f"{name}.{part}.weight": getattr(layer, part) for name, layer in additions(model).items() for part in PARTS
    }
    if {name: tuple(w.shape) for name, w in found.items()} != {name: tuple(w.shape) for name, w in expected.items()}:
        raise ValueError(f"the additions in {directory} were made for a network of another shape.")
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(found[name])
    return trained


# GPT-2 joins queries, keys and values in one matrix. Three additions of a rank are one of three times that rank: the
# A's under one another, the B's on the diagonal.


def _to_gpt2(parts: Mapping[str, tuple[Tensor, Tensor]], rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    """(A, B) by name of the module in GPT-2. A missing addition to one of queries, keys and values is zero there."""
    theirs: dict[str, tuple[Tensor, Tensor]] = {}
    for layer in sorted({int(name.split(".")[2]) for name in parts}):
        here, there = f"model.layers.{layer}.", f"transformer.h.{layer}."
        known = [parts.get(here + name) for name in QKV]
        pattern = next((both for both in known if both is not None), None)
        if pattern is not None:
            nothing = (torch.zeros_like(pattern[0]), torch.zeros_like(pattern[1]))
            given = [both if both is not None else nothing for both in known]
            theirs[f"{there}attn.c_attn"] = (
                torch.cat([a for a, _ in given]),
                torch.block_diag(*(b for _, b in given)),
            )
        for name, ours in GPT2_MATRICES.items():
            if here + ours in parts:
                theirs[there + name] = parts[here + ours]
    return theirs


def _from_gpt2(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of GPT-2's modules under the names of ours."""
    ours: dict[str, Tensor] = {}
    for name, tensor in found.items():
        _, _, layer, module = name.split(".", 3)
        here = f"model.layers.{layer}."
        module, part = module.split(".lora_")
        if module == JOINED:
            for number, (target, piece) in enumerate(zip(QKV, tensor.chunk(3), strict=True)):
                rank = piece.shape[1] // 3
                own = piece if part.startswith("A") else piece[:, number * rank : (number + 1) * rank]
                ours[f"{here}{target}.lora_{part}"] = own
        elif module in GPT2_MATRICES:
            ours[f"{here}{GPT2_MATRICES[module]}.lora_{part}"] = tensor
    return ours
