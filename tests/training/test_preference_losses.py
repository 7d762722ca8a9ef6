"""The losses of preference tuning are the papers', as TRL computes them, and each of them learns."""

import json
import math

import numpy as np
import polars as pl
import pytest
import torch

from pipeline.conversations.shapes import PREFERENCE
from pipeline.errors import UserError
from pipeline.store.store import Store
from pipeline.store.tables import write_table
from pipeline.tokens.tokenizer import load
from pipeline.training.data.ratings import REASONS, encode_ratings, ratings_of_pairs
from pipeline.training.objectives import preference, preference_losses
from pipeline.training.stopping import Stopped
from pipeline.training.training_settings import PreferenceSettings, SftSettings
from tests.making import context
from tests.training import losses_beside_trl as beside

METHODS = ("dpo", "ipo", "kto", "simpo", "orpo")


def settings(method, **changes):
    common = {"epochs": 6, "batch_pairs": 8, "learning_rate": 1e-3, "sample_tokens": 2}
    return PreferenceSettings.model_validate({"method": method, **common, **changes})


def make(store, base, preferences, of, **changes):
    return preference.make(context(store, **changes), {"base": base, "preference_data": preferences}, of)


def close(found, expected):
    """To 1e-5 of the largest figure of a kind: losses, and gradients of one matrix."""
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert found["gradients"].keys() == expected["gradients"].keys()
    for name, figures in expected["gradients"].items():
        assert found["gradients"][name] == pytest.approx(figures, rel=1e-5, abs=1e-5 * figures[0]), name


@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradients_are_those_that_trl_gave(method):
    recorded = json.loads(beside.RECORD.read_text())
    close(beside.ours(method), recorded[method])


@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradients_are_those_of_trl_itself(method):
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    close(beside.ours(method), beside.theirs(method))


def test_the_losses_are_the_formulas_of_the_papers(monkeypatch):
    sums = torch.tensor([-12.0, -7.0, -20.0, -4.0])  # two chosen answers, then the rejected ones
    counts = torch.tensor([4.0, 2.0, 5.0, 1.0])
    batch = {
        "targets": torch.tensor([[1] * int(n) + [-100] * (5 - int(n)) for n in counts]),
        "reference": torch.tensor([[-13.0, -18.0], [-7.5, -6.0]]),
    }
    monkeypatch.setattr(
        preference_losses, "log_probabilities",
        lambda network, batch, settings: sums / counts if settings.length_normalised else sums,
    )  # fmt: skip
    ipo, _ = preference_losses.ipo(None, batch, settings("ipo", beta=0.5))
    assert ipo.item() == pytest.approx((1 - -2 - 1) ** 2 + (0.5 - 2 - 1) ** 2)
    simpo, _ = preference_losses.simpo(None, batch, settings("simpo", beta=2.0, gamma=0.5))
    margins = [2 * (-3 - -4) - 0.5, 2 * (-3.5 - -4) - 0.5]
    assert simpo.item() == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins))
    orpo, figures = preference_losses.orpo(None, batch, settings("orpo", beta=0.2))

    def odds(mean):
        return math.exp(mean) / (1 - math.exp(mean))

    expected = sum(
        -good + 0.2 * math.log1p(odds(bad) / odds(good)) for good, bad in ((-3.0, -4.0), (-3.5, -4.0))
    )  # -log sigmoid(log r) = log(1 + 1 / r)
    assert orpo.item() == pytest.approx(expected, rel=1e-5)
    assert figures["nll"].item() == pytest.approx(6.5) and figures["chosen_tokens"].item() == 6


def test_odds_of_certain_and_of_impossible_answers_have_gradients():
    for value in (-1e-9, -0.5, -math.log(2), -1.0, -80.0):
        x = torch.tensor(value, requires_grad=True)
        found = preference_losses.log_of_rest(x)
        found.backward()
        assert torch.isfinite(found) and torch.isfinite(x.grad)
        if value < -1e-6:
            assert found.item() == pytest.approx(math.log(-math.expm1(value)), rel=1e-5)


@pytest.mark.parametrize("method", METHODS[1:])
def test_every_method_learns_what_is_preferred_and_says_how(store, base, preferences, method):
    artifact = make(store, base, preferences, settings(method))
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert log["loss"][-1] < log["loss"][0] and log["margin"][-1] > log["margin"][0]
    assert artifact.facts["validation_accuracy"] == 1.0 and artifact.facts["loss"] == method
    assert {"accuracy", "margin", "chosen_reward", "rejected_reward"} <= set(log.columns)
    lengths = {"answer_tokens", "kl"} if method == "kto" else {"chosen_tokens", "rejected_tokens"}
    assert lengths <= set(log.columns)
    kept = [name for name in artifact.manifest["files"] if name.startswith("reference/")]
    assert bool(kept) == (method not in preference_losses.REFERENCE_FREE)


def test_a_stopped_kto_run_ends_with_the_same_bytes(store, base, preferences, tmp_path):
    whole = make(Store(tmp_path / "whole", "test"), base, preferences, settings("kto"))
    calls = iter([False] * 25 + [True] * 100)
    with pytest.raises(Stopped):
        make(store, base, preferences, settings("kto"), should_stop=lambda: next(calls))
    assert make(store, base, preferences, settings("kto")).digest == whole.digest


def test_the_kl_of_a_step_does_not_depend_on_its_micro_batches(base, preferences, tmp_path):
    logs = []
    for sequences in (16, 4):
        own = Store(tmp_path / str(sequences), "test")
        artifact = make(own, base, preferences, settings("kto", sequences=sequences, epochs=2))
        logs.append(pl.read_parquet(artifact.file("log.parquet")))
    assert logs[0]["kl"].max() > 0
    for name in ("kl", "loss", "margin", "validation_loss"):
        assert logs[0][name].to_list() == pytest.approx(logs[1][name].to_list(), abs=1e-4), name


# -- rated answers -----------------------------------------------------------------------------------------------------


def rated_only(store, rows):
    def build(draft):
        for split in ("train", "held_back"):
            write_table(pl.DataFrame(schema=PREFERENCE), draft.path(f"{split}.parquet"))
            write_table(pl.DataFrame(rows), draft.path(f"rated_{split}.parquet"))

    return store.make("preference_data", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)


def thumbs(number=12, desirable=lambda n: n % 2 == 0):
    return [
        {"id": f"{n:02d}", "prompt": [{"role": "user", "content": f"say {n}"}], "desirable": desirable(n),
         "answer": "good" if desirable(n) else "bad", "source": "made", "lang": "en"}
        for n in range(number)
    ]  # fmt: skip


def test_kto_learns_from_rated_answers_alone(store, base):
    artifact = make(store, base, rated_only(store, thumbs()), settings("kto"))
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert artifact.facts["answers"] == 12 and artifact.facts["desirable"] == 6
    assert log["chosen_reward"][-1] > 0 > log["rejected_reward"][-1]


def test_other_methods_say_that_rated_answers_are_for_kto(store, base):
    with pytest.raises(UserError, match=r"no pair to learn from .* or use method: kto, which learns from rated"):
        make(store, base, rated_only(store, thumbs()), settings("dpo"))


def test_kto_needs_good_and_bad_answers(store, base):
    with pytest.raises(UserError, match="has no bad answer to learn from"):
        make(store, base, rated_only(store, thumbs(desirable=lambda n: True)), settings("kto"))


def test_a_rated_answer_is_scored_beside_one_of_another_prompt(tokenizer):
    loaded = load(tokenizer.local_directory())
    rows = pl.DataFrame(thumbs(5)).with_columns(answer=pl.format("answer {}", "id"))
    ratings = encode_ratings(rows, loaded, 64, seed=3)
    seen = set()
    for number, pair in enumerate(ratings.pairs):
        own, other = (loaded.decode(ids[pair.start :], specials=True) for ids in (pair.chosen, pair.rejected))
        assert own == f"answer {number:02d}<|im_end|>" != other
        assert np.array_equal(pair.chosen[: pair.start], pair.rejected[: pair.start])
        seen.add(other)
    assert len(seen) == 5, "every answer is the other one of one prompt"


def test_long_rated_answers_lose_their_end_and_long_prompts_their_start(tokenizer):
    loaded = load(tokenizer.local_directory())
    rows = thumbs(3)
    rows[0]["answer"], rows[1]["prompt"] = "x" * 200, [{"role": "user", "content": "y" * 200 + "end"}]
    ratings = encode_ratings(pl.DataFrame(rows), loaded, 64, seed=0)
    assert ratings.cut == 2 and not any(ratings.left_out.values()) and set(ratings.left_out) == set(REASONS)
    assert all(len(ids) <= 64 for pair in ratings.pairs for ids in (pair.chosen, pair.rejected))
    head = loaded.decode(ratings.pairs[1].chosen[: ratings.pairs[1].start], specials=True)
    assert head.endswith("end<|im_end|>\n<|im_start|>assistant\n")


def test_a_pair_is_a_good_and_a_bad_answer():
    pairs = pl.DataFrame([{"id": "a", "prompt": [{"role": "user", "content": "q"}], "chosen": "yes", "rejected": "no"}])
    assert ratings_of_pairs(pairs).select("answer", "desirable").rows() == [("yes", True), ("no", False)]


# -- settings ----------------------------------------------------------------------------------------------------------


def test_the_default_is_recorded_as_before_and_another_method_by_its_name():
    before = PreferenceSettings().identity
    assert before["method"] == "full" and not {"loss", "weights", "gamma", "desirable_weight"} & before.keys()
    assert settings("kto").identity["loss"] == "kto"
    assert settings("simpo").beta == 2.0 and settings("simpo", beta=3.0).beta == 3.0 and settings("ipo").beta == 0.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "ipo", "gamma": 0.5}, "`gamma` says nothing with `method: ipo`, but with simpo"),
        ({"desirable_weight": 2}, "`desirable_weight` says nothing with `method: dpo`"),
        ({"method": "kto", "label_smoothing": 0.1}, "`label_smoothing` says nothing with `method: kto`"),
    ],
)
def test_a_key_of_another_method_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        PreferenceSettings.model_validate(given)


def test_the_old_form_of_weights_is_understood_and_told(capsys):
    from pipeline.settings import say_once

    say_once.cache_clear()
    assert PreferenceSettings.model_validate({"method": "lora"}).weights == "lora"
    assert SftSettings.model_validate({"method": "full"}).identity == SftSettings().identity
    said = capsys.readouterr().err
    assert "`preference.method: lora` is the old form of `preference.weights: lora`" in said
    with pytest.raises(ValueError, match="`method: lora` is the old form of `weights`: leave it out"):
        SftSettings.model_validate({"method": "lora", "weights": "full"})
