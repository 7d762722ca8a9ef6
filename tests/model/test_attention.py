"""Which kernel attends on which card; and the forms in which it is given its tensors are all the same attention."""

import itertools
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F

from model import attention
from model.attention import Request, kernel, pretending
from model.config import ModelConfig
from model.transformer import Cache, Transformer

TURING, AMPERE, ADA, HOPPER, BLACKWELL = (7, 5), (8, 0), (8, 9), (9, 0), (12, 0)
CARDS = ((6, 1), (7, 0), TURING, AMPERE, (8, 6), ADA, HOPPER, (10, 0), BLACKWELL)
SHAPE = ModelConfig(layers=2, width=96, heads=6, kv_heads=2, context=64, vocab_size=97)


def request(capability=AMPERE, dtype=torch.bfloat16, head_width=64, masked=False, grouped=False, trained=True):
    return Request(capability, dtype, head_width, masked, grouped, trained)


class Recorder:
    """The kernels that a card (None: a CPU) takes for each call of torch's attention, and the masks it was given."""

    def __init__(self, card):
        self.card, self.kernels, self.masks = card, [], []

    def __call__(self, q, k, v, attn_mask, **given):
        self.kernels.append(kernel(attention.request_of(self.card, q, k, attn_mask)) if self.card else "cpu")
        self.masks.append(attn_mask)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, **given)


@contextmanager
def on(card):
    """Attention as on this card (None: on a CPU), recorded."""
    recorder = Recorder(card)
    with pretending(card, recorder):
        yield recorder


def network(**changes):
    torch.manual_seed(3)
    return Transformer(SHAPE.model_copy(update=changes))


def batch(length=40):
    tokens = torch.randint(SHAPE.vocab_size, (3, length), generator=torch.Generator().manual_seed(1))
    return tokens, (torch.arange(length) // 13).expand(3, -1)


@pytest.mark.parametrize(("given", "taken"), [
    ({}, "flash"),
    ({"grouped": True}, "flash"),
    ({"masked": True}, "efficient"),
    ({"masked": True, "grouped": True}, "math"),
    ({"dtype": torch.float32}, "efficient"),
    ({"dtype": torch.float32, "grouped": True}, "math"),
    ({"dtype": torch.float16, "capability": TURING}, "efficient"),
    ({"dtype": torch.float16, "capability": TURING, "grouped": True}, "math"),
    ({"dtype": torch.bfloat16, "capability": TURING}, "math"),
    ({"head_width": 20}, "flash"),  # torch pads for this kernel
    ({"head_width": 20, "masked": True}, "math"),
    ({"head_width": 20, "dtype": torch.float32}, "efficient"),
    ({"head_width": 20, "masked": True, "dtype": torch.float16, "capability": (6, 1)}, "efficient"),
    ({"head_width": 256}, "flash"),
    ({"head_width": 288}, "efficient"),
    ({"head_width": 208, "capability": ADA}, "efficient"),
    ({"head_width": 208, "capability": ADA, "trained": False}, "flash"),
    ({"head_width": 208, "capability": HOPPER}, "flash"),
    ({"head_width": 256, "capability": BLACKWELL}, "flash"),
    ({"capability": (13, 0)}, "math"),
])  # fmt: skip
def test_the_kernel_is_the_one_that_torch_documents(given, taken):
    assert kernel(request(**given)) == taken


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("head_width", [20, 64, 208, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_kernel_is_the_one_that_torch_takes_on_this_card(masked, grouped, head_width, dtype):
    q = torch.zeros(2, 4, 64, head_width, dtype=dtype, device="cuda", requires_grad=True)
    k = q[:, :2] if grouped else q
    mask = torch.zeros(2, 1, 64, 64, dtype=dtype, device="cuda") if masked else None
    asked = torch.backends.cuda.SDPAParams(q, k, k, mask, 0.0, not masked, grouped)
    able = {
        "flash": torch.backends.cuda.can_use_flash_attention(asked),
        "efficient": torch.backends.cuda.can_use_efficient_attention(asked),
        "math": True,
    }
    card = attention.capability(q.device)
    assert card is not None
    assert kernel(attention.request_of(card, q, k, mask)) == next(name for name, usable in able.items() if usable)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_no_card_is_given_what_it_takes_the_plain_formula_for(card, precision):
    if precision == torch.bfloat16 and card < AMPERE:
        pytest.skip("these cards have no bf16, and training takes fp16 there")
    tokens, documents = batch()
    for masked, changes in itertools.product((False, True), ({}, {"kv_heads": 6}, {"heads": 8, "kv_heads": 1})):
        with on(card) as found, torch.autocast("cpu", precision, enabled=precision != torch.float32):
            network(**changes)(tokens, tokens, documents=documents if masked else None)[0].backward()
        assert len(found.kernels) == SHAPE.layers and "math" not in found.kernels
        best = "flash" if card >= AMPERE and precision != torch.float32 and not masked else "efficient"
        assert set(found.kernels) == {best}


def test_a_mask_is_made_once_for_all_layers_in_the_type_and_with_the_rows_that_the_kernel_wants():
    tokens, documents = batch(41)
    with on(AMPERE) as found, torch.autocast("cpu", torch.bfloat16):
        network()(tokens, documents=documents)
    first, second = found.masks
    assert first is second and first.dtype == torch.bfloat16 and first.shape == (3, 1, 41, 41)
    assert all(step % attention.ALIGNED == 0 for step in first.stride()[:-1]) and first.stride(-1) == 1


@pytest.mark.parametrize("changes", [{}, {"kv_heads": 6}, {"heads": 8, "kv_heads": 2}, {"causal": False}])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("card", [TURING, AMPERE])
def test_every_form_is_the_same_attention(card, masked, changes):
    tokens, documents = batch()
    given = {"documents": documents} if masked else {}

    def results():
        model = network(**changes)
        loss, _ = model(tokens, tokens, **given)
        loss.backward()
        return [loss.detach(), *(p.grad for p in model.parameters())]

    plain = results()
    with on(card):
        other = results()
    for one, two in zip(plain, other, strict=True):
        assert (one - two).abs().max() < 2e-6 * one.abs().max()


@pytest.mark.parametrize("changes", [{}, {"kv_heads": 6}, {"causal": False}])
@pytest.mark.parametrize("masked", [False, True])
def test_short_rows_train_by_the_plain_formula_in_bf16_as_exactly_as_by_the_kernel(masked, changes, monkeypatch):
    tokens, documents = batch()
    given = {"documents": documents} if masked else {}

    def gradients(low, short):
        monkeypatch.setattr(attention, "SHORT", short)
        model = network(**changes)
        with on(None) as found, torch.autocast("cpu", torch.bfloat16, enabled=low):
            model(tokens, tokens, **given)[0].backward()
        return len(found.masks), torch.cat([p.grad.flatten() for p in model.parameters()])

    (_, exact), (kernels, fused), (none, plain) = gradients(False, 0), gradients(True, 39), gradients(True, 40)
    assert (kernels, none) == (SHAPE.layers, 0)
    assert 0 < (plain - exact).norm() < 1.3 * (fused - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("low", [False, True])
def test_the_kernel_reads_what_is_not_trained_and_what_is_fp32(low, grad):
    tokens, documents = batch()
    with on(None) as found, torch.autocast("cpu", torch.bfloat16, enabled=low), torch.set_grad_enabled(grad):
        network()(tokens, documents=documents)
    assert len(found.masks) == (0 if low and grad else SHAPE.layers)
    assert all(mask.dtype == torch.bool for mask in found.masks)


@pytest.mark.parametrize("card", [TURING, AMPERE])
def test_decoding_with_a_cache_is_the_same_in_every_form(card):
    tokens, _ = batch()
    model = network().eval()

    @torch.no_grad()
    def results():
        cache = Cache(model.config, 3, 64)
        return torch.cat([model(part, cache=cache) for part in tokens.split([17, 1, 9, 13], 1)], 1)

    with on(card) as found:
        other = results()
    assert len(found.kernels) == 4 * SHAPE.layers and "math" not in found.kernels
    assert (results() - other).abs().max() < 1e-5


def test_a_card_is_only_pretended_to_within_the_block():
    cpu = torch.device("cpu")
    with pytest.raises(RuntimeError), pretending(AMPERE):
        assert attention.capability(cpu) == AMPERE
        raise RuntimeError
    assert attention.capability(cpu) is None


def test_compiled_attention_takes_the_form_of_the_card():
    tokens, documents = batch()
    model = network()
    plain = model(tokens, documents=documents)
    with pretending(AMPERE):
        compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
        assert (compiled(tokens, documents=documents) - plain).abs().max() < 1e-5
