"""Networks of the same shape with the same weights: this project's, transformers' Llama, litgpt's and nanoGPT's model.

Each contestant is a network and a function that gives its mean loss on a batch. The matrix multiplications of one step
on their own are the upper limit for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import model  # noqa: F401  (before torch: it says how threads wait)

if TYPE_CHECKING:
    import torch

    from model.transformer import Transformer

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    Contestant = tuple[torch.nn.Module, Callable[[Callable[..., Any]], Loss]]


class Size(NamedTuple):
    """A shape, and the sequences of a batch."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int  # of Llama's shape; GPT's is four times the width
    vocabulary: int
    context: int
    batch: int


SIZES = {
    "tiny": Size(2, 64, 4, 2, 192, 512, 32, 2),
    "10m": Size(10, 256, 8, 8, 704, 8192, 256, 16),
    "100m": Size(12, 768, 12, 12, 2048, 32000, 512, 4),
}


def contestant(name: str, size: Size, compiled: bool) -> tuple[torch.nn.Module, Loss]:
    """The network of that name, and the function that gives its mean loss on tokens and targets."""
    import torch

    network, loss_of = CONTESTANTS[name](size)
    return network, loss_of(torch.compile(network) if compiled else network)


# -- ours --------------------------------------------------------------------------------------------------------------


def our_network(size: Size, gpt: bool = False) -> Transformer:
    """This project's network in Llama's shape, or in GPT-2's; always the same weights."""
    import torch

    from model.config import ModelConfig
    from model.transformer import Transformer

    shape: dict[str, Any] = {
        "layers": size.layers, "width": size.width, "heads": size.heads, "vocab_size": size.vocabulary,
        "context": size.context,
    }  # fmt: skip
    if gpt:
        shape |= {"norm": "layer", "positions": "learned", "activation": "gelu"}
    else:
        shape |= {"kv_heads": size.kv_heads, "ffn": size.ffn}
    torch.manual_seed(0)
    return Transformer(ModelConfig(**shape))


def ours(size: Size, gpt: bool = False) -> Contestant:
    def loss_of(call: Callable[..., Any]) -> Loss:
        def loss(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            total, count = call(tokens, targets)
            return total / count

        return loss

    return our_network(size, gpt), loss_of


# -- peers -------------------------------------------------------------------------------------------------------------


def transformers_llama(size: Size) -> Contestant:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        vocab_size=size.vocabulary, hidden_size=size.width, intermediate_size=size.ffn, num_hidden_layers=size.layers,
        num_attention_heads=size.heads, num_key_value_heads=size.kv_heads, max_position_embeddings=size.context,
        rms_norm_eps=1e-5, tie_word_embeddings=True, use_cache=False,
    )  # fmt: skip
    network = LlamaForCausalLM(shape)
    network.load_state_dict(our_network(size).state_dict(), strict=False)
    return (
        network,
        lambda call: lambda tokens, targets: call(input_ids=tokens, labels=targets, shift_labels=targets).loss,
    )


def litgpt(size: Size) -> Contestant:
    import torch
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    shape = Config(
        name="bench", block_size=size.context, vocab_size=size.vocabulary, padded_vocab_size=size.vocabulary,
        n_layer=size.layers, n_head=size.heads, n_query_groups=size.kv_heads, n_embd=size.width,
        head_size=size.width // size.heads, rotary_percentage=1.0, parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", norm_eps=1e-5, mlp_class_name="LLaMAMLP", intermediate_size=size.ffn,
    )  # fmt: skip
    network = GPT(shape)
    network.lm_head.weight = network.transformer.wte.weight
    given = our_network(size).state_dict()
    theirs = {"transformer.wte.weight": given["model.embed_tokens.weight"]}
    theirs |= {"lm_head.weight": given["model.embed_tokens.weight"]}
    theirs |= {"transformer.ln_f.weight": given["model.norm.weight"]}
    for i in range(size.layers):
        here, there = f"model.layers.{i}.", f"transformer.h.{i}."
        theirs[f"{there}attn.qkv.weight"] = torch.cat([given[f"{here}self_attn.{part}_proj.weight"] for part in "qkv"])
        theirs[f"{there}attn.proj.weight"] = given[f"{here}self_attn.o_proj.weight"]
        theirs[f"{there}norm_1.weight"] = given[f"{here}input_layernorm.weight"]
        theirs[f"{there}norm_2.weight"] = given[f"{here}post_attention_layernorm.weight"]
        for their, our in (("fc_1", "gate_proj"), ("fc_2", "up_proj"), ("proj", "down_proj")):
            theirs[f"{there}mlp.{their}.weight"] = given[f"{here}mlp.{our}.weight"]
    network.load_state_dict(theirs, strict=False)
    # litgpt's pretraining does not chunk.
    return network, lambda call: lambda tokens, targets: chunked_cross_entropy(call(tokens), targets, chunk_size=0)


def nanogpt(size: Size) -> Contestant:
    """nanoGPT's model, from its description, with our weights."""
    import torch
    import torch.nn.functional as F

    network = nanogpt_network(size)
    given = our_network(size, gpt=True).state_dict()
    theirs = {"wte.weight": given["model.embed_tokens.weight"], "wpe.weight": given["model.embed_positions.weight"]}
    theirs["ln_f.weight"] = given["model.norm.weight"]
    for i in range(size.layers):
        here = f"model.layers.{i}."
        theirs[f"h.{i}.c_attn.weight"] = torch.cat([given[f"{here}self_attn.{part}_proj.weight"] for part in "qkv"])
        theirs[f"h.{i}.c_proj.weight"] = given[f"{here}self_attn.o_proj.weight"]
        theirs[f"h.{i}.c_fc.weight"] = given[f"{here}mlp.up_proj.weight"]
        theirs[f"h.{i}.down.weight"] = given[f"{here}mlp.down_proj.weight"]
        theirs[f"h.{i}.ln_1.weight"] = given[f"{here}input_layernorm.weight"]
        theirs[f"h.{i}.ln_2.weight"] = given[f"{here}post_attention_layernorm.weight"]
    network.load_state_dict(theirs)

    def loss_of(call: Callable[..., Any]) -> Loss:
        def loss(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(call(tokens).view(-1, size.vocabulary), targets.view(-1), ignore_index=-1)

        return loss

    return network, loss_of


def nanogpt_network(size: Size) -> torch.nn.Module:
    import torch
    import torch.nn.functional as F
    from torch import nn

    width, heads = size.width, size.heads

    class LayerNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(width))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1, self.ln_2 = LayerNorm(), LayerNorm()
            self.c_attn = nn.Linear(width, 3 * width, bias=False)
            self.c_proj = nn.Linear(width, width, bias=False)
            self.c_fc = nn.Linear(width, 4 * width, bias=False)
            self.down = nn.Linear(4 * width, width, bias=False)
            self.gelu = nn.GELU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            b, t, _ = x.shape
            parts = self.c_attn(self.ln_1(x)).split(width, dim=2)
            q, k, v = (part.view(b, t, heads, width // heads).transpose(1, 2) for part in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.c_proj(y.transpose(1, 2).contiguous().view(b, t, width))
            return x + self.down(self.gelu(self.c_fc(self.ln_2(x))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wte, self.wpe = nn.Embedding(size.vocabulary, width), nn.Embedding(size.context, width)
            self.h = nn.ModuleList(Block() for _ in range(size.layers))
            self.ln_f = LayerNorm()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
            for block in self.h:
                y = block(y)
            return F.linear(self.ln_f(y), self.wte.weight)

    return GPT()


CONTESTANTS: dict[str, Callable[[Size], Contestant]] = {
    "ours": ours,
    "transformers": transformers_llama,
    "litgpt": litgpt,
    "ours gpt": lambda size: ours(size, gpt=True),
    "nanogpt": nanogpt,
}
# Packages that contestants need.
NEEDS = {"transformers": "transformers", "litgpt": "litgpt"}


# -- the limit ---------------------------------------------------------------------------------------------------------


def multiplications(size: Size, attention: bool, dtype: torch.dtype) -> Callable[[], None]:
    """All matrix multiplications of one step of the Llama shape, into memory that is there already."""
    import torch
    import torch.nn.functional as F

    width, ffn, head = size.width, size.ffn, size.width // size.heads
    rows, keys = size.batch * size.context, head * size.kv_heads
    shapes = [(width, width), (keys, width), (keys, width), (width, width), (ffn, width), (ffn, width), (width, ffn)]
    made = {}
    for out, into in {*shapes, (size.vocabulary, width)}:
        sizes = [(rows, into), (out, into), (rows, out), (rows, out), (rows, into), (out, into)]
        made[out, into] = [torch.randn(*sides, dtype=dtype) for sides in sizes]
    q, k, v = (
        torch.randn(size.batch, size.context, n, head, dtype=dtype).transpose(1, 2).requires_grad_()
        for n in (size.heads, size.kv_heads, size.kv_heads)
    )
    d = torch.randn(size.batch, size.context, size.heads, head, dtype=dtype).transpose(1, 2)

    def step() -> None:
        for shape in [*(shapes * size.layers), (size.vocabulary, width)]:
            x, w, g, y, gx, gw = made[shape]
            torch.mm(x, w.t(), out=y)
            torch.mm(g, w, out=gx)
            torch.mm(g.t(), x, out=gw)
        for _ in range(size.layers if attention else 0):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=size.heads != size.kv_heads)
            y.backward(d)

    return step


def linear_flops(size: Size) -> int:
    """FLOPs of these multiplications, without attention."""
    block = size.width * (2 * size.width + 2 * size.width // size.heads * size.kv_heads + 3 * size.ffn)
    return 6 * size.batch * size.context * (size.layers * block + size.vocabulary * size.width)
