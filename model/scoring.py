"""The forward pass of `transformer.py` for scores: many endings of one beginning, and only the vectors asked for.

A score needs the vectors of a few tokens of a row: the last one of the prompt and those of the answers. The others only
have to be attended to. So the last block computes keys and values of all tokens, and everything else of those asked for
alone: a fifth of the work of a network of five blocks (docs/results/evaluation.md).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from model.attention import attend, visible
from model.operations import rotate
from model.transformer import Attention, Block, Cache, FeedForward, Rotation, Transformer

LOGITS_AT_ONCE = {"cpu": 2**21}  # values held at a time: few enough for a processor's cache
LOGITS_ELSEWHERE = 2**24


class Fork:
    """Rows that all follow one beginning: its keys and values stand before each row's own. Nothing is added to it."""

    def __init__(self, beginning: Cache) -> None:
        self.length = beginning.length
        self.layers = beginning.layers[..., : self.length, :]

    def before(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of the beginning (of one row) and of the new tokens, for every row."""
        beginning = self.layers[layer].expand(-1, k.shape[0], -1, -1, -1)
        return torch.cat((beginning[0], k), dim=2), torch.cat((beginning[1], v), dim=2)


def fork(network: Transformer, ids: Tensor) -> Fork:
    """What rows need of a common beginning, ids [S] int64."""
    kind = ids.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else network.output_weight.dtype
    cache = Cache(network.config, 1, len(ids), device=ids.device, dtype=dtype)
    network.hidden(ids[None], cache=cache)
    return Fork(cache)


def hidden_at(
    network: Transformer, tokens: Tensor, positions: Tensor, seen: Tensor, wanted: Tensor, beginning: Fork | None = None
) -> Tensor:
    """The residual stream after the last norm at the columns `wanted` [B, W], [B, W, width]. Without gradients.

    tokens, positions [B, T] int64: positions have to lie in the context, which rows may exceed. seen [B, T, past + T]:
    True where a token attends; past: the tokens of the beginning.
    """
    config = network.config
    x = network.model.embed_tokens(tokens)
    rotation: Rotation | None = None
    if config.positions == "rotary":
        cos, sin = network.position_table[:, positions].unsqueeze(3)  # [B, T, 1, head_width] each
        rotation = (cos, sin)
    elif config.positions == "sinusoidal":
        x = x + network.position_table[positions].to(x.dtype)
    else:
        x = x + network.model.embed_positions(positions)
    mask = visible(seen[:, None], x)
    *others, last = network.model.layers
    for block in others:
        x = _block(block, x, rotation, mask, beginning)  # type: ignore[arg-type]
    mask = visible(_at(seen, wanted)[:, None], x)
    x = _block(last, x, rotation, mask, beginning, wanted)  # type: ignore[arg-type]
    return network.model.norm(x)


def targets(network: Transformer, vectors: Tensor, row: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """log p (nats, fp32) of each target id [N] after the vector of its row, and whether it is the likeliest token.

    vectors [R, width]; row [N]: numbers of vectors, in ascending order, so that the logits of one are computed once.
    """
    step = max(LOGITS_AT_ONCE.get(vectors.device.type, LOGITS_ELSEWHERE) // network.config.vocab_size, 1)
    ends = torch.searchsorted(row, torch.arange(0, len(vectors) + step, step, device=row.device)).tolist()
    found, likeliest = [], []
    for number, (start, end) in enumerate(pairwise(ends)):
        logits = network.logits(vectors[number * step : (number + 1) * step]).float()
        log_p = F.log_softmax(logits, dim=-1)
        inner, wanted = row[start:end] - number * step, target[start:end]
        values = log_p[inner, wanted]
        found.append(values)
        # The largest value is found much faster than its place, which only matters where it is the target's own.
        best = values >= log_p.amax(dim=-1)[inner]
        best[best.clone()] = log_p[inner[best]].argmax(dim=-1) == wanted[best]
        likeliest.append(best)
    return torch.cat(found), torch.cat(likeliest)


# -- the parts of a block ----------------------------------------------------------------------------------------------


def _block(
    block: Block,
    x: Tensor,
    rotation: Rotation | None,
    mask: Tensor,
    beginning: Fork | None,
    wanted: Tensor | None = None,
) -> Tensor:
    """`Block.forward`; of the columns `wanted` [B, W] alone, if they are given, for which `mask` then is."""
    attention: Attention = block.self_attn
    forward: FeedForward = block.mlp
    normed = block.input_layernorm(x)
    k, v = _heads(attention, attention.k_proj(normed)), _heads(attention, attention.v_proj(normed))
    if attention.config.qk_norm:
        k = attention.k_norm(k)
    if rotation is not None:
        k = rotate(k, *rotation)
    if wanted is not None:
        normed, x = _at(normed, wanted), _at(x, wanted)
        rotation = rotation and (_at(rotation[0], wanted), _at(rotation[1], wanted))
    q = _heads(attention, attention.q_proj(normed))
    if attention.config.qk_norm:
        q = attention.q_norm(q)
    if rotation is not None:
        q = rotate(q, *rotation)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if beginning is not None:
        k, v = beginning.before(attention.layer, k, v)
    y = attend(q, k, v, mask, False).transpose(1, 2)
    x = x + attention.o_proj(y.reshape(*x.shape[:2], -1))
    return x + forward(block.post_attention_layernorm(x))


def _heads(attention: Attention, x: Tensor) -> Tensor:
    return x.view(*x.shape[:2], -1, attention.config.head_width)


def _at(x: Tensor, columns: Tensor) -> Tensor:
    """x [B, T, ...] at the columns [B, W] of each row, [B, W, ...]."""
    return x[torch.arange(len(x), device=x.device)[:, None], columns]
