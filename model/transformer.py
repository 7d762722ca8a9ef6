"""The network: a decoder in plain torch. First its parts, then `Transformer`, whose `hidden` is the forward pass.

One class covers every shape of `ModelConfig`. In the default shape (Llama's) its parameters have Hugging Face's names
and layout, so that other tools can read a trained model. Nothing here depends on devices, parallelism or optimisers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.attention import attend, visible
from model.config import ModelConfig
from model.distillation import Taught, linear_distillation
from model.operations import linear_cross_entropy, linear_log_probabilities, rms_norm, rotate
from model.positions import positions_in_documents, rotary_table, sinusoidal_table

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "swiglu": F.silu,
    "geglu": F.gelu,
    "reglu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "relu2": lambda x: F.relu(x).square(),
}

Rotation = tuple[Tensor, Tensor]
Around = tuple[Rotation | None, Tensor | None, bool, "Cache | None"]  # of a block: rotation, mask, causal, cache


# -- cache -------------------------------------------------------------------------------------------------------------


class Cache:
    """Keys and values of the tokens seen so far, for decoding: [layers, 2, batch, kv_heads, room, head_width]."""

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        room: int,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        config = config.resolved()
        self.length = 0  # tokens in the cache
        self.room = min(room, config.context)
        shape = (config.layers, 2, batch, config.kv_heads, self.room, config.head_width)
        self.layers = torch.zeros(shape, device=device, dtype=dtype)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new tokens (without gradients) to one layer; returns all of that layer."""
        end = self.length + k.shape[2]
        keys, values = self.layers[layer, 0], self.layers[layer, 1]
        keys[:, :, self.length : end] = k.detach()
        values[:, :, self.length : end] = v.detach()
        return keys[:, :, :end], values[:, :, :end]


# -- the parts of a block ----------------------------------------------------------------------------------------------


class Linear(nn.Linear):
    """torch's Linear without initialisation: `Transformer.initialise` initialises all weights."""

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    """torch's Embedding without initialisation."""

    def reset_parameters(self) -> None:
        pass


class RMSNorm(nn.Module):
    """Scales each vector to length sqrt(width), then each column by a trained weight (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


def make_norm(config: ModelConfig) -> nn.Module:
    """The norm of the residual stream that the config names."""
    if config.norm == "rms":
        return RMSNorm(config.width, config.norm_eps)
    return nn.LayerNorm(config.width, eps=config.norm_eps, bias=config.bias)


class Attention(nn.Module):
    """Multi-head attention, with keys and values shared by groups of heads if the config says so."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
        self.q_proj = Linear(config.width, queries, bias=config.bias)
        self.k_proj = Linear(config.width, keys, bias=config.bias)
        self.v_proj = Linear(config.width, keys, bias=config.bias)
        self.o_proj = Linear(queries, config.width, bias=config.bias)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_width, config.norm_eps)
            self.k_norm = RMSNorm(config.head_width, config.norm_eps)

    def forward(
        self, x: Tensor, rotation: Rotation | None, mask: Tensor | None, causal: bool, cache: Cache | None
    ) -> Tensor:
        batch, length, _ = x.shape
        q = self.q_proj(x).view(batch, length, -1, self.config.head_width)
        k = self.k_proj(x).view(batch, length, -1, self.config.head_width)
        v = self.v_proj(x).view(batch, length, -1, self.config.head_width)
        if self.config.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        y = attend(q, k, v, mask, causal)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    """The feed-forward network of each token; a gated one multiplies two projections (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.gate_proj = Linear(config.width, config.ffn, bias=config.bias) if config.gated else None
        self.up_proj = Linear(config.width, config.ffn, bias=config.bias)
        self.down_proj = Linear(config.ffn, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.gate_proj is None:
            return self.down_proj(self.activation(self.up_proj(x)))
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention, then the feed-forward network; each adds its output to the residual stream.

    Norms come first (pre-norm), which trains more stably than post-norm (Xiong et al. 2020).
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = make_norm(config)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = make_norm(config)
        self.mlp = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, rotation: Rotation | None, mask: Tensor | None, causal: bool, cache: Cache | None
    ) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), rotation, mask, causal, cache))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Decoder(nn.Module):
    """All but the output matrix; a separate module so that names start with `model.`, as in Hugging Face's Llama."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.width)
        if config.positions == "learned":
            self.embed_positions = Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = make_norm(config)


@torch.no_grad()
def initialise(parameters: Iterable[tuple[str, nn.Parameter]], config: ModelConfig) -> None:
    """Initialise named parameters in place, from torch's global generator.

    Matrices and embeddings: normal, with `init_std`, divided by sqrt(2 x layers) in the two projections of each block
    that write to the residual stream, so that its variance does not grow with depth (Radford et al. 2019, section 2.3).
    Biases: 0. Norms: 1.
    """
    into_stream = config.init_std / math.sqrt(2 * config.layers)
    for name, parameter in parameters:
        if parameter.dim() >= 2:
            inner = not name.endswith(("o_proj.weight", "down_proj.weight"))
            nn.init.normal_(parameter, std=config.init_std if inner else into_stream)
        else:
            nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)


# -- the network -------------------------------------------------------------------------------------------------------


class Transformer(nn.Module):
    """The complete network; `self.config` has all sizes filled in.

    A call returns logits or, with `targets`, the loss: DDP, FSDP2 and `torch.compile` wrap the call, so everything that
    is trained must happen inside it. `gradient_checkpointing = True` keeps only each block's input for the backward
    pass and recomputes the rest: about a third more compute for much less memory (Chen et al. 2016).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config = config.resolved()
        self.gradient_checkpointing = False
        self.model = Decoder(config)
        self.lm_head = None if config.tie_embeddings else Linear(config.width, config.vocab_size, bias=False)
        table = None
        if config.positions == "rotary":
            table = torch.empty(2, config.context, config.head_width)
        elif config.positions == "sinusoidal":
            table = torch.empty(config.context, config.width)
        self.position_table: Tensor
        self.register_buffer("position_table", table, persistent=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Initialise the weights in place, from torch's global generator (also after `to_empty` from `meta`)."""
        initialise(self.named_parameters(), self.config)
        self.fill_position_table()

    def fill_position_table(self) -> None:
        """Compute the fixed positions, on the network's device."""
        config, table = self.config, self.position_table
        if config.positions == "rotary":
            table.copy_(rotary_table(config.context, config.head_width, config.rope_base, table.device))
        elif config.positions == "sinusoidal":
            # Vaswani et al. add sines of amplitude 1 to embeddings of unit variance; these start at init_std.
            table.copy_(sinusoidal_table(config.context, config.width, table.device) * config.init_std)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: Cache | None = None,
        chunk: int | None = None,
        z_loss: float = 0.0,
        by_token: bool = False,
        taught: Taught | None = None,
        both_ways: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [B, T, vocab_size] for `tokens` [B, T] int64; with `targets`, the same as `loss`.

        by_token: with `targets`, log p of each [B, T] in nats instead, as in `linear_log_probabilities`. taught: with
        `targets`, what a teacher says of each [B, T, k], and the result is that of `linear_distillation`.

        documents [B, T]: ids of the documents packed into a row; a token attends only to its own document, and
        positions restart in each. positions [B, T]: sets the positions. both_ways [B]: rows of a causal network that
        attend to later tokens, too. weights [B]: of the rows in the loss. cache: holds the preceding tokens, and is
        extended by these. Raises ValueError for more tokens than the context.
        """
        hidden = self.hidden(tokens, positions=positions, documents=documents, cache=cache, both_ways=both_ways)
        if targets is None:
            return self.logits(hidden)
        if by_token:
            found = linear_log_probabilities(hidden.flatten(0, 1), self.output_weight, targets.flatten(), chunk)
            return found.view(targets.shape)
        if taught is not None:
            flat = replace(taught, ids=taught.ids.flatten(0, 1), log_p=taught.log_p.flatten(0, 1))
            return linear_distillation(hidden.flatten(0, 1), self.output_weight, targets.flatten(), flat, chunk)
        each = None if weights is None else weights[:, None].expand_as(targets).flatten()
        return linear_cross_entropy(hidden.flatten(0, 1), self.output_weight, targets.flatten(), chunk, z_loss, each)

    def loss(
        self,
        tokens: Tensor,
        targets: Tensor,
        documents: Tensor | None = None,
        positions: Tensor | None = None,
        chunk: int | None = None,
        z_loss: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """(sum of -log p in nats, number of targets) for `targets` [B, T], as in `linear_cross_entropy`."""
        return self(tokens, targets, documents=documents, positions=positions, chunk=chunk, z_loss=z_loss)

    def hidden(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: Cache | None = None,
        both_ways: Tensor | None = None,
    ) -> Tensor:
        """The residual stream after the last norm, [B, T, width]; arguments as in `forward`."""
        x, around = self.entered(tokens, positions, documents, cache, both_ways)
        x = self.through(self.model.layers, x, around)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.model.norm(x)

    def entered(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: Cache | None = None,
        both_ways: Tensor | None = None,
    ) -> tuple[Tensor, Around]:
        """(the residual stream before the first block, what every block is given besides)."""
        length = tokens.shape[1]
        past = cache.length if cache is not None else 0
        room = cache.room if cache is not None else self.config.context
        if past + length > room:
            raise ValueError(
                f"{past + length} tokens do not fit into a context of {room}: shorten the text or raise `context`."
            )
        if documents is not None and positions is None:
            positions = positions_in_documents(documents)
        if positions is None:
            positions = torch.arange(past, past + length, device=tokens.device)[None]

        x = self.model.embed_tokens(tokens)
        rotation = None
        if self.config.positions == "rotary":
            cos, sin = self.position_table[:, positions].unsqueeze(3)  # [1 or B, T, 1, head_width] each
            rotation = (cos, sin)
        elif self.config.positions == "sinusoidal":
            x = x + self.position_table[positions].to(x.dtype)
        else:
            x = x + self.model.embed_positions(positions)
        x = self.model.dropout(x)
        mask, causal = self._visible(length, past, documents, x, both_ways)
        return x, (rotation, mask, causal, cache)

    def through(self, blocks: Iterable[nn.Module], x: Tensor, around: Around) -> Tensor:
        """The residual stream after these blocks."""
        for block in blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, *around, use_reentrant=False)
            else:
                x = block(x, *around)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [..., vocab_size] of hidden vectors [..., width]."""
        return F.linear(hidden, self.output_weight)

    @property
    def output_weight(self) -> Tensor:
        """The matrix [vocab_size, width] that computes logits; the embeddings if they are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def _visible(
        self, length: int, past: int, documents: Tensor | None, x: Tensor, both_ways: Tensor | None
    ) -> tuple[Tensor | None, bool]:
        """(attention mask [B or 1, 1, T, past + T] for the residual stream `x`, or None; whether it is causal).

        Without a mask, attention is faster: the fused kernel skips later tokens instead of reading a mask.
        """
        if past and (documents is not None or both_ways is not None):
            raise ValueError("documents cannot be used after a cache: decode each document in a row of its own.")
        if documents is not None or (both_ways is not None and self.config.causal):
            mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=x.device)
            if self.config.causal:
                mask = mask.tril()
                if both_ways is not None:
                    mask = mask | both_ways[:, None, None, None]
            if documents is not None:
                mask = mask & (documents[:, None, :, None] == documents[:, None, None, :])
            return visible(mask, x), False
        if not self.config.causal or length == 1:
            return None, False
        if past:
            mask = torch.ones(1, 1, length, past + length, dtype=torch.bool, device=x.device).tril(past)
            return visible(mask, x), False
        return None, True

    def parameters_count(self, embeddings: bool = True) -> int:
        """Number of parameters, a tied matrix once; `embeddings=False` excludes tokens, positions and the output."""
        outside = ("model.embed_tokens.", "model.embed_positions.", "lm_head.")
        return sum(p.numel() for name, p in self.named_parameters() if embeddings or not name.startswith(outside))
