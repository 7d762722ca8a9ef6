"""A step of many texts at once, each with keys and values of its own, by the weights that `decoding.py` arranges.

A step of one text reads every matrix and multiplies it by one vector, which takes as long as the reading. So a second
vector costs little. Each text attends to its own tokens only, by the same call as alone: there is no padding, texts
join and leave at any step, and nothing is copied when they do. A row of a product does not depend on the other rows
(oneDNN sums in the same order for any number of them from two on, so a text alone is computed twice), therefore a text
has the same bits whoever else is in the batch, and when it takes several tokens in one step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.decoding import Arranged, Decoding, Layer, arranged_for_many, fed_forward
from model.transformer import Cache, Transformer

LEAST = 2  # rows of a product, for the same bits in any company
MOST = 64  # rows for which that was measured (docs/results/training-speed.md); more texts take several rounds


class Together:
    """torch as what computes for a batch (`batch.Computes`).

    Raises ValueError for a network that is not a finished one in fp32 or bf16 on a CPU.
    """

    def __init__(self, network: Transformer) -> None:
        self.network, self.arranged = network.eval(), arranged_for_many(network.eval())

    def fits(self, texts: int) -> bool:
        return True

    def begin(self, tokens: int) -> Cache:
        return Cache(self.network.config, 1, tokens, dtype=self.network.output_weight.dtype)

    def read(self, prompt: Cache, piece: Sequence[int]) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            hidden = self.network.hidden(torch.tensor([list(piece)]), cache=prompt)
            return self.network.logits(hidden[0, -1]).float()

    def continued(self, prompt: Cache, room: int) -> Decoding:
        return Decoding(self.arranged, prompt, room)

    def step(self, texts: Sequence[Decoding], runs: Sequence[Sequence[int]]) -> Tensor:
        return step(texts, runs)


def step(texts: Sequence[Decoding], runs: Sequence[Sequence[int]]) -> Tensor:
    """Logits [tokens, vocab_size] in fp32 of what follows each token of each text's run, one after the other.

    All texts are of one network. runs: the next tokens of each text, mostly one; each text is extended by its run.
    """
    if len(texts) > MOST:
        parts = [step(texts[at : at + MOST], runs[at : at + MOST]) for at in range(0, len(texts), MOST)]
        return torch.cat(parts)
    arranged = texts[0].arranged
    rows = [
        (text, text.length + i, token) for text, run in zip(texts, runs, strict=True) for i, token in enumerate(run)
    ]
    filled = rows + rows[:1] * (LEAST - len(rows))
    at = torch.tensor([place for _, place, _ in filled])
    x = arranged.embeddings[torch.tensor([token for _, _, token in filled])].float()
    if arranged.positions is not None:
        x = x + arranged.positions[at]
    turned = None
    if arranged.config.positions == "rotary":
        turned = arranged.cos[at], arranged.sin[at]
    for number, layer in enumerate(arranged.layers):
        caches = [(text.keys[number], text.values[number], place) for text, place, _ in rows]
        x = x + layer.out(_attended(arranged, layer, layer.norm_of_attention(x), turned, caches))
        x = x + fed_forward(arranged, layer, x)
    for text, run in zip(texts, runs, strict=True):
        text.length += len(run)
    return arranged.output(arranged.norm(x))[: len(rows)]


def _attended(
    arranged: Arranged,
    layer: Layer,
    x: Tensor,
    turned: tuple[Tensor, Tensor] | None,
    caches: Sequence[tuple[Tensor, Tensor, int]],
) -> Tensor:
    """What the heads give for the vectors x [B, width], side by side [B, heads x head_width].

    turned: cosines and sines of the positions, [B, 1, head_width] each. caches: keys and values of each row's text
    [1, kv_heads, room, head_width], and the row's place in it; rows beyond them repeat the first.
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
    for row, (keys, values, at) in enumerate(caches):
        keys[0, :, at] = rotated[row, heads:]
        values[0, :, at] = all_heads[row, with_keys:]
        y = F.scaled_dot_product_attention(groups[row], keys[:, :, : at + 1], values[:, :, : at + 1])
        found.append(y.reshape(1, -1))
    found += [found[0]] * (len(x) - len(found))
    return torch.cat(found)
