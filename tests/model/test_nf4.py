"""Four-bit weights: the levels of the paper, the bits they take, gradients, and additions on top of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from model import export, lora
from model.config import ModelConfig
from model.nf4 import BLOCK, LEVELS, BitsandbytesWeight, QuantisedWeight, dequantise, quantise
from model.transformer import Transformer
from pipeline.errors import UserError
from pipeline.training.objectives.tuning import kernel_is_installed
from pipeline.training.training_settings import SftSettings

SHAPE = ModelConfig(layers=2, width=64, heads=4, kv_heads=2, context=32, vocab_size=80)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_levels_are_the_quantiles_of_appendix_e():
    # Evenly spaced quantiles: seven below zero, eight above, zero itself, scaled to [-1, 1].
    edge = 0.5 * ((1 - 1 / 30) + (1 - 1 / 32))
    above = norm.ppf(np.linspace(edge, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(edge, 0.5, 8)[:-1])
    expected = np.sort(np.concatenate([above, [0.0], below])) / above.max()
    assert pytest.approx(expected, abs=1e-6) == LEVELS


def test_each_weight_becomes_the_nearest_level_of_its_block():
    weight = drawn(48, 40) * torch.linspace(0.1, 5, 48)[:, None]
    back = dequantise(quantise(weight), (48, 40))
    blocks, found = weight.flatten().view(-1, BLOCK), back.flatten().view(-1, BLOCK)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks / largest)[..., None].sub(torch.tensor(LEVELS)).abs().argmin(-1)
    assert torch.equal((found / found.abs().amax(1, keepdim=True)).sub(torch.tensor(LEVELS)[nearest]).abs() < 1e-5,
                       torch.ones_like(found, dtype=torch.bool))  # fmt: skip
    # Double quantisation moves the scale of a block by at most half a step of an 8-bit float (three bits of mantissa).
    around = (largest - largest.mean()).abs().max()
    assert (found.abs().amax(1) - largest[:, 0]).abs().max() <= around / 16 + 1e-6
    # Normal weights lose about a tenth of their size (Dettmers et al. 2023 aim at the least of it).
    plain = drawn(256, 256)
    error = (dequantise(quantise(plain), (256, 256)) - plain).norm() / plain.norm()
    assert 0.05 < error < 0.11


@pytest.mark.parametrize("shape", [(3, 5), (64, 64), (7, 130)])
def test_any_shape_and_zeros_come_back(shape):
    assert dequantise(quantise(drawn(*shape)), shape).shape == shape
    assert not dequantise(quantise(torch.zeros(shape)), shape).any()


def test_a_weight_takes_four_bits_and_an_eighth():
    parts = quantise(drawn(1024, 1024))
    bits = 8 * sum(part.numel() * part.element_size() for part in parts.values()) / 1024**2
    assert bits == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-3)


def test_a_product_and_its_gradient_are_those_of_the_full_matrix():
    weight, x = QuantisedWeight(drawn(24, 16)), drawn(5, 16, seed=1).requires_grad_()
    full = weight.full()
    (found,) = torch.autograd.grad((weight(x) ** 2).sum(), [x])
    (wanted,) = torch.autograd.grad(((x @ full.t()) ** 2).sum(), [x])
    torch.testing.assert_close(weight(x), x @ full.t())
    torch.testing.assert_close(found, wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = weight(x)
    assert low.dtype == torch.bfloat16


def test_additions_to_four_bits_are_merged_to_what_was_trained(tmp_path):
    torch.manual_seed(0)
    network = Transformer(SHAPE)
    trained = lora.add(network, 4, 8.0, quantised=True)
    assert len(trained) == 2 * 7 * 2 and not any("weight" in name for name, _ in network.model.layers.named_parameters()
                                                 if "layernorm" not in name)  # fmt: skip
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("lora_B"):
                parameter.copy_(drawn(*parameter.shape, seed=len(name)) / 8)
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        before = network(tokens)
        lora.save(network, tmp_path / "adapter")
        lora.merge(network)
        torch.testing.assert_close(network(tokens), before, rtol=1e-5, atol=1e-6)
    export.save(network, tmp_path)
    assert torch.equal(export.load(tmp_path)(tokens), network(tokens))


def test_lengths_of_rows_are_refused():
    with pytest.raises(ValueError, match="dora"):
        lora.add(Transformer(SHAPE), 4, 8.0, dora=True, quantised=True)


def test_bitsandbytes_has_the_same_codes_and_trains_the_same_way():
    """On a CPU; its kernels for GPUs were never run here."""
    pytest.importorskip("bitsandbytes")
    weight, x = drawn(128, 192), drawn(5, 192, seed=1).requires_grad_()
    ours, theirs = QuantisedWeight(weight), BitsandbytesWeight(weight)
    assert torch.equal(theirs.codes.flatten(), ours.codes)
    apart = (theirs.full() - ours.full()).norm() / weight.norm()
    assert 0 < apart < 0.03, "scales of eight bits, rounded on another grid"
    (found,) = torch.autograd.grad((theirs(x) ** 2).sum(), [x])
    (wanted,) = torch.autograd.grad(((x @ theirs.full().t()) ** 2).sum(), [x])
    torch.testing.assert_close(theirs(x), x @ theirs.full().t(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    network = Transformer(SHAPE)
    lora.add(network, 4, 8.0, quantised=True, kernel="bitsandbytes")
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        before = network(tokens)
        lora.merge(network)
        torch.testing.assert_close(network(tokens), before, rtol=1e-4, atol=1e-5)


def test_a_kernel_that_is_not_installed_is_a_sentence_and_the_default_is_not_recorded(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    asked = SftSettings(weights="qlora", qlora_kernel="bitsandbytes")
    with pytest.raises(UserError, match=r"`sft\.qlora_kernel: bitsandbytes` needs the extra.*pip install"):
        kernel_is_installed(asked)
    kernel_is_installed(SftSettings(weights="qlora"))
    assert asked.recorded["qlora_kernel"] == "bitsandbytes"
    assert "qlora_kernel" not in SftSettings(weights="qlora").recorded
