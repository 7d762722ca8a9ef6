"""SOAP is Adam in the basis of Shampoo, as its paper says (Vyas et al. 2024)."""

import torch

from pipeline.training.planning import memory
from pipeline.training.planning.tracing import Step
from pipeline.training.soap import SOAP, started, turned
from pipeline.training.training_settings import LoopSettings
from tests.training import toy

RATE, BETAS, DECAY = 0.01, (0.9, 0.95), 0.1


def gradients(shape, count):
    torch.manual_seed(1)
    by_column = torch.arange(1.0, shape[1] + 1, dtype=torch.float64)
    return [torch.randn(shape, dtype=torch.float64) * by_column for _ in range(count)]


def trained(weight, given, every):
    weight = torch.nn.Parameter(weight.clone())
    optimiser = SOAP([weight], RATE, BETAS, DECAY, every)
    for grad in given:
        weight.grad = grad
        optimiser.step()
    return weight.detach(), optimiser.state[weight]


def test_while_the_basis_stays_it_is_adam_on_turned_matrices():
    given = gradients((6, 4), 5)
    start = torch.randn(6, 4, dtype=torch.float64)
    _, left = torch.linalg.eigh(given[0] @ given[0].T)
    _, right = torch.linalg.eigh(given[0].T @ given[0])
    turned_weight = torch.nn.Parameter(left.T @ start @ right)
    adam = torch.optim.AdamW([turned_weight], lr=RATE, betas=BETAS, eps=1e-8, weight_decay=DECAY)
    for grad in given:
        turned_weight.grad = left.T @ grad @ right
        adam.step()
    found, _ = trained(start, given, every=100)
    torch.testing.assert_close(found, left @ turned_weight.detach() @ right.T)


def test_with_a_turning_basis_it_is_the_algorithm_of_its_paper_written_out():
    given = gradients((5, 7), 9)
    start = torch.randn(5, 7, dtype=torch.float64)
    weight, (first, second) = start.clone(), BETAS
    momentum, squares = torch.zeros(5, 7).double(), torch.zeros(5, 7).double()
    rows, columns = torch.zeros(5, 5).double(), torch.zeros(7, 7).double()
    for step, grad in enumerate(given, 1):
        if step == 1:
            left, right = torch.linalg.eigh(grad @ grad.T)[1], torch.linalg.eigh(grad.T @ grad)[1]
        inside = left.T @ grad @ right
        momentum = first * momentum + (1 - first) * grad
        squares = second * squares + (1 - second) * inside**2
        turned_momentum = left.T @ momentum @ right
        update = (turned_momentum / (1 - first**step)) / ((squares / (1 - second**step)).sqrt() + 1e-8)
        weight = weight - RATE * (left @ update @ right.T) - RATE * DECAY * weight
        rows = second * rows + (1 - second) * grad @ grad.T
        columns = second * columns + (1 - second) * grad.T @ grad
        if step % 3 == 0:
            left, right = torch.linalg.qr(rows @ left)[0], torch.linalg.qr(columns @ right)[0]
    found, state = trained(start, given, every=3)
    torch.testing.assert_close(found, weight)
    assert int(state["step"]) == 9


def test_the_basis_comes_to_the_eigenvectors_of_the_mean():
    torch.manual_seed(2)
    around, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    mean = (around * torch.tensor([32.0, 16, 8, 4, 2, 1]).double()) @ around.T
    basis = started(torch.randn(6, 6, dtype=torch.float64))["left"]
    for _ in range(60):
        basis = turned(mean, basis)
    inside = basis.T @ mean @ basis
    torch.testing.assert_close(inside, inside.diag().diag(), atol=1e-8, rtol=0)


def test_it_learns_a_toy_and_its_memory_is_planned(tmp_path):
    _, result = toy.run(tmp_path, LoopSettings(optimiser="soap", basis_every=3))
    assert result.log[-1]["loss"] < result.log[0]["loss"]
    needed = {name: memory.of_step(toy.SHAPE, Step(4, optimiser=name)).optimiser for name in ("adamw", "soap")}
    assert needed["soap"] > needed["adamw"]
