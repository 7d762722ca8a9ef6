"""Muon is torch's own, in the number format that suits the device."""

import pytest
import torch

from pipeline.training import muon
from pipeline.training.muon import Muon, orthogonal
from pipeline.training.optimiser import Optimiser
from pipeline.training.training_settings import LoopSettings

SHAPES = [(24, 24), (40, 16), (16, 40)]
WEIGHTS = [(24, 24), (40, 16), (16, 40), (40, 16), (24, 24), (40, 16), (16, 40)]  # alike in pairs and threes
SETTINGS = {"lr": 0.02, "weight_decay": 0.1, "momentum": 0.95}


def trained(kind, steps=3, multiplies_in=None, **more):
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in WEIGHTS]
    optimiser = kind(weights, **SETTINGS, **more)
    if multiplies_in is not None:
        optimiser.multiplies_in = multiplies_in
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape) * 0.01
        optimiser.step()
    return weights, optimiser


def test_in_bf16_its_bits_are_those_of_torch():
    ours, optimiser = trained(Muon, multiplies_in=torch.bfloat16)
    theirs, reference = trained(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)
        assert torch.equal(optimiser.state[mine]["momentum_buffer"], reference.state[other]["momentum_buffer"])


def test_in_fp32_it_takes_nearly_the_same_way():
    ours, _ = trained(Muon, multiplies_in=torch.float32)
    theirs, _ = trained(torch.optim.Muon, adjust_lr_fn="match_rms_adamw")
    start, _ = trained(Muon, steps=0)
    for mine, other, before in zip(ours, theirs, start, strict=True):
        assert not torch.equal(mine, other)
        assert (mine - other).norm() < 0.03 * (other - before).norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_has_singular_values_near_one(shape):
    torch.manual_seed(1)
    singular = torch.linalg.svdvals(orthogonal(torch.randn(3, *shape) * torch.tensor([1e-3, 1, 50])[:, None, None]))
    assert singular.min() > 0.6 and singular.max() < 1.3


@pytest.mark.parametrize("numbers", [1, 1000, 2**20])
def test_how_many_are_taken_together_changes_no_bit(monkeypatch, numbers):
    expected, _ = trained(Muon, multiplies_in=torch.bfloat16)
    monkeypatch.setattr(muon, "BATCH_ELEMENTS", numbers)
    for mine, other in zip(trained(Muon, multiplies_in=torch.bfloat16)[0], expected, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_the_optimiser_multiplies_in_the_format_that_it_is_given(precision, dtype):
    settings = LoopSettings(optimiser="muon")
    optimiser = Optimiser(torch.nn.Linear(8, 8), settings, 1e-3, precision)
    assert [part.multiplies_in for part in optimiser.parts if isinstance(part, Muon)] == [dtype]


def test_a_weight_without_a_gradient_stays():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    Muon([weight], **SETTINGS).step()
    assert torch.equal(weight, torch.ones(4, 4))


@pytest.mark.parametrize("overflows", [True, False])
def test_a_loss_scaler_skips_an_update_without_asking_the_device(monkeypatch, overflows):
    weights, optimiser = trained(Muon, steps=1)
    before = [weight.detach().clone() for weight in weights]
    momenta = [optimiser.state[weight]["momentum_buffer"].clone() for weight in weights]
    twin, plain = trained(Muon, steps=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    scaler.scale(torch.zeros(1))
    torch.manual_seed(1)
    for weight, other in zip(weights, twin, strict=True):
        other.grad = torch.randn(weight.shape)
        weight.grad = 4 * other.grad
    if overflows:
        weights[2].grad[0, 0] = torch.inf
    scaler.unscale_(optimiser)
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: pytest.fail("asked for a value"))
    scaler.step(optimiser)
    monkeypatch.undo()
    scaler.update()
    plain.step()
    assert scaler.get_scale() == (2.0 if overflows else 8.0)
    for weight, old, momentum, other in zip(weights, before, momenta, twin, strict=True):
        if overflows:
            assert torch.equal(weight, old) and torch.equal(optimiser.state[weight]["momentum_buffer"], momentum)
        else:
            assert torch.allclose(weight, other, rtol=1e-6, atol=1e-7) and not torch.equal(weight, old)


def test_cautious_decay_shrinks_only_what_the_update_moves_towards_zero():
    torch.manual_seed(2)
    weight = torch.nn.Parameter(torch.randn(24, 24))
    before = weight.detach().clone()
    ways = {}
    for decay, cautious in ((0.0, False), (10.0, True), (10.0, False)):
        tried = torch.nn.Parameter(before.clone())
        optimiser = Muon([tried], lr=0.02, weight_decay=decay, momentum=0.0)
        optimiser.cautious = cautious
        tried.grad = torch.randn(24, 24, generator=torch.Generator().manual_seed(3))
        optimiser.step()
        ways[decay, cautious] = tried.detach()
    update = before - ways[0.0, False]
    decayed = torch.where(update * before > 0, before * (1 - 0.02 * 10.0), before) - update
    assert torch.allclose(ways[10.0, True], decayed, atol=1e-6)
    assert not torch.allclose(ways[10.0, True], ways[10.0, False], atol=1e-3)


def test_cautious_decay_needs_muon():
    with pytest.raises(ValueError, match="needs `optimiser: muon`"):
        LoopSettings(cautious_decay=True)
    assert LoopSettings().identity == LoopSettings(optimiser="adamw").identity
    assert "cautious_decay" not in LoopSettings().identity, "what was made before is not made again"
