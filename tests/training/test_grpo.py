"""GRPO: advantages and loss by the paper's formulas, nothing learned in silence, and a run that learns and resumes."""

import json
import math

import numpy as np
import polars as pl
import pytest
import torch

from model import export
from model.config import IGNORED
from pipeline.errors import UserError
from pipeline.recipe import parse
from pipeline.store.store import Store
from pipeline.tokens.tokenizer import load
from pipeline.training.objectives import fine_tuning, grpo_training, reinforcement, reward, reward_model, rollouts
from pipeline.training.objectives.grpo import batch_of, compared, grpo
from pipeline.training.reinforcement_settings import ReinforcementSettings, RewardModelSettings
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import SftSettings
from tests.making import context


def settings(**changes):
    common = {
        "rewards": [{"kind": "length", "most": 1}], "steps": 4, "batch_prompts": 4, "answers": 4, "max_new": 14,
        "learning_rate": 1e-3, "sample_tokens": 2,
    }  # fmt: skip
    return ReinforcementSettings.model_validate({**common, **changes})


@pytest.fixture
def tuned(store, base, instructions):
    """A network that has learned to answer with one to three times `yes`."""
    chosen = SftSettings(epochs=24, batch_tokens=256, learning_rate=1e-2, sample_tokens=2)
    return fine_tuning.make(context(store), {"base": base, "instruction_data": instructions}, chosen)


def make(store, tuned, instructions, of, log=lambda line: None, **given):
    inputs = {"base": tuned, "instruction_data": instructions}
    return reinforcement.make(context(store, log=log, **given), inputs, of)


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_compared_with_the_others_to_its_prompt():
    rewards = np.array([1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    found = compared(rewards, np.ones(8, bool), 4, leave_out=True)
    deviation = math.sqrt(1 / 3)  # of the sample, as TRL takes it
    assert found.advantages[:4] == pytest.approx([0.5 / (deviation + 1e-4) * sign for sign in (1, -1, -1, 1)])
    assert found.advantages[4:].tolist() == [0, 0, 0, 0] and found.flat.tolist() == [False, True]


def test_answers_that_were_cut_off_are_in_no_mean_and_in_no_loss():
    rewards, ended = np.array([1.0, 0.0, 0.0, 0.0]), np.array([True, True, False, False])
    found = compared(rewards, ended, 4, leave_out=True)
    assert found.used.tolist() == [True, True, False, False]
    assert found.advantages == pytest.approx([0.5 / (math.sqrt(0.5) + 1e-4), -0.5 / (math.sqrt(0.5) + 1e-4), 0, 0])
    worthless = compared(rewards, ended, 4, leave_out=False)
    assert worthless.used.all() and worthless.advantages[2] == worthless.advantages[1] < 0
    alone = compared(rewards, np.array([True, False, False, False]), 4, leave_out=True)
    assert alone.flat.tolist() == [True] and not alone.advantages.any()


def test_the_loss_is_the_formula_of_the_paper(base):
    network, start = (export.load(base.local_directory()) for _ in range(2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.sin(torch.arange(parameter.numel()).view_as(parameter)) * 0.05)
    rows = [(np.array([5, 9, 7, 30, 31]), 2), (np.array([8, 40, 41]), 1), (np.array([8, 40, 41]), 1)]
    advantages, used = np.array([1.5, -0.5, 3.0]), np.array([True, True, False])
    batch = batch_of(rows, advantages, used)
    expected = torch.zeros(())
    for (ids, first), advantage, of in zip(rows, advantages, used):
        if not of:
            continue
        both = []
        for model in (network, start):
            logs = model(torch.from_numpy(ids[None])).log_softmax(-1)[0]
            both.append(torch.stack([logs[i - 1, ids[i]] for i in range(first, len(ids))]))
        now, then = both[0], both[1].detach()
        kl = torch.exp(then - now) - (then - now) - 1
        expected = expected + (0.3 * kl - torch.exp(now - now.detach()) * advantage).mean()
    with torch.no_grad():
        batch["reference"] = start(batch["tokens"], batch["targets"], by_token=True)
    batch |= {"counted": ("reward",), "figures": torch.tensor([2.0])}
    network.zero_grad()
    expected.backward()
    gradients = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    loss, figures = grpo(network, batch, 0.3, None)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for found, right in zip((p.grad for p in network.parameters()), gradients, strict=True):
        assert torch.allclose(found, right, rtol=1e-4, atol=1e-6)
    assert figures["reward"].item() == 2.0 and figures["kl"].item() > 0 and figures["answer_tokens"].item() == 5
    assert (batch["targets"][2] == IGNORED).all()


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_reward_that_can_be_verified_rises_on_held_back_prompts(store, tuned, instructions):
    lines = []
    artifact = make(store, tuned, instructions, settings(steps=30, batch_prompts=6, answers=8), lines.append)
    facts = artifact.facts
    assert facts["validation_reward"] > 2 * facts["start_reward"] and facts["validation_reward"] > 0.7
    assert facts["validation_reward_length_low"] < facts["validation_reward_length"] <= 1
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert {"reward", "reward_length", "kl", "truncated", "without_variance", "answer_tokens"} <= set(log.columns)
    assert log["kl"][0] == pytest.approx(0, abs=1e-6) and log["kl"][-1] > 0
    assert facts["truncated"] == pytest.approx(log["truncated"].mean(), abs=1e-6)
    assert any("were worth the same as all others to their prompt" in line for line in lines)


def test_answers_that_were_cut_off_are_told_and_teach_nothing(store, tuned, instructions):
    lines = []
    artifact = make(store, tuned, instructions, settings(max_new=2, beta=0.0, steps=2), lines.append)
    assert artifact.facts["truncated"] == 1.0 and artifact.facts["without_variance"] == 1.0
    assert any("16 did not end within 2 tokens (left out; raise reinforcement.max_new)" in line for line in lines)
    before, after = (export.load(model.local_directory()).state_dict() for model in (tuned, artifact))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_that_stopped_within_a_step_ends_with_the_same_bytes(store, tuned, instructions, tmp_path):
    chosen = settings(sequences=4)
    whole = make(Store(tmp_path / "whole", "test"), tuned, instructions, chosen)
    asked = []

    def stop():  # after the answers of the third step, between its micro-batches
        asked.append(1)
        return len(asked) > 13

    with pytest.raises(Stopped):
        make(store, tuned, instructions, chosen, should_stop=stop)
    assert make(store, tuned, instructions, chosen).digest == whole.digest


def test_a_step_asks_the_same_whatever_is_computed_together(tuned, instructions, tmp_path):
    logs = [
        pl.read_parquet(
            make(Store(tmp_path / str(rows), "test"), tuned, instructions, settings(sequences=rows)).file("log.parquet")
        )
        for rows in (2, 16)
    ]
    for name in ("loss", "reward", "kl", "truncated", "grad_norm"):
        assert logs[0][name].to_list() == pytest.approx(logs[1][name].to_list(), abs=1e-3), name


def test_the_recipe_may_name_the_sets_to_ask_and_the_room_follows_from_the_data(store, tuned, instructions):
    with pytest.raises(UserError, match=r"`reinforcement.prompts` names `other`, but .* use made\."):
        make(store, tuned, instructions, settings(prompts=["other"]))
    with pytest.raises(UserError, match="No prompt of instruction_data leaves room for an answer of 60 tokens"):
        make(store, tuned, instructions, settings(max_new=60))
    artifact = make(store, tuned, instructions, settings(prompts=["made"], max_new=0, steps=1))
    assert artifact.facts["max_new"] == 2 * len("yes yes yes") and artifact.facts["prompts"] == 40


def test_low_rank_additions_are_trained_by_rewards_and_kept(store, tuned, instructions):
    artifact = make(store, tuned, instructions, settings(weights="lora", lora_rank=2, steps=2, learning_rate=1e-2))
    about = json.loads(artifact.file("adapter/adapter_config.json").read_text())
    assert about["r"] == 2 and artifact.facts["weights"] == "lora"


# -- the reward model --------------------------------------------------------------------------------------------------


@pytest.fixture
def judged(store, tuned, preferences):
    chosen = RewardModelSettings(epochs=4, batch_pairs=8, learning_rate=3e-3)
    return reward_model.make(context(store), {"base": tuned, "preference_data": preferences}, chosen)


def test_a_reward_model_learns_which_answer_is_better(judged, tokenizer):
    facts = judged.facts
    assert facts["validation_accuracy"] == 1.0 and facts["validation_accuracy_low"] == pytest.approx(0.6756, abs=1e-4)
    log = pl.read_parquet(judged.file("log.parquet"))
    assert log["loss"][-1] < 0.3 < log["loss"][0] and log["margin"][-1] > 1
    score = reward.judge(judged, load(tokenizer.local_directory()), "cpu")
    talk = [{"role": "user", "content": "say 5"}]
    good, bad, again = score([[*talk, {"role": "assistant", "content": text}] for text in ("good", "bad", "good")])
    assert good > bad and good == pytest.approx(again)


def test_a_score_depends_on_the_conversation_alone(judged, tokenizer):
    score = reward.judge(judged, load(tokenizer.local_directory()), "cpu")
    talks = [[{"role": "user", "content": "q" * n}, {"role": "assistant", "content": "good " * n}] for n in range(1, 9)]
    together = score(talks)
    assert together == pytest.approx([float(score([talk])[0]) for talk in talks], rel=1e-4)


def test_a_reward_model_judges_answers_in_training(store, tuned, instructions, judged):
    inputs = {"base": tuned, "instruction_data": instructions, "reward_model": judged}
    chosen = settings(rewards=[{"kind": "model", "name": "taste", "weight": 0.5}, {"kind": "exact"}], steps=2)
    artifact = reinforcement.make(context(store), inputs, chosen)
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert {"reward_taste", "reward_exact"} <= set(log.columns) and "reward_model" in artifact.manifest["inputs"]
    both = 0.5 * log["reward_taste"] + log["reward_exact"]
    ended = log["truncated"] == 0
    assert both.filter(ended).to_list() == pytest.approx(log["reward"].filter(ended).to_list(), abs=1e-5)


def test_seeds_of_answers_differ_between_steps():
    seeds = {rollouts.rollout_seed(seed, step) for seed in range(3) for step in range(100)}
    assert len(seeds) == 300 and all(0 <= seed < 2**62 for seed in seeds)
    assert grpo_training.ASSET == reinforcement.ASSET


def test_the_reward_model_is_planned_with_the_others(tmp_path):
    from pipeline.training.planning.tuning_plan import line, plan_tuning

    recipe = parse(
        "name: r\nsources: [{name: a, kind: files, path: '*.txt', lang: en, license: own}]\n"
        "model: {layers: 2, width: 64, heads: 4, context: 64, vocab_size: 300}\n"
        "reward_model: {}\nreinforcement: {rewards: [{kind: exact}]}"
    )
    said = [line(plan_tuning(recipe.model, block)) for block in (recipe.reward_model, recipe.reinforcement)]
    assert said[0].startswith("reward_model (full, ") and "pairs" in said[0]
    assert said[1].startswith("reinforcement (full, ") and "answers" in said[1]
