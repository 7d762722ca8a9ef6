"""The optimiser: AdamW for all weights, or Muon, NorMuon or SOAP for the matrices of the blocks and AdamW for the rest.

Optimiser state is addressed by parameter name, never by order, so that a checkpoint identifies each tensor and can be
read without pickle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.training.training_settings import LoopSettings

if TYPE_CHECKING:
    import torch


class Optimiser:
    """One or two torch optimisers with a common interface."""

    def __init__(
        self, model: torch.nn.Module, settings: LoopSettings, learning_rate: float, muon_precision: str = "fp32"
    ):
        """muon_precision: the format that Muon's rounds multiply in, as `machine.muon_precision` returns it."""
        import torch

        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self.names: dict[torch.Tensor, str] = {parameter: name for name, parameter in named}
        self.learning_rate = learning_rate
        tables = lookup_tables(model)
        matrices = [p for _, p in named if p.ndim >= 2 and p not in tables]
        others = [p for _, p in named if p.ndim < 2 or p in tables]
        head = [p for name, p in named if p.ndim >= 2 and p not in tables and is_head(name)]
        self.parts: list[torch.optim.Optimizer] = []
        if settings.optimiser != "adamw":
            if any(hasattr(p, "full_tensor") for p in matrices):
                raise UserError(
                    f"optimiser: {settings.optimiser} needs unsharded matrices: set sharding: off, or optimiser: adamw."
                )
            hidden = [p for p in matrices if all(p is not q for q in head)]
            self.parts.append(of_matrices(hidden, settings, learning_rate, muon_precision))
            matrices = head
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        if groups:
            self.parts.append(torch.optim.AdamW(groups, lr=learning_rate, betas=settings.betas, eps=1e-8, fused=True))

    def step(self, factor: float, scaler: Any = None) -> None:
        """Update the weights, at `factor` times the highest learning rate."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.learning_rate * factor
            if scaler is None:
                part.step()
            else:
                scaler.step(part)

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, torch.Tensor]:
        """All state tensors, named `<parameter>/<key>`."""
        tensors = {}
        for part in self.parts:
            for parameter, state in part.state.items():
                for key, value in state.items():
                    tensors[f"{self.names[parameter]}/{key}"] = value
        return tensors

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore a state that `state` returned."""
        from pipeline.training.soap import SOAP

        by_parameter: dict[str, dict[str, torch.Tensor]] = {}
        for address, tensor in tensors.items():
            name, key = address.rsplit("/", 1)
            by_parameter.setdefault(name, {})[key] = tensor
        for part in self.parts:
            part.state.clear()
            for group in part.param_groups:
                for parameter in group["params"]:
                    state = by_parameter.get(self.names[parameter])
                    if state:
                        part.state[parameter] = {
                            # Step counts go to the parameter's device too, as fused AdamW needs.
                            key: value.to(parameter.device, copy=True)
                            for key, value in state.items()
                        }
            if isinstance(part, SOAP):
                part.count_again()


def of_matrices(
    matrices: list[torch.nn.Parameter], settings: LoopSettings, learning_rate: float, muon_precision: str
) -> torch.optim.Optimizer:
    """What updates the matrices of the blocks, unless it is AdamW."""
    import torch

    from pipeline.training.muon import POLYNOMIALS, Muon
    from pipeline.training.soap import SOAP

    decay = settings.weight_decay
    if settings.optimiser == "soap":
        return SOAP(matrices, learning_rate, settings.betas, decay, settings.basis_every)
    muon = Muon(matrices, lr=learning_rate, weight_decay=decay, momentum=settings.momentum)
    muon.multiplies_in = torch.bfloat16 if muon_precision == "bf16" else torch.float32
    muon.cautious = settings.cautious_decay
    muon.polynomials = POLYNOMIALS[settings.orthogonalised_by]
    muon.by_rows = settings.optimiser == "normuon"
    return muon


def lookup_tables(model: torch.nn.Module) -> set[torch.Tensor]:
    """Embedding tables (by token or position), including an output layer tied to one."""
    import torch

    return {module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)}


def is_head(name: str) -> bool:
    """Whether this is the output layer, which Muon must not update (Jordan 2024)."""
    return "lm_head" in name
