"""Attention of queries to keys and values, in the form in which a kernel takes it that keeps no scores.

On a CPU one kernel of torch takes everything, and short rows in bf16 train faster by the plain formula (`by_formula`).
On NVIDIA's cards `scaled_dot_product_attention` chooses by what it is
given, and takes the plain formula where nothing else fits: that keeps the scores [B, heads, T, T] of every layer. The
two kernels that do not are `flash` (fp16 and bf16 from compute capability 8.0 on, grouped heads, no mask) and
`efficient` (older cards, fp32 and masks too, but no grouped heads). So keys and values are repeated where only
`efficient` remains. `kernel` says which one torch takes; the plan of memory asks it, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kernel = Literal["flash", "efficient", "math"]
Capability = tuple[int, int]  # of a card, as (major, minor)

OLDEST, NEWEST = (5, 0), (12, 1)  # cards that torch has either kernel for
AMPERE = (8, 0)  # the first with bf16, and with flash attention
FLASH_WIDTH = 256  # of a head, at most
SHORT = 512  # tokens: the plain formula takes .4 to .8 of the time of torch's kernel (docs/results/training-speed.md)
ALIGNED = 16  # elements: `efficient` copies a mask whose rows start elsewhere, in each layer
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Request:
    """What the choice of a kernel depends on."""

    capability: Capability
    dtype: torch.dtype
    head_width: int
    masked: bool  # a mask is given, rather than nothing or `is_causal`
    grouped: bool  # fewer heads of keys and values than of queries
    trained: bool  # gradients are computed


def request_of(card: Capability, q: Tensor, k: Tensor, mask: Tensor | None) -> Request:
    """What the kernel for these tensors depends on; `q` and `k` [B, heads, T, head_width]."""
    grouped = q.shape[1] != k.shape[1]
    return Request(card, computed_in(q), q.shape[-1], mask is not None, grouped, torch.is_grad_enabled())


def kernel(request: Request) -> Kernel:
    """The kernel that torch 2.13 takes on an NVIDIA card, by the constraints of its `sdp_utils.cpp`.

    cuDNN's, which torch prefers on cards of capability 9 and 10, takes all that these two take, and needs as little
    memory. tests/model/test_attention.py compares this with `torch.backends.cuda.can_use_*` where there is a card.
    """
    if not OLDEST <= request.capability <= NEWEST:
        return "math"
    if _flash(request):
        return "flash"
    return "efficient" if _efficient(request) else "math"


def _flash(request: Request) -> bool:
    if request.masked or request.dtype not in HALF or request.capability < AMPERE:
        return False
    small = (8, 6) <= request.capability <= (8, 9) or request.capability >= (12, 0)  # less shared memory
    if request.trained and small and 192 < request.head_width <= 224:
        return False
    return request.head_width <= FLASH_WIDTH


def _efficient(request: Request) -> bool:
    if request.grouped or request.dtype not in (torch.float32, *HALF):
        return False
    if request.dtype == torch.bfloat16 and request.capability < AMPERE:
        return False
    return request.head_width % aligned_to(request.capability, request.dtype) == 0


def form(request: Request) -> Request:
    """The request as `attend` makes it: with keys and values for every head, and heads padded, where that helps."""
    reformed = replace(request, grouped=False, head_width=-(-request.head_width // 8) * 8)
    return reformed if kernel(request) == "math" and kernel(reformed) != "math" else request


def aligned_to(capability: Capability, dtype: torch.dtype) -> int:
    """What `efficient` wants the width of a head to be a multiple of: 16 bytes where tensor cores are used."""
    if dtype in HALF:
        return 8 if capability >= (7, 0) else 1
    return 4 if capability >= AMPERE else 1


# -- the device --------------------------------------------------------------------------------------------------------

_pretended: Capability | None = None
_attention: Callable[..., Tensor] = F.scaled_dot_product_attention


def capability(device: torch.device) -> Capability | None:
    """Compute capability of a card; None for any other device."""
    if _pretended is not None:
        return _pretended
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return properties.major, properties.minor


@contextmanager
def pretending(
    card: Capability | None, instead: Callable[..., Tensor] = F.scaled_dot_product_attention
) -> Iterator[None]:
    """Within it, attention gets the form that a card of this capability needs, on any device; None changes nothing.

    instead: what is called in place of torch's function, with its arguments. For plans, which run without contents and
    without a card, and for tests.
    """
    global _pretended, _attention
    before = _pretended, _attention
    _pretended, _attention = card, instead
    try:
        yield
    finally:
        _pretended, _attention = before


def computed_in(x: Tensor) -> torch.dtype:
    """The type in which attention computes with `x`: autocast's, if it is on."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


# -- attention ---------------------------------------------------------------------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Attention of `q` [B, heads, T, head_width] to `k` and `v` [B, kv_heads, S, head_width]; returns the shape of `q`.

    mask: as `visible` returns it, [B or 1, 1, T, S]. causal: a token attends to itself and earlier ones, S = T.
    """
    card = capability(q.device)
    if card is not None:
        request = request_of(card, q, k, mask)
        formed = form(request)
        if formed != request:
            return _without_groups(q, k, v, mask, causal, formed.head_width)
    elif by_formula(q, q.shape[2], k.shape[2]):
        return _formula(q, k, v, mask, causal)
    grouped = q.shape[1] != k.shape[1]
    return _attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped)


def by_formula(x: Tensor, length: int, keys: int) -> bool:
    """Whether attention of `length` queries to so many keys, of the type of `x`, is computed by the plain formula.

    On a CPU the backward pass of torch's kernel in bf16 converts each block of scores; for short rows it is faster to
    keep the probabilities, [B, heads, T, S] in each layer. Only for training: a long prompt is read by the kernel.
    """
    on_cpu = x.device.type == "cpu" and capability(x.device) is None
    return on_cpu and torch.is_grad_enabled() and computed_in(x) == torch.bfloat16 and length == keys <= SHORT


def _formula(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """softmax(q k^T / sqrt(head_width)) v with scores and probabilities in the type of computation; shapes of `attend`.

    mask: added to the scores, as `visible` returns it for these rows.
    """
    groups, dtype = q.shape[1] // k.shape[1], computed_in(q)
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    if causal:
        mask = torch.full((q.shape[2], k.shape[2]), -math.inf, dtype=dtype, device=q.device).triu(1)
    with torch.autocast("cpu", enabled=False):  # it would compute the softmax in fp32
        q, k, v = q.to(dtype) * (1 / math.sqrt(q.shape[-1])), k.to(dtype), v.to(dtype)
        scores = q @ k.mT
        return (scores if mask is None else scores + mask).softmax(-1) @ v


def _without_groups(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, width: int) -> Tensor:
    """The same with keys and values for every head, and heads padded with zeros to `width`."""
    groups, own = q.shape[1] // k.shape[1], q.shape[-1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    if width > own:
        q, k, v = (F.pad(x, (0, width - own)) for x in (q, k, v))
    y = _attention(q, k, v, attn_mask=mask, is_causal=causal, scale=1 / math.sqrt(own))
    return y[..., :own]


def visible(mask: Tensor, x: Tensor) -> Tensor:
    """A mask [B or 1, 1, T, S], True where a token may attend, in the form in which all layers can share it.

    A mask is added to the scores, in the plain formula on a CPU, too. On a card torch makes a copy of one of truth
    values, in the type of the scores, in each layer: so that is done once, with rows that start where `efficient` wants
    them. x: the residual stream.
    """
    length = mask.shape[-1]
    if capability(x.device) is None and not by_formula(x, mask.shape[-2], length):
        return mask
    room = -(-length // ALIGNED) * ALIGNED
    added = torch.zeros(*mask.shape[:-1], room, dtype=computed_in(x), device=x.device)[..., :length]
    return added.masked_fill_(mask.logical_not_(), -math.inf)
