"""A step of many texts at once, each with keys and values of its own, by the weights that `decoding.py` arranges.

A step of one text reads every matrix and multiplies it by one vector, which takes as long as the reading. So a second
vector costs little. Each text attends to its own tokens only, by the same call as alone: there is no padding, texts
join and leave at any step, and nothing is copied when they do. A row of a product does not depend on the other rows
(oneDNN sums in the same order for any number of them from two on, so a text alone is computed twice), therefore a text
has the same bits whoever else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.decoding import Arranged, Decoding, Layer
from model.transformer import ACTIVATIONS

LEAST = 2  # rows of a product, for the same bits in any company
MOST = 64  # rows for which that was measured (docs/results/training-speed.md); more texts take several rounds


def step(texts: Sequence[Decoding], tokens: Sequence[int]) -> Tensor:
    """Logits [texts, vocab_size] in fp32 of what follows the next token of each text.

    All texts are of one network. Each is extended by its token.
    """
    if len(texts) > MOST:
        parts = [step(texts[at : at + MOST], tokens[at : at + MOST]) for at in range(0, len(texts), MOST)]
        return torch.cat(parts)
    arranged = texts[0].arranged
    rows = max(LEAST, len(texts))
    ids = torch.tensor([*tokens, *[tokens[0]] * (rows - len(texts))])
    at = torch.tensor([text.length for text in texts] + [texts[0].length] * (rows - len(texts)))
    x = arranged.embeddings[ids].float()
    if arranged.positions is not None:
        x = x + arranged.positions[at]
    activation = ACTIVATIONS[arranged.config.activation]
    turned = None
    if arranged.config.positions == "rotary":
        turned = arranged.cos[at], arranged.sin[at]
    for number, layer in enumerate(arranged.layers):
        attended = _attended(arranged, layer, layer.norm_of_attention(x), turned, [(t, number) for t in texts])
        x = x + layer.out(attended)
        inner = layer.gate_and_up(layer.norm_of_feed_forward(x))
        if arranged.config.gated:
            gate, up = inner.chunk(2, dim=-1)
            inner = activation(gate).mul_(up)
        else:
            inner = activation(inner)
        x = x + layer.down(inner)
    for text in texts:
        text.length += 1
    return arranged.output(arranged.norm(x))[: len(texts)]


def _attended(
    arranged: Arranged,
    layer: Layer,
    x: Tensor,
    turned: tuple[Tensor, Tensor] | None,
    texts: Sequence[tuple[Decoding, int]],
) -> Tensor:
    """What the heads give for the vectors x [B, width], side by side [B, heads x head_width].

    turned: cosines and sines of the positions, [B, 1, head_width] each. texts: with the number of the layer.
    """
    config = arranged.config
    heads, with_keys = config.heads, config.heads + config.kv_heads
    all_heads = layer.queries_keys_values(x).view(len(x), -1, config.head_width)
    rotated = all_heads[:, :with_keys]
    if layer.norm_of_heads is not None:
        rotated = F.rms_norm(rotated, rotated.shape[2:], eps=config.norm_eps).mul_(layer.norm_of_heads)
    if turned is not None:
        swapped = rotated.roll(config.head_width // 2, -1)
        rotated = torch.addcmul(rotated * turned[0], swapped, turned[1])
    groups = rotated[:, :heads].view(len(x), 1, config.kv_heads, -1, config.head_width)
    found = []
    for row, (text, number) in enumerate(texts):
        at, keys, values = text.length, text.keys[number], text.values[number]
        keys[0, :, at] = rotated[row, heads:]
        values[0, :, at] = all_heads[row, with_keys:]
        y = F.scaled_dot_product_attention(groups[row], keys[:, :, : at + 1], values[:, :, : at + 1])
        found.append(y.reshape(1, -1))
    found += [found[0]] * (len(x) - len(found))
    return torch.cat(found)
