"""PPO: advantages and loss by the papers' formulas, and a run that learns and resumes in the midst of a rollout."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from model import export
from pipeline.errors import UserError
from pipeline.recipe import parse
from pipeline.store.store import Store
from pipeline.training.objectives.grpo import batch_of
from pipeline.training.objectives.ppo import PolicyWithValue, advantages_of, ppo, token_rewards
from pipeline.training.stopping import Stopped
from tests.training import toy
from tests.training.test_grpo import make, settings, tuned  # noqa: F401  the fixture


def ppo_settings(**changes):
    return settings(**{"method": "ppo", "passes": 2, "minibatches": 2, "learning_rate": 2e-3, **changes})


def test_advantages_are_the_sums_of_the_formula():
    draw = np.random.default_rng(0)
    earned, values = draw.normal(size=7), draw.normal(size=7)
    discount, decay = 0.9, 0.8
    following = np.append(values[1:], 0.0)
    surprise = earned + discount * following - values
    expected = [sum((discount * decay) ** (at - t) * surprise[at] for at in range(t, 7)) for t in range(7)]
    advantages, returns = advantages_of(earned, values, discount, decay)
    assert advantages == pytest.approx(expected) and returns == pytest.approx(advantages + values)
    # With lambda 1, a return is what is really earned from there on.
    _, returns = advantages_of(earned, values, 1.0, 1.0)
    assert returns == pytest.approx(np.cumsum(earned[::-1])[::-1])


def test_an_answer_earns_its_worth_at_its_end_and_pays_for_every_token():
    log_p, start = np.array([-1.0, -2.0, -0.5]), np.array([-1.5, -1.0, -0.5])
    assert token_rewards(3.0, log_p, start, 0.1) == pytest.approx([-0.05, 0.1, 3.0])
    assert token_rewards(3.0, log_p, None, 0.0) == pytest.approx([0, 0, 3])


def test_the_loss_is_the_formula_of_the_papers(base):
    network = PolicyWithValue(export.load(base.local_directory()))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.value.copy_(torch.randn(network.value.shape, generator=draw) / 6)
    rows = [(np.array([5, 9, 7, 30, 31]), 2), (np.array([8, 40, 41]), 1), (np.array([8, 40, 41]), 1)]
    batch = batch_of(rows, np.zeros(3), np.array([True, True, False]))
    shape = batch["tokens"].shape
    of = ppo_settings(beta=0.1, value_weight=0.3, clip_range=0.2, value_clip=0.1)
    log_p, values = (found.detach() for found in network(batch["tokens"], batch["targets"]))
    batch |= {
        "old": log_p + 0.3 * torch.randn(shape, generator=draw), "values": values + torch.randn(shape, generator=draw),
        "advantages": torch.randn(shape, generator=draw), "returns": torch.randn(shape, generator=draw),
        "reference": log_p - 0.2, "scale": torch.tensor(0.5), "counted": ("reward",), "figures": torch.tensor([2.0]),
    }  # fmt: skip

    def expected() -> torch.Tensor:
        total = torch.zeros(())
        for row, (ids, first) in enumerate(rows[:2]):
            logs = network.body(torch.from_numpy(ids[None])).log_softmax(-1)[0]
            hidden = network.body.hidden(torch.from_numpy(ids[None]))[0]
            for token in range(first, len(ids)):
                at = token - 1
                old, advantage, then, aim = (
                    batch[name][row, at] for name in ("old", "advantages", "values", "returns")
                )
                ratio = torch.exp(logs[at, ids[token]] - old)
                policy = -min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)
                value = hidden[at] @ network.value
                near = then + (value - then).clamp(-0.1, 0.1)
                total = total + policy + 0.3 * 0.5 * max((value - aim) ** 2, (near - aim) ** 2)
        return 0.5 * total

    parameters = list(network.parameters())
    wanted = torch.autograd.grad(expected(), parameters)
    loss, figures = ppo(network, batch, of)
    found = torch.autograd.grad(loss, parameters)
    assert loss.item() == pytest.approx(expected().item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
    assert figures["clipped"] > 0 and figures["kl"] > 0 and figures["reward"] == 2


def test_a_reward_rises_and_a_run_stopped_in_the_midst_of_a_rollout_ends_with_the_same_bits(
    store,
    tuned,  # noqa: F811
    instructions,
    tmp_path,
):
    of = ppo_settings(steps=32, batch_prompts=6, answers=8, beta=0.02)
    whole = make(store, tuned, instructions, of)
    facts = whole.facts
    assert facts["algorithm"] == "ppo" and facts["validation_reward"] > 1.5 * facts["start_reward"]
    log = pl.read_parquet(whole.file("log.parquet"))
    assert {"reward", "kl", "clipped", "value_loss", "truncated"} <= set(log.columns)
    assert log["kl"][0] == pytest.approx(0, abs=1e-6) and log["clipped"][0] == 0 and log["clipped"].max() > 0
    assert log["reward"][0] != log["reward"][4], "other answers after four steps"
    value = load_file(whole.file("value_head.safetensors"))["value"]
    assert value.abs().max() > 0
    network = export.load(whole.local_directory())
    assert "value" not in dict(network.named_parameters())
    other = Store(tmp_path / "other", "test")
    for stop_after in (12, 30):  # at steps that lie between those that belong together, too
        asked: list[int] = []
        with pytest.raises(Stopped):
            make(
                other,
                tuned,
                instructions,
                of,
                should_stop=lambda asked=asked, n=stop_after: bool(asked.append(1)) or len(asked) > n,
            )
    assert make(other, tuned, instructions, of).digest == whole.digest


def test_no_checkpoint_lies_between_steps_that_belong_together(tmp_path):
    kept: list[int] = []
    from pipeline.training.checkpoint import Checkpoints

    class Noted(Checkpoints):
        def save(self, step, *given):
            kept.append(step)
            return super().save(step, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.training.run_state.Checkpoints", Noted)
        settings_ = toy.LoopSettings(checkpoint_every=5, evaluate_every=3)
        _, result = toy.run(tmp_path, settings_, steps=12, together=4)
    assert set(kept) == {0, 4, 8, 12}
    validated = [row["step"] for row in result.log if row.get("validation_loss") is not None]
    assert validated == [4, 8, 12]


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        ("{rewards: [{kind: exact}], passes: 2}", "`passes` says nothing"),
        ("{rewards: [{kind: exact}], answers: 1}", "nothing to compare"),
        ("{rewards: [{kind: exact}], method: ppo, steps: 10}", "such as 12"),
        (
            "{rewards: [{kind: exact}], method: ppo, batch_prompts: 1, answers: 1, minibatches: 2, steps: 8}",
            "more `mini",
        ),
    ],
)
def test_settings_that_say_nothing_are_refused(block, sentence):
    with pytest.raises(UserError, match=sentence):
        parse(f"name: a\nsources: [{{name: a, kind: files, path: texts}}]\nreinforcement: {block}")


def test_grpo_is_recorded_as_before():
    assert not {"passes", "clip_range", "gae_lambda"} & settings().identity.keys()
    assert settings(method="ppo", steps=8, clip_range=0.1).identity["clip_range"] == 0.1
