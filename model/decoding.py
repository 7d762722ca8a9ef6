"""A finished network, arranged to decode one text on a CPU: the forward pass of `transformer.py` for a single token.

A step multiplies one vector by every matrix once, so what counts is how fast the matrices are read, and what torch
spends on everything else. Therefore the matrices are copied into the order in which they are read fastest (those that
are multiplied by the same vector into one), and a step calls the fewest operations. Norms, positions, attention and its
keys and values are in fp32, whatever the weights are in: torch attends to 500 tokens seven times as fast in fp32 as in
bf16, and additions to the residual stream are not rounded (docs/results/training-speed.md).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.transformer import ACTIVATIONS, Attention, Block, Cache, FeedForward, Linear, RMSNorm, Transformer

Vectors = Callable[[Tensor], Tensor]  # from vectors [B, width in] to vectors [B, width out], both in fp32


Product = Callable[[list[Tensor], Tensor | None], Vectors]  # of matrices [out, in] one below the other, and a bias


@dataclass(frozen=True)
class Layer:
    """The parts of a block. Queries, keys and values are one product, as are both matrices before a gate."""

    norm_of_attention: Vectors
    queries_keys_values: Vectors
    norm_of_heads: Tensor | None  # [heads + kv_heads, head_width]
    out: Vectors
    norm_of_feed_forward: Vectors
    gate_and_up: Vectors
    down: Vectors


class Arranged:
    """The weights of a network (a copy of them), in the order in which a step reads them.

    for_many: in the one for vectors of many texts at once, of which each is multiplied as it is beside any others.
    int8: the matrices in 8 bits (`int8_product`), for many texts too.
    """

    def __init__(self, network: Transformer, for_many: bool = False, int8: bool = False) -> None:
        self.config = config = network.config
        self.int8 = int8
        self.made_of = weights_of(network)
        self.embeddings = network.model.embed_tokens.weight.detach()
        product = int8_product if int8 else partial(_product, for_many=for_many)
        self.layers = [_layer(block, product) for block in network.model.layers]  # type: ignore[arg-type]
        self.norm = _norm(network.model.norm)
        self.output = product([network.output_weight], None)
        self.positions: Tensor | None = None  # [context, width], added to the embeddings
        if config.positions == "learned":
            self.positions = network.model.embed_positions.weight.detach().float()
        elif config.positions == "sinusoidal":
            self.positions = network.position_table
        else:
            self.cos, self.sin = network.position_table.unsqueeze(2).clone()  # [context, 1, head_width]
            self.sin[..., : config.head_width // 2].neg_()  # as `Decoding._rotated` needs it


class Decoding:
    """One text in the making: `step` takes its next token. cache: holds those before; room: for how many in all."""

    def __init__(self, arranged: Arranged, cache: Cache, room: int) -> None:
        self.arranged, self.length = arranged, cache.length
        whole = Cache(arranged.config, 1, room).layers
        whole[:, :, :, :, : cache.length] = cache.layers[:, :, :, :, : cache.length]
        self.keys, self.values = list(whole[:, 0]), list(whole[:, 1])  # [1, kv_heads, room, head_width] of each layer

    def step(self, token: int) -> Tensor:
        """Logits [vocab_size] in fp32 of what follows `token`, the next one of the text."""
        arranged, at = self.arranged, self.length
        x = arranged.embeddings[token : token + 1].float()
        if arranged.positions is not None:
            x = x + arranged.positions[at]
        for layer, keys, values in zip(arranged.layers, self.keys, self.values):
            x = x + layer.out(self._attended(layer, layer.norm_of_attention(x), keys, values))
            x = x + fed_forward(arranged, layer, x)
        self.length += 1
        return arranged.output(arranged.norm(x))[0]

    def _attended(self, layer: Layer, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What the heads give for the vector x [1, width], side by side [1, heads x head_width]."""
        config, at = self.arranged.config, self.length
        heads, with_keys = config.heads, config.heads + config.kv_heads
        all_heads = layer.queries_keys_values(x).view(-1, config.head_width)
        rotated = all_heads[:with_keys]
        if layer.norm_of_heads is not None:
            rotated = F.rms_norm(rotated, rotated.shape[1:], eps=config.norm_eps).mul_(layer.norm_of_heads)
        if config.positions == "rotary":
            rotated = self._rotated(rotated)
        keys[0, :, at] = rotated[heads:]
        values[0, :, at] = all_heads[with_keys:]
        # The queries of a group, which share their keys, as if they were so many tokens: keys need not be repeated.
        queries = rotated[:heads].view(1, config.kv_heads, -1, config.head_width)
        y = F.scaled_dot_product_attention(queries, keys[:, :, : at + 1], values[:, :, : at + 1])
        return y.reshape(1, -1)

    def _rotated(self, x: Tensor) -> Tensor:
        """`operations.rotate` for heads [any, head_width] of one token, (a, b) -> (a, b) cos + (b, a) (-sin, sin)."""
        arranged = self.arranged
        swapped = x.roll(arranged.config.head_width // 2, -1)
        return torch.addcmul(x * arranged.cos[self.length], swapped, arranged.sin[self.length])


# -- which networks are arranged ---------------------------------------------------------------------------------------

_ARRANGED: WeakKeyDictionary[Transformer, Arranged] = WeakKeyDictionary()
_FOR_MANY: WeakKeyDictionary[Transformer, Arranged] = WeakKeyDictionary()


def fed_forward(arranged: Arranged, layer: Layer, x: Tensor) -> Tensor:
    """What a layer's feed-forward network adds to x, [width] or [texts, width]."""
    activation = ACTIVATIONS[arranged.config.activation]
    inner = layer.gate_and_up(layer.norm_of_feed_forward(x))
    if not arranged.config.gated:
        return layer.down(activation(inner))
    gate, up = inner.chunk(2, dim=-1)
    return layer.down(activation(gate).mul_(up))


def arrange(network: Transformer, int8: bool = False) -> Transformer:
    """Arrange a finished network, so that `generate` decodes it faster from now on; returns the network itself.

    int8: with matrices in 8 bits, which changes what is generated a little (`int8_product`); prompts are read with
    the network's own. Raises ValueError where this machine or the network does not allow it.

    It takes its weights' memory once more. Nothing happens on a GPU, to a network that sees both ways, to one with
    low-rank additions, and in formats other than fp32 and bf16.
    """
    plain = all(type(part) in (Linear, nn.Linear) for part in network.modules() if isinstance(part, nn.Linear))
    weight = network.output_weight
    known = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)
    if plain and known and network.config.causal:
        with torch.no_grad():
            _ARRANGED[network] = Arranged(network, int8=int8)
        if int8:
            _FOR_MANY[network] = _ARRANGED[network]
    elif int8:
        raise ValueError("only a finished network in fp32 or bf16 on a CPU generates with weights in 8 bits.")
    return network


def release(network: Transformer) -> None:
    """Undo `arrange`, and free its memory."""
    _ARRANGED.pop(network, None)
    _FOR_MANY.pop(network, None)


def arranged(network: Transformer) -> Arranged | None:
    """What `arrange` made of the network; None if it made nothing, or if the weights have changed since."""
    made = _ARRANGED.get(network)
    return made if made is not None and made.made_of == weights_of(network) else None


def arranged_for_many(network: Transformer) -> Arranged:
    """The network arranged for many texts at once (`decoding_together.py`), in place of what `arrange` made.

    Raises ValueError for a network that `arrange` does not take.
    """
    made = _FOR_MANY.get(network)
    if made is not None and made.made_of == weights_of(network):
        return made
    made = arranged(network) or arranged(arrange(network))
    if made is None:
        raise ValueError("only a finished network in fp32 or bf16 on a CPU generates many texts at once.")
    if network.output_weight.dtype == torch.float32:
        release(network)
        with torch.no_grad():
            made = Arranged(network, for_many=True)
    _FOR_MANY[network] = made
    return made


def weights_of(network: Transformer) -> list[tuple[int, int]]:
    """Where each weight is in memory, and how often it was changed."""
    return [(weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in network.parameters()]


# -- its parts ---------------------------------------------------------------------------------------------------------


def _layer(block: Block, product: Product) -> Layer:
    attention: Attention = block.self_attn
    forward: FeedForward = block.mlp
    by_head = None
    if attention.config.qk_norm:
        queries, keys = (norm.weight.detach().float() for norm in (attention.q_norm, attention.k_norm))
        by_head = torch.cat([queries.expand(attention.config.heads, -1), keys.expand(attention.config.kv_heads, -1)])
    first = [forward.up_proj] if forward.gate_proj is None else [forward.gate_proj, forward.up_proj]
    return Layer(
        _norm(block.input_layernorm),
        _joined([attention.q_proj, attention.k_proj, attention.v_proj], product),
        by_head,
        _joined([attention.o_proj], product),
        _norm(block.post_attention_layernorm),
        _joined(first, product),
        _joined([forward.down_proj], product),
    )


def _norm(norm: nn.Module) -> Vectors:
    weight: Tensor = norm.weight.detach().float()  # type: ignore[operator, union-attr]
    width = len(weight)
    if isinstance(norm, RMSNorm):
        eps = norm.eps

        def rms(x: Tensor) -> Tensor:
            if len(x) == 1:  # its length can be a number
                length = torch.linalg.vector_norm(x).item()
                return (x * weight).mul_(1 / math.sqrt(length * length / width + eps))
            lengths = torch.linalg.vector_norm(x, dim=-1).tolist()
            scales = [1 / math.sqrt(length * length / width + eps) for length in lengths]
            return (x * weight).mul_(torch.tensor(scales).unsqueeze_(1))

        return rms
    bias = None if norm.bias is None else norm.bias.detach().float()  # type: ignore[operator, union-attr]
    return lambda x: F.layer_norm(x, (width,), weight, bias, norm.eps)  # type: ignore[arg-type]


def _joined(layers: list[Linear], product: Product) -> Vectors:
    """The linear layers, given the same vector, as one."""
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    return product([layer.weight for layer in layers], torch.cat(biases) if biases else None)


def _product(weights: list[Tensor], bias: Tensor | None = None, for_many: bool = False) -> Vectors:
    """x [B, in] -> x W^T + b [B, out], for the rows of all `weights` [out, in].

    for_many: by oneDNN's packed matrices in fp32 too, whose sums are the same for a row of any B from 2 on; the plain
    product is some 10 % faster for one row.
    """
    weight = torch.cat([weight.detach() for weight in weights])
    if weight.dtype == torch.float32 and not (for_many and _packs(torch.float32)):
        transposed = weight.t().contiguous()
        if bias is None:
            return lambda x: torch.mm(x, transposed)
        return lambda x: torch.addmm(bias, x, transposed)
    if _packs(weight.dtype):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1)
        linear = torch.ops.mkldnn._linear_pointwise
        return lambda x: linear(x.to(weight.dtype), packed, bias, "none", [], "").float()
    return lambda x: F.linear(x.to(weight.dtype), weight, bias).float()


def int8_product(weights: list[Tensor], bias: Tensor | None) -> Vectors:
    """As `_product`, with 8 bits a weight, a scale for each row of a matrix and one for each vector.

    A vector is scaled to -1 .. 1 and rounded to 8 bits as well, so that whole numbers are multiplied (FBGEMM, Khudia et
    al. 2021): sums are exact, and of several vectors each is multiplied as it is beside any others. Without VNNI, a
    vector has 7 bits, since FBGEMM's sums of two products in 16 bits would overflow. Raises ValueError on other
    processors than x86's.
    """
    if "fbgemm" not in _engines():
        raise ValueError("weights in 8 bits need an x86 processor with AVX2: use bf16 or fp32.")
    weight = torch.cat([weight.detach().float() for weight in weights])
    scales = weight.abs().amax(1).clamp_min(1e-12).double() / 127
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*are deprecated and will be removed.*")  # torch's newer kernels are slower
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        packed = torch.ops.quantized.linear_prepack(rounded, None)
    finally:
        torch.backends.quantized.engine = engine
    most = 127 if torch.cpu._is_vnni_supported() else 63
    product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
    own_bias = None if bias is None else bias.float()

    def multiply(x: Tensor) -> Tensor:
        if len(x) == 1:  # its scale can be a number, which saves two operations
            scale = max(torch.linalg.vector_norm(x, math.inf).item(), 1e-12) / most
            y = product(x, scale, most + 1, packed)
            return y if own_bias is None else y.add_(own_bias)
        largest = x.abs().amax(-1, keepdim=True).clamp_min_(1e-12)
        y = product(x / largest, 1 / most, most + 1, packed).mul_(largest)
        return y if own_bias is None else y.add_(own_bias)

    return multiply


def _engines() -> list[str]:
    engines: list[str] = torch.backends.quantized.supported_engines
    return engines


def _packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies in this format here. It reorders plain bf16 matrices in every product, packed ones not.

    The operations are those that `torch.compile` calls on a CPU.
    """
    return (
        dtype in (torch.bfloat16, torch.float32)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and (dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )
