"""Arranged networks decode what the network's own forward pass gives, and never with weights that have changed."""

from __future__ import annotations

import copy
import gc

import pytest
import torch

from model import lora
from model.config import ModelConfig
from model.decoding import Arranged, Decoding, arrange, arranged, arranged_for_many, int8_product, release
from model.generate import generate
from model.sampling import Sampling
from model.transformer import Cache, Transformer

SHAPES = {
    "as by default": {},
    "grouped keys": {"kv_heads": 2},
    "one head of keys, normed": {"kv_heads": 1, "qk_norm": True},
    "wide heads": {"head_width": 24, "qk_norm": True, "kv_heads": 2},
    "GPT-2's": {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True},
    "sines": {"positions": "sinusoidal", "activation": "relu2", "init_std": 0.05},
    "an output of its own": {"tie_embeddings": False, "activation": "geglu", "bias": True},
    "a norm without bias": {"norm": "layer", "activation": "reglu"},
}


def network(**changes) -> Transformer:
    torch.manual_seed(0)
    shape = {"layers": 3, "width": 64, "heads": 4, "context": 48, "vocab_size": 90, "init_std": 0.2, "dropout": 0.5}
    model = Transformer(ModelConfig(**{**shape, **changes})).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:  # norms and biases that would be noticed if they were left out
            parameter.data = parameter.data + torch.randn_like(parameter) * (0.02 if name.endswith("bias") else 0.3)
    return model


def in_bf16(model: Transformer) -> Transformer:
    model = copy.deepcopy(model).to(torch.bfloat16)
    if model.position_table is not None:
        model.position_table = model.position_table.float()
        model.fill_position_table()
    return model


def stepped(model: Transformer, text: torch.Tensor, start: int = 8) -> torch.Tensor:
    """Logits after each token of `text` from `start` on, decoded one by one after a prompt of `start` tokens."""
    with torch.inference_mode():
        cache = Cache(model.config, 1, start, dtype=model.output_weight.dtype)
        model.hidden(text[None, :start], cache=cache)
        decoding = Decoding(Arranged(model), cache, len(text))
        return torch.stack([decoding.step(token) for token in text[start:].tolist()])


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_each_step_is_the_full_forward(changes):
    model = network(**changes)
    before = copy.deepcopy(model.state_dict())
    text = torch.randint(90, (40,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(text[None])[0, 8:]
    assert (stepped(model, text) - whole).abs().max() < 1e-4 * whole.abs().max()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_the_likeliest_tokens_are_those_of_full_passes(changes):
    model = arrange(network(**changes))
    assert arranged(model) is not None
    tokens = [1, 2, 3]
    with torch.no_grad():
        for _ in range(40):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert list(generate(model, [1, 2, 3], 40)) == list(map(int, tokens[3:]))


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("packs", [True, False], ids=["packed", "plain"])
def test_in_bf16_it_is_no_further_from_fp32_than_the_forward_pass(changes, packs, monkeypatch):
    if not packs:
        monkeypatch.setattr("model.decoding._packs", lambda dtype: False)
    model = network(**{"init_std": 0.05, **changes})
    low = in_bf16(model)
    text = torch.randint(90, (40,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact, usual = model(text[None])[0, 8:], low(text[None])[0, 8:].float()
    assert 0 < (stepped(low, text) - exact).norm() < 1.1 * (usual - exact).norm()


def test_autocast_outside_changes_nothing():
    model = arrange(network())
    plain = list(generate(model, [1, 2, 3], 30))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert list(generate(model, [1, 2, 3], 30)) == plain


def test_a_seed_gives_the_same_text_arranged_or_not():
    model, sampling = network(), Sampling(1.0, top_p=0.9, repetition_penalty=1.2, seed=3)
    plain = list(generate(model, [5], 40, sampling, stop_ids=[7]))
    assert list(generate(arrange(model), [5], 40, sampling, stop_ids=[7])) == plain


def test_weights_that_have_changed_are_not_decoded_with_the_old_ones():
    model = arrange(network())
    first = list(generate(model, [1, 2], 20))
    optimiser = torch.optim.SGD(model.parameters(), 0.3)
    total, _ = model.loss(torch.randint(90, (2, 20)), torch.randint(90, (2, 20)))
    total.backward()
    optimiser.step()
    assert arranged(model) is None
    changed = list(generate(model, [1, 2], 20))
    assert changed == list(generate(copy.deepcopy(model), [1, 2], 20)) != first
    assert arranged(arrange(model)) is not None and list(generate(model, [1, 2], 20)) == changed
    assert arranged(model.to(torch.bfloat16)) is None


def test_what_cannot_be_arranged_is_left_as_it_is():
    model = network()
    lora.add(model, 2, 4.0)
    assert arranged(arrange(model)) is None and len(list(generate(model, [1], 5))) == 5
    assert arranged(arrange(network(causal=False))) is None
    assert arranged(arrange(network().double())) is None


def test_a_network_that_is_gone_leaves_nothing(monkeypatch):
    import model.decoding

    kept = len(model.decoding._ARRANGED)
    one = arrange(network())
    assert len(model.decoding._ARRANGED) == kept + 1
    del one
    gc.collect()
    assert len(model.decoding._ARRANGED) == kept
    other = arrange(network())
    release(other)
    assert arranged(other) is None


def test_the_products_of_a_step_are_few(monkeypatch):
    """Four products for each layer and one for the vocabulary, none of them in fp32 with weights in bf16."""
    model = arrange(in_bf16(network(kv_heads=2)))
    cache = Cache(model.config, 1, 3, dtype=torch.bfloat16)
    with torch.inference_mode():
        model.hidden(torch.tensor([[1, 2, 3]]), cache=cache)
        decoding = Decoding(arranged(model), cache, 10)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            decoding.step(4)
    products = [
        event.count for event in profile.key_averages() if event.key in ("mkldnn::_linear_pointwise", "aten::linear")
    ]
    assert products == [4 * 3 + 1]
    assert not [event for event in profile.key_averages() if event.key in ("aten::mm", "aten::addmm")]


# -- 8 bits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vnni", [True, False])
def test_a_product_in_8_bits_is_near_and_the_same_in_any_company(monkeypatch, vnni):
    if not vnni:
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(48, 320, generator=generator), torch.randn(17, 320, generator=generator) * 5]
    bias, x = torch.randn(65, generator=generator), torch.randn(40, 320, generator=generator)
    x[3] *= 1000
    x[4] = 0
    multiply = int8_product(weights, bias)
    found = multiply(x)
    assert all(torch.equal(multiply(x[[row, 7]])[0], found[row]) for row in range(40))
    by_itself = torch.cat([multiply(x[row : row + 1]) for row in range(40)])
    assert ((by_itself - found).norm(dim=1) <= 0.005 * found.norm(dim=1)).all()
    exact = x @ torch.cat(weights).t()
    error = (found - bias - exact).norm(dim=1) / exact.norm(dim=1).clamp_min(1e-9)
    assert error.max() < (0.02 if vnni else 0.03) and torch.equal(found[4], bias)


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_weights_in_8_bits_give_nearly_the_same_logits_here_and_in_a_batch(changes):
    model = network(**changes)
    exact = list(generate(arrange(model), [1, 2, 3], 12))
    rounded = list(generate(arrange(model, int8=True), [1, 2, 3], 12))
    assert rounded[0] == exact[0], "the prompt is read with the network's own weights"
    assert arranged_for_many(model) is arranged(model) and arranged(model).int8
    text = torch.randint(90, (20,), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        cache = Cache(model.config, 1, 8)
        model.hidden(text[None, :8], cache=cache)
        decoding = Decoding(arranged(model), cache, 20)
        found = torch.stack([decoding.step(token) for token in text[8:].tolist()])
        whole = model(text[None])[0, 8:]
    assert 0 < (found - whole).norm() < 0.1 * whole.norm()


def test_8_bits_are_refused_where_they_cannot_be(monkeypatch):
    with pytest.raises(ValueError, match="in fp32 or bf16 on a CPU"):
        arrange(network().double(), int8=True)
    monkeypatch.setattr("model.decoding._engines", lambda: ["qnnpack"])
    with pytest.raises(ValueError, match="x86 processor"):
        arrange(network(), int8=True)
