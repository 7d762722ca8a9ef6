"""Low-rank additions to a trained network (LoRA, Hu et al. 2021): train a few weights, keep the rest frozen.

A linear layer with an addition keeps its weight under the same name and gains two small matrices. So the network's
files stay loadable, and merging is one sum per layer. Two variants go by their names: rsLoRA divides alpha by the
square root of the rank, so that a higher rank does not learn more slowly (Kalajdzievski 2023); DoRA trains the length
of each row of the weight by itself (Liu et al. 2024). With QLoRA the frozen weight is kept in four bits (`nf4.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.export import GPT2_MATRICES, QKV, layout
from model.files import whole, write_whole
from model.nf4 import KERNELS
from model.transformer import Transformer

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WEIGHTS, ABOUT = "adapter_model.safetensors", "adapter_config.json"
MAGNITUDE = "lora_magnitude_vector"  # DoRA's lengths, as `peft` calls them
JOINED = "attn.c_attn"  # GPT-2's queries, keys and values
PREFIX = "base_model.model."  # the `peft` library's name for the network
Parts = dict[str, Tensor]  # the tensors of one addition, by the end of their names


class LoraLinear(nn.Linear):
    """y = W x + b + scale B A x, with W and b frozen. B is initialised to 0, so the function is unchanged.

    The scale is alpha / rank, with `rslora` alpha / sqrt(rank). In training, x is dropped out before A with the
    probability `dropout`. With `dora`, the rows of W + scale B A are brought to trained lengths, which start at those
    of W; the lengths of the sum have no gradient (Liu et al. 2024, section 4.3).
    """

    def __init__(
        self, linear: nn.Linear, rank: int, alpha: float, dropout: float = 0.0, rslora: bool = False, dora: bool = False
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.alpha, self.rslora = alpha, rslora
        self.scale = alpha / (math.sqrt(rank) if rslora else rank)
        self.dropout = nn.Dropout(dropout)
        self.lora_A = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as in the authors' code
        self.lora_magnitude_vector = nn.Parameter(row_lengths(linear.weight.detach())) if dora else None
        self.train(linear.training)

    def forward(self, x: Tensor) -> Tensor:
        dropped = self.dropout(x)
        found = F.linear(x, self.weight, self.bias)
        added = F.linear(F.linear(dropped, self.lora_A), self.lora_B) * self.scale
        if self.lora_magnitude_vector is None:
            return found + added
        gain = self.lora_magnitude_vector / self._lengths_of_sum()
        return found + (gain - 1) * F.linear(dropped, self.weight) + gain * added

    def parts(self) -> Parts:
        """The trained tensors, on the CPU, by the end of their names in `peft`."""
        named = {"lora_A.weight": self.lora_A, "lora_B.weight": self.lora_B, MAGNITUDE: self.lora_magnitude_vector}
        return {name: tensor.detach().cpu() for name, tensor in named.items() if tensor is not None}

    def merged(self) -> Tensor:
        """The weight of one linear layer that computes the same; summed in fp32 at least."""
        kind = torch.promote_types(self.weight.dtype, torch.float32)
        a, b = self.lora_A.detach().to(kind), self.lora_B.detach().to(kind)
        found = self.weight.detach().to(kind) + (b @ a) * self.scale
        if self.lora_magnitude_vector is not None:
            found = found * (self.lora_magnitude_vector.detach().to(kind) / row_lengths(found))[:, None]
        return found.to(self.weight.dtype)

    @torch.no_grad()
    def _lengths_of_sum(self) -> Tensor:
        return row_lengths(self.weight + (self.lora_B @ self.lora_A) * self.scale)


class QuantisedLoraLinear(LoraLinear):
    """The same with W in four bits (Dettmers et al. 2023): what is trained is added to what the four bits stand for."""

    def __init__(
        self, linear: nn.Linear, rank: int, alpha: float, dropout: float = 0.0, rslora: bool = False,
        kernel: str = "torch",
    ) -> None:  # fmt: skip
        super().__init__(linear, rank, alpha, dropout, rslora)
        del self.weight
        self.quantised = KERNELS[kernel](linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        found = self.quantised(x)
        if self.bias is not None:
            found = found + self.bias
        return found + F.linear(F.linear(self.dropout(x), self.lora_A), self.lora_B) * self.scale

    def merged(self) -> Tensor:
        return self.quantised.full() + (self.lora_B.detach().float() @ self.lora_A.detach().float()) * self.scale


def row_lengths(weight: Tensor) -> Tensor:
    """The length of each row of a matrix [out, in]: what feeds one output."""
    return torch.linalg.vector_norm(weight, dim=1)


def add(
    model: Transformer,
    rank: int,
    alpha: float,
    targets: Sequence[str] = TARGETS,
    *,
    dropout: float = 0.0,
    rslora: bool = False,
    dora: bool = False,
    quantised: bool = False,
    kernel: str = "torch",
) -> list[nn.Parameter]:
    """Freeze the network and add a low-rank addition to its linear layers named `targets`; returns their parameters.

    dropout, rslora, dora: as in `LoraLinear`. quantised: keep the weights of these layers in four bits, which `kernel`
    (of `nf4.KERNELS`) multiplies by. Raises ValueError if there are additions already, if no layer has such a name, and
    for `dora` with `quantised`.
    """
    if dora and quantised:
        raise ValueError("the lengths of rows (dora) are not trained over weights in four bits: leave one out.")
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
        if quantised:
            setattr(parent, name, QuantisedLoraLinear(child, rank, alpha, dropout, rslora, kernel))
        else:
            setattr(parent, name, LoraLinear(child, rank, alpha, dropout, rslora, dora))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def additions(model: Transformer) -> dict[str, LoraLinear]:
    """The layers that have an addition, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


@torch.no_grad()
def merge(model: Transformer) -> None:
    """Merge the additions into the weights, in place, and make every parameter trainable again."""
    for name, layer in additions(model).items():
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        plain.weight = nn.Parameter(layer.merged())
        plain.bias = layer.bias
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, plain)
    model.requires_grad_(True)


# -- files -------------------------------------------------------------------------------------------------------------


def save(model: Transformer, directory: str | Path, base: str | None = None) -> None:
    """Write only the additions, in the `peft` library's format: `adapter_model.safetensors`, `adapter_config.json`.

    Modules have the names that they have in the layout in which the network is saved (`export.layout`), so the
    additions fit that folder there. `base`: its name on the Hugging Face hub, which `peft` loads by itself.
    """
    layers = additions(model)
    if not layers:
        raise ValueError("this network has no low-rank additions to save.")
    parts = {name: layer.parts() for name, layer in layers.items()}
    first = next(iter(layers.values()))
    rank = first.lora_A.shape[0]
    about: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": first.alpha,
        "lora_dropout": first.dropout.p,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in layers}),
        "base_model_name_or_path": base,
        "inference_mode": True,
        **({"use_rslora": True} if first.rslora else {}),
        **({"use_dora": True} if first.lora_magnitude_vector is not None else {}),
    }
    if layout(model.config) == "gpt2":
        parts = _to_gpt2(model, parts)
        wider = math.sqrt(3) if first.rslora else 3  # so that the scale stays
        about |= {
            "fan_in_fan_out": True,  # GPT-2's matrices are transposed
            "target_modules": sorted({".".join(name.rsplit(".", 2)[1:]) for name in parts}),
            "rank_pattern": {JOINED: 3 * rank},
            "alpha_pattern": {JOINED: wider * first.alpha},
        }
    weights = {
        f"{PREFIX}{name}.{part}": tensor.contiguous() for name, all in parts.items() for part, tensor in all.items()
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
    trained = add(
        model, about["r"], about["lora_alpha"], targets, dropout=about.get("lora_dropout", 0.0),
        rslora=about.get("use_rslora", False), dora=about.get("use_dora", False),
    )  # fmt: skip
    expected = {
        f"{name}.{part}": layer.get_parameter(part.removesuffix(".weight"))
        for name, layer in additions(model).items()
        for part in layer.parts()
    }
    if {name: tuple(w.shape) for name, w in found.items()} != {name: tuple(w.shape) for name, w in expected.items()}:
        raise ValueError(f"the additions in {directory} were made for a network of another shape.")
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(found[name])
    return trained


# GPT-2 joins queries, keys and values in one matrix. Three additions of a rank are one of three times that rank: the
# A's under one another, the B's on the diagonal. The lengths of rows stand behind one another, as the rows do.


def _to_gpt2(model: Transformer, parts: Mapping[str, Parts]) -> dict[str, Parts]:
    """The additions by name of the module in GPT-2. One that queries, keys or values lack changes nothing there."""
    theirs: dict[str, Parts] = {}
    for layer in sorted({int(name.split(".")[2]) for name in parts}):
        here, there = f"model.layers.{layer}.", f"transformer.h.{layer}."
        pattern = next((parts[here + name] for name in QKV if here + name in parts), None)
        if pattern is not None:
            given = [parts.get(here + name) or _nothing(model.get_submodule(here + name), pattern) for name in QKV]
            theirs[there + JOINED] = {
                "lora_A.weight": torch.cat([part["lora_A.weight"] for part in given]),
                "lora_B.weight": torch.block_diag(*(part["lora_B.weight"] for part in given)),
            }
            if MAGNITUDE in pattern:
                theirs[there + JOINED][MAGNITUDE] = torch.cat([part[MAGNITUDE] for part in given])
        for name, ours in GPT2_MATRICES.items():
            if here + ours in parts:
                theirs[there + name] = parts[here + ours]
    return theirs


def _nothing(module: nn.Module, pattern: Parts) -> Parts:
    """An addition like `pattern` that leaves a layer as it is."""
    lengths = row_lengths(module.get_parameter("weight").detach().cpu())
    return {name: lengths if name == MAGNITUDE else torch.zeros_like(tensor) for name, tensor in pattern.items()}


def _from_gpt2(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of GPT-2's modules under the names of ours."""
    ours: dict[str, Tensor] = {}
    for name, tensor in found.items():
        _, _, layer, module = name.split(".", 3)
        here = f"model.layers.{layer}."
        module, part = module.split(".lora_")
        if module == JOINED:
            for number, (target, piece) in enumerate(zip(QKV, tensor.chunk(3), strict=True)):
                rank = piece.shape[-1] // 3
                own = piece[:, number * rank : (number + 1) * rank] if part.startswith("B") else piece
                ours[f"{here}{target}.lora_{part}"] = own
        elif module in GPT2_MATRICES:
            ours[f"{here}{GPT2_MATRICES[module]}.lora_{part}"] = tensor
    return ours
