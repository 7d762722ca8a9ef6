"""The mean of the last weights of a run, all alike, becomes the model (Kaddour 2022)."""

import pytest
import torch

from pipeline.training import schedule
from pipeline.training.loop import Loop
from pipeline.training.loop_settings import LoopSettings
from pipeline.training.planning.tracing import Step
from pipeline.training.stopping import Stopped
from tests.training import toy

SETTINGS = LoopSettings(average_last=3, average_over=0.5, evaluate_every=4)


def test_the_steps_are_even_and_the_last_is_one_of_them():
    assert schedule.averaged_steps(100, 4, 0.2) == [85, 90, 95, 100]
    assert schedule.averaged_steps(12, 3, 0.5) == [8, 10, 12]
    assert schedule.averaged_steps(5, 6, 0.2) == [5] and schedule.averaged_steps(3, 100, 1.0) == [1, 2, 3]


def test_the_model_is_the_mean_of_the_weights_after_these_steps(tmp_path, monkeypatch):
    seen: dict[int, list[torch.Tensor]] = {}
    update = Loop._update

    def noting(loop, share):
        update(loop, share)
        seen[loop.step + 1] = [parameter.detach().clone() for parameter in loop.model.parameters()]
        if loop.step + 1 < 8:
            assert all(torch.equal(*pair) for pair in zip(loop.average.values(), seen[loop.step + 1], strict=True))

    monkeypatch.setattr(Loop, "_update", noting)
    model, _ = toy.run(tmp_path, SETTINGS)
    for number, parameter in enumerate(model.parameters()):
        mean = torch.stack([seen[step][number] for step in (8, 10, 12)]).mean(0)
        torch.testing.assert_close(parameter.detach(), mean, rtol=1e-5, atol=1e-7)
        assert not torch.equal(parameter, seen[12][number])


def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path):
    whole, _ = toy.run(tmp_path / "whole", SETTINGS)
    model = toy.network()
    with pytest.raises(Stopped):
        calls: list[int] = []
        toy.run(tmp_path / "part", SETTINGS, model, should_stop=lambda: calls.append(1) or len(calls) > 32)
    resumed, result = toy.run(tmp_path / "part", SETTINGS, toy.network(seed=5))
    assert toy.same(whole, resumed) and len(result.log) == 12


def test_it_is_off_by_default_planned_for_and_not_with_another_mean():
    assert not {"average_last", "average_over"} & LoopSettings().identity.keys()
    assert Step.of(SETTINGS, 1, "fp32").average and not Step.of(LoopSettings(), 1, "fp32").average
    with pytest.raises(ValueError, match="two means of the weights"):
        LoopSettings(average_last=2, ema=0.9)
