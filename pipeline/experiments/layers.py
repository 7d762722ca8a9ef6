"""What a network's layers do on held-back text: dead units, saturation, and how far each block moves the stream.

dead         share of the units of the feed-forward network whose activation stays below 1 % of the layer's root
             mean square on every token
saturated    share of inputs of the activation above 4 in size, where ReLU, GELU and SiLU are all but straight
stream       root mean square of the residual stream after the block
attention, feed_forward    the same of what each adds to it
gradient     norm of the gradient of the mean loss (in nats) by the weights of the block
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer

QUIET = 0.01  # of the root mean square: below it a unit says nothing
STRAIGHT = 4.0  # from where on an activation is all but 0 or a line: SiLU(4) is 3.93
MOST_ROWS = 16  # of a context each
SHARES = ("dead", "saturated")
COLUMNS = ("dead", "saturated", "stream", "attention", "feed_forward", "gradient")


def by_layer(network: Transformer, documents: pl.DataFrame, separator: int, device: torch.device) -> pl.DataFrame:
    """layer and COLUMNS, over the first MOST_ROWS rows of the documents' tokens. documents: with `tokens`."""
    import torch

    seen: list[dict[str, Any]] = [{} for _ in network.model.layers]
    rows = torch.from_numpy(rows_of(documents, separator, network.config.context)).to(device)
    with watched(network, seen), torch.inference_mode():
        network.hidden(rows)
    steep = gradients(network, rows)
    return pl.DataFrame([
        {"layer": number, **figures(found), "gradient": gradient}
        for number, (found, gradient) in enumerate(zip(seen, steep, strict=True), start=1)
    ])  # fmt: skip


def gradients(network: Transformer, rows: torch.Tensor) -> list[float]:
    """The norm of the gradient by the weights of each block, of the mean loss on rows [B, T]; no gradient is left."""
    import torch

    network.zero_grad(set_to_none=True)
    nats, count = network.loss(rows[:, :-1], rows[:, 1:])
    (nats / count).backward()
    norms = []
    for block in network.model.layers:
        parts = [weight.grad.float().norm() for weight in block.parameters() if weight.grad is not None]
        norms.append(round(float(torch.stack(parts).norm()), 5))
    network.zero_grad(set_to_none=True)
    return norms


def rows_of(documents: pl.DataFrame, separator: int, context: int) -> np.ndarray:
    """[rows, context or less] of documents one after another, each after the separator."""
    parts = [np.append(separator, ids.to_numpy()).astype(np.int64) for ids in documents["tokens"]]
    stream = np.concatenate(parts)[: MOST_ROWS * context]
    if len(stream) < context:
        return stream[None]
    return stream[: len(stream) // context * context].reshape(-1, context)


@contextmanager
def watched(network: Transformer, seen: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Note in `seen` what goes through each block while the `with` lasts."""
    handles = []
    blocks: list[Any] = list(network.model.layers)
    for block, found in zip(blocks, seen, strict=True):
        before = block.mlp.up_proj if block.mlp.gate_proj is None else block.mlp.gate_proj
        for module, name in (
            (before, "before"), (block, "stream"), (block.self_attn, "attention"), (block.mlp, "feed_forward"),
        ):  # fmt: skip
            handles.append(module.register_forward_hook(noting(found, name)))
        found["activation"] = block.mlp.activation
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def noting(found: dict[str, Any], name: str) -> Any:
    """A hook that keeps what a module returned."""

    def note(module: Any, given: Any, returned: Any) -> None:
        found[name] = returned

    return note


def figures(found: dict[str, Any]) -> dict[str, float]:
    """The figures of one layer, of what `watched` noted."""
    units = found["before"].flatten(0, -2).float()
    active = found["activation"](units).abs()
    limit = QUIET * active.square().mean().sqrt()
    values = {
        "dead": (active.amax(0) <= limit).float().mean(),
        "saturated": (units.abs() > STRAIGHT).float().mean(),
        **{name: found[name].float().square().mean().sqrt() for name in ("stream", "attention", "feed_forward")},
    }
    return {name: round(float(value), 5) for name, value in values.items()}
