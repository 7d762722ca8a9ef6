"""A network as one file that other programs run without this project: ONNX, and torch's own `.pt2`.

Both are one graph, of a step with keys and values: it takes `tokens` [1, T] int64 and `past_keys`, `past_values`
[layers, 1, kv_heads, P, head_width] (P is 0 in the first step), and returns `logits` [1, T, vocab_size] and `keys`,
`values` with P + T, which the next step takes as its past. T and P are free, up to P + T = context. A prompt is a step
of many tokens, and so is its next piece. Numbers are fp32.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.export import load
from model.files import whole
from model.operations import rotate
from model.transformer import ACTIVATIONS, Attention, Block, RMSNorm, Transformer

INPUTS, OUTPUTS = ("tokens", "past_keys", "past_values"), ("logits", "keys", "values")
FORMATS = {"onnx": ".onnx", "pt2": ".pt2"}


class Step(nn.Module):
    """The network's forward pass in operations that can be exported: no cache object, no fused attention."""

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        network, config = self.network, self.network.config
        length, past = tokens.shape[1], past_keys.shape[3]
        positions = torch.arange(length, device=tokens.device) + past
        x = network.model.embed_tokens(tokens)
        rotation = None
        if config.positions == "rotary":
            cos, sin = network.position_table[:, positions].unsqueeze(1).unsqueeze(3)  # [1, T, 1, head_width] each
            rotation = (cos, sin)
        elif config.positions == "sinusoidal":
            x = x + network.position_table[positions]
        else:
            x = x + network.model.embed_positions(positions)
        # A token sees itself and what is before it.
        hidden_from = torch.arange(length + past, device=tokens.device)[None, :] > positions[:, None]
        keys, values = [], []
        for number, block in enumerate(network.model.layers):
            x, k, v = _block(block, x, rotation, hidden_from, past_keys[number], past_values[number])  # type: ignore[arg-type]
            keys.append(k)
            values.append(v)
        logits = network.logits(_normed(network.model.norm, x))
        return logits, torch.stack(keys), torch.stack(values)


def _block(
    block: Block,
    x: Tensor,
    rotation: tuple[Tensor, Tensor] | None,
    hidden_from: Tensor,
    past_keys: Tensor,
    past_values: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The stream after a block, and its keys and values [1, kv_heads, P + T, head_width]."""
    attention: Attention = block.self_attn
    config = attention.config
    inner = _normed(block.input_layernorm, x)
    q, k, v = (
        layer(inner).view(1, x.shape[1], -1, config.head_width)
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if config.qk_norm:
        q, k = _normed(attention.q_norm, q), _normed(attention.k_norm, k)
    if rotation is not None:
        q, k = rotate(q, *rotation), rotate(k, *rotation)
    keys = torch.cat([past_keys, k.transpose(1, 2)], dim=2)
    values = torch.cat([past_values, v.transpose(1, 2)], dim=2)
    groups = config.heads // config.kv_heads
    scores = q.transpose(1, 2) @ keys.repeat_interleave(groups, 1).transpose(2, 3) / config.head_width**0.5
    shares = scores.masked_fill(hidden_from, -torch.inf).softmax(-1)
    y = (shares @ values.repeat_interleave(groups, 1)).transpose(1, 2).reshape(1, x.shape[1], -1)
    x = x + attention.o_proj(y)
    inner = _normed(block.post_attention_layernorm, x)
    activation = ACTIVATIONS[config.activation]
    up = block.mlp.up_proj(inner)
    gated = activation(up) if block.mlp.gate_proj is None else activation(block.mlp.gate_proj(inner)) * up
    return x + block.mlp.down_proj(gated), keys, values


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    if not isinstance(norm, RMSNorm):
        normed: Tensor = norm(x)
        return normed
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps) * norm.weight


def write(directory: Path, file: Path, kind: str) -> Path:
    """Write the model of a folder as `file`, which is whole or absent; returns it. kind: of FORMATS.

    Raises ValueError for a network that is not causal, ImportError where `onnx` is wanted and not installed.
    """
    network = load(directory, torch.float32).eval()
    if not network.config.causal:
        raise ValueError("this model was trained to fill gaps (causal: false): it has no steps to export.")
    content = io.BytesIO()
    if kind == "pt2":
        torch.export.save(exported(network), content)
    else:
        import onnx  # torch's own message, without these two, names no remedy
        import onnxscript  # noqa: F401

        onnx.save_model(_in_onnx(exported(network)), content)
    with whole(file) as unfinished:
        Path(unfinished).write_bytes(content.getbuffer())
    return file


def exported(network: Transformer) -> torch.export.ExportedProgram:
    """The network as a graph with free lengths."""
    config = network.config
    past = torch.zeros(config.layers, 1, config.kv_heads, 3, config.head_width)
    most = config.context
    length, before = torch.export.Dim("length", max=most), torch.export.Dim("past", max=most)
    shapes = ({1: length}, {3: before}, {3: before})
    with torch.no_grad():
        return torch.export.export(
            Step(network), (torch.zeros(1, 2, dtype=torch.int64), past, past.clone()), dynamic_shapes=shapes
        )


def _in_onnx(program: torch.export.ExportedProgram) -> Any:
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # of libraries that nothing here needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own parts
            made = torch.onnx.export(program, (), dynamo=True, input_names=INPUTS, output_names=OUTPUTS, verbose=False)
    finally:
        log.setLevel(level)
    assert made is not None
    return made.model_proto
