"""Muon is torch's own, in the number format that suits the device; NorMuon and Polar Express are their papers'."""

import numpy as np
import pytest
import torch

from pipeline.training import muon
from pipeline.training.muon import NEWTON_SCHULZ, POLAR_EXPRESS, Muon, orthogonal
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


def best_quintic(low, high):
    """The odd polynomial of degree 5 whose largest distance from 1 on [low, high] is least, by Remez' exchange."""
    second, third, before = (3 * low + high) / 4, (low + 3 * high) / 4, np.inf
    while True:
        places = np.array([low, second, third, high])
        rows = np.column_stack([places, places**3, places**5, [1, -1, 1, -1]])
        a, b, c, error = np.linalg.solve(rows, np.ones(4))
        if abs(before - error) < 1e-15:
            return a, b, c
        before = error
        second, third = np.sqrt((-3 * b + np.array([-1, 1]) * np.sqrt(9 * b * b - 20 * a * c)) / (10 * c))


def test_polar_express_has_the_best_polynomials_for_singular_values_from_a_thousandth_on():
    low, high, cushion = 1e-3, 1.0, 0.02407327424182761  # Amsel et al. 2025, section 3.4: never for less than this
    for expected in POLAR_EXPRESS.rounds:
        a, b, c = best_quintic(max(low, cushion * high), high)
        ends = [a * x + b * x**3 + c * x**5 for x in (low, high)]
        a, b, c = (2 / sum(ends) * value for value in (a, b, c))  # as far below 1 at one end as above it at the other
        assert (a, b, c) == pytest.approx(expected, rel=1e-6)
        low = a * low + b * low**3 + c * low**5
        high = 2 - low


def test_each_round_multiplies_as_its_polynomial_says():
    torch.manual_seed(4)
    for polynomials in (POLAR_EXPRESS, NEWTON_SCHULZ):
        for shape in SHAPES:
            matrix = torch.randn(shape, dtype=torch.float64)
            u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
            s = s / (s.norm() * polynomials.room)
            for number, (a, b, c) in enumerate(polynomials.rounds, 1):
                s = s / (polynomials.room if number < len(polynomials.rounds) else 1.0)
                s = a * s + b * s**3 + c * s**5
            torch.testing.assert_close(orthogonal(matrix[None], polynomials)[0], u @ s.diag() @ vt)


def test_polar_express_comes_closer_to_orthogonal_than_newton_schulz():
    torch.manual_seed(5)
    u, _ = torch.linalg.qr(torch.randn(32, 32, dtype=torch.float64))
    matrices = (u * torch.logspace(0, -2, 32, dtype=torch.float64)) @ u.T
    errors = [
        float((torch.linalg.svdvals(orthogonal(matrices[None], one)[0]) - 1).abs().mean())
        for one in (POLAR_EXPRESS, NEWTON_SCHULZ)
    ]
    assert errors[0] < 0.5 * errors[1]


def test_normuon_is_the_algorithm_of_its_paper_written_out():
    torch.manual_seed(6)
    rate, decay, beta = 0.02, 0.1, 0.9
    for shape in SHAPES:
        weight = torch.nn.Parameter(torch.randn(shape, dtype=torch.float64))
        optimiser = Muon([weight], lr=rate, weight_decay=decay, momentum=beta)
        optimiser.by_rows, optimiser.multiplies_in = True, torch.float64
        plain, momentum, moments = weight.detach().clone(), torch.zeros(shape).double(), torch.zeros(shape[0]).double()
        for _ in range(4):
            weight.grad = torch.randn(shape, dtype=torch.float64)
            momentum = beta * momentum + (1 - beta) * weight.grad
            nesterov = beta * momentum + (1 - beta) * weight.grad
            update = orthogonal(nesterov[None])[0]
            moments = 0.95 * moments + 0.05 * (update * update).mean(dim=1)
            update = update / (moments.sqrt()[:, None] + 1e-8)
            step = 0.2 * rate * (shape[0] * shape[1]) ** 0.5 / (update * update).sum().sqrt()
            plain = plain - rate * decay * plain - step * update
            optimiser.step()
            torch.testing.assert_close(weight.detach(), plain, rtol=1e-10, atol=1e-12)
        assert set(optimiser.state[weight]) == {"momentum_buffer", "row_squares"}


def test_an_overflow_leaves_the_rows_sizes_as_they_are():
    torch.manual_seed(7)
    weight = torch.nn.Parameter(torch.randn(8, 16))
    optimiser = Muon([weight], **SETTINGS)
    optimiser.by_rows = True
    weight.grad = torch.randn(8, 16)
    optimiser.step()
    before, squares = weight.detach().clone(), optimiser.state[weight]["row_squares"].clone()
    optimiser.found_inf, weight.grad = torch.ones(()), torch.full((8, 16), torch.inf)
    optimiser.step()
    assert torch.equal(weight, before) and torch.equal(optimiser.state[weight]["row_squares"], squares)


def test_what_goes_on_from_its_saved_state_ends_with_the_same_bits():
    def stepped(network, optimiser, steps):
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step(0.5)

    for asked in (
        {"optimiser": "normuon", "orthogonalised_by": "polar_express"},
        {"optimiser": "soap", "basis_every": 2},
    ):
        settings = LoopSettings.model_validate(asked)
        torch.manual_seed(8)
        whole = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.Linear(12, 4))
        stopped = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.Linear(12, 4))
        stopped.load_state_dict(whole.state_dict())
        stepped(whole, Optimiser(whole, settings, 1e-2), range(5))
        before = Optimiser(stopped, settings, 1e-2)
        stepped(stopped, before, range(3))
        after = Optimiser(stopped, settings, 1e-2)
        after.load({name: tensor.clone() for name, tensor in before.state().items()})
        stepped(stopped, after, range(3, 5))
        assert all(torch.equal(*pair) for pair in zip(whole.parameters(), stopped.parameters(), strict=True)), asked
        assert not LoopSettings().identity.keys() & asked.keys() - {"optimiser"}
