"""Preference tuning: the loss is the paper's, and what fails silently elsewhere is reported here."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from model import export
from pipeline.errors import UserError
from pipeline.store.tables import write_table
from pipeline.tokens.tokenizer import load
from pipeline.training import machine
from pipeline.training.data.by_length import COMPILED_LENGTHS
from pipeline.training.data.pairs import REASONS, batch_of, encode_pairs
from pipeline.training.model_facts import ModelFacts
from pipeline.training.objectives import preference
from pipeline.training.objectives.dpo import dpo
from pipeline.training.training_settings import PreferenceSettings
from tests.making import context

SETTINGS = PreferenceSettings(epochs=6, batch_pairs=8, learning_rate=1e-3)


def make(store, base, preferences, settings=SETTINGS, log=lambda line: None):
    return preference.make(context(store, log=log), {"base": base, "preference_data": preferences}, settings)


def rows(**changes):
    row = {"prompt": [{"role": "user", "content": "hi"}], "chosen": "good", "rejected": "bad", **changes}
    return pl.DataFrame([row])


@pytest.fixture
def loaded(tokenizer):
    return load(tokenizer.local_directory())


@pytest.fixture
def network(base):
    return export.load(base.local_directory())


def test_the_first_loss_is_ln_2_and_then_falls(store, base, preferences):
    lines = []
    artifact = make(store, base, preferences, log=lines.append)
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert log["loss"][0] == pytest.approx(math.log(2), abs=1e-6)
    assert log["loss"][-1] < 0.6
    assert artifact.facts["validation_accuracy"] == 1.0
    facts = ModelFacts.of(artifact)
    assert facts.tokens == log["tokens"][-1] == facts.steps * facts.batch_tokens > 0
    of_version_5 = {name: of for name, of in artifact.facts.items() if name not in ("tokens", "batch_tokens")}
    older = replace(artifact, manifest={**artifact.manifest, "facts": of_version_5})
    assert (ModelFacts.of(older).tokens, ModelFacts.of(older).batch_tokens) == (facts.tokens, facts.batch_tokens)
    assert artifact.facts["pairs"] == 23 and artifact.facts["left_out"]["same_answer"] == 1
    assert artifact.facts["pairs_used"] == 23 and artifact.facts["validation_pairs"] == 8
    assert artifact.facts["validation_accuracy_low"] == pytest.approx(0.6756, abs=1e-4)  # Wilson: 8 of 8
    assert any("1 excluded because chosen and rejected are the same" in line for line in lines)
    assert {"accuracy", "margin", "chosen_reward", "rejected_reward"} <= set(log.columns)
    assert make(store, base, preferences).version == artifact.version


def test_the_loss_is_the_formula_of_the_paper(network, loaded):
    pairs = encode_pairs(pl.concat([rows(), rows(chosen="well, yes", rejected="n")]), loaded, 64)
    pairs.reference = np.array([[-20.0, -11.0], [-31.0, -9.0]], np.float32)
    batch = batch_of(pairs, np.array([0, 1]))
    loss, figures = dpo(network, batch, SETTINGS)
    expected = 0.0
    for pair, (ref_chosen, ref_rejected) in zip(pairs.pairs, pairs.reference.tolist()):
        both = []
        for ids in (pair.chosen, pair.rejected):  # one at a time, without padding
            with torch.no_grad():
                logs = network(torch.from_numpy(ids[None])).log_softmax(-1)[0]
            both.append(sum(float(logs[i - 1, ids[i]]) for i in range(pair.start, len(ids))))
        margin = 0.1 * ((both[0] - ref_chosen) - (both[1] - ref_rejected))
        expected += -math.log(1 / (1 + math.exp(-margin)))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert float(figures["accuracy"]) in (0.0, 1.0, 2.0)


def test_in_chunks_the_loss_and_its_gradients_are_the_same(network, loaded):
    pairs = encode_pairs(pl.concat([rows(), rows(chosen="well, yes", rejected="n")]), loaded, 64)
    pairs.reference = np.array([[-20.0, -11.0], [-31.0, -9.0]], np.float32)
    batch = batch_of(pairs, np.array([0, 1]))
    found = []
    for chunk in (0, 3, "auto"):
        network.zero_grad()
        loss, _ = dpo(network, batch, PreferenceSettings(loss_chunk=chunk))
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in network.parameters())])
    whole, *others = found
    for other in others:
        for one, two in zip(whole, other, strict=True):
            assert (one - two).abs().max() < 1e-5 * (1 + one.abs().max())


def test_by_length_and_smoothed(network, loaded):
    pairs = encode_pairs(rows(), loaded, 64)
    batch = batch_of(pairs, np.array([0]))
    sums = preference.log_probabilities(network, batch, SETTINGS)
    means = preference.log_probabilities(network, batch, PreferenceSettings(length_normalised=True))
    lengths = torch.tensor([len("good") + 1.0, len("bad") + 1.0])  # with <|im_end|>
    assert torch.allclose(sums, means * lengths)
    pairs.reference[:] = 0.0
    batch = batch_of(pairs, np.array([0]))
    smooth = PreferenceSettings(label_smoothing=0.1)
    margin = 0.1 * (sums[0] - sums[1]).item()
    expected = 0.9 * math.log1p(math.exp(-margin)) + 0.1 * math.log1p(math.exp(margin))
    assert dpo(network, batch, smooth)[0].item() == pytest.approx(expected, rel=1e-5)


def test_the_prompt_is_no_part_of_the_answer(loaded):
    talk = [
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "an earlier answer"},
        {"role": "user", "content": "b"},
    ]  # fmt: skip
    pairs = encode_pairs(rows(prompt=talk), loaded, 128)
    batch = batch_of(pairs, np.array([0]))
    for row, text in zip(batch["targets"], ("good", "bad")):
        assert loaded.decode(row[row != -100].numpy(), specials=True) == f"{text}<|im_end|>"


@pytest.mark.parametrize(("changes", "reason"), [
    ({"chosen": "same", "rejected": "same "}, "same_answer"),
    ({"chosen": "z" * 100 + "a", "rejected": "z" * 100 + "b"}, "same_tokens"),
])  # fmt: skip
def test_pairs_that_teach_nothing_are_counted(loaded, changes, reason):
    pairs = encode_pairs(rows(**changes), loaded, 64)
    assert pairs.pairs == [] and pairs.left_out[reason] == 1 and reason in REASONS


def test_long_prompts_lose_their_start_for_both_answers(loaded):
    pairs = encode_pairs(rows(prompt=[{"role": "user", "content": "x" * 200 + "end"}]), loaded, 64)
    (pair,) = pairs.pairs
    assert pairs.cut == 1 and len(pair.chosen) <= 64
    assert np.array_equal(pair.chosen[: pair.start], pair.rejected[: pair.start])
    assert loaded.decode(pair.chosen[: pair.start], specials=True).endswith("end<|im_end|>\n<|im_start|>assistant\n")


def test_no_usable_pair_is_reported(store, base):
    def build(draft):
        for split in ("train", "held_back"):
            write_table(rows(rejected="good").with_columns(id=pl.lit("1")), draft.path(f"{split}.parquet"))

    empty = store.make("preference_data", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    with pytest.raises(UserError, match="no pair to learn from \\(1 excluded because chosen and rejected are the same"):
        make(store, base, empty)


def test_the_end_is_measured_on_more_pairs_than_the_steps(loaded, network, monkeypatch):
    many = pl.concat([rows(prompt=[{"role": "user", "content": f"{n} " * (n % 9 + 1)}]) for n in range(30)])
    pairs = encode_pairs(many, loaded, 64)
    monkeypatch.setattr(preference, "HALF_WIDTH_WITHIN", 0.3)  # 7 pairs, see tests/test_intervals.py
    batches, within = preference.validation_batches(pairs, 4)
    assert within == 2 and sorted(np.concatenate(batches[:2])) == list(range(7))
    assert sorted(np.concatenate(batches)) == list(range(30))
    for batch in (*batches[: within - 1], *batches[within:-1]):
        assert len(batch) == 4


def test_only_held_back_pairs_that_the_interval_needs_are_measured(store, loaded, monkeypatch, preferences):
    assert len(preference.usable_pairs(preferences, loaded, 64)[1].pairs) == 8
    monkeypatch.setattr(preference, "HALF_WIDTH_AT_THE_END", 0.35)
    assert len(preference.usable_pairs(preferences, loaded, 64)[1].pairs) == 4


def test_a_part_of_a_pass_is_a_run_of_its_own_pairs(store, base, preferences):
    artifact = make(store, base, preferences, SETTINGS.model_copy(update={"epochs": 0.3}))
    kept = pl.read_parquet(artifact.file("reference/train-0.parquet"))
    assert artifact.facts["steps"] == 1 and artifact.facts["pairs_used"] == kept.height == 8
    assert pl.read_parquet(artifact.file("log.parquet"))["loss"].is_finite().all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which dynamo looks at itself
def test_a_compiled_network_is_compiled_once_for_each_of_few_lengths(store, base, monkeypatch):
    import torch._dynamo

    lengths = []  # of the rows in each graph that was compiled

    def backend(graph, inputs):
        lengths.append(inputs[0].shape[1] if inputs[0].dim() == 2 else 0)
        return graph.forward

    def build(draft):
        for split, numbers in (("train", range(24)), ("held_back", range(4))):
            table = pl.concat([rows(chosen="good " * (1 + n // 4), rejected="bad") for n in numbers])
            ids = pl.Series("id", [str(n) for n in numbers])
            write_table(table.with_columns(ids, source=pl.lit("made")), draft.path(f"{split}.parquet"))

    made = store.make("preference_data", code_version="1", settings={}, inputs={}, build=build, log=lambda line: None)
    monkeypatch.setattr(machine, "compiled", lambda network: torch.compile(network, dynamic=False, backend=backend))
    for module in ("by_length", "pairs"):
        monkeypatch.setattr(f"pipeline.training.data.{module}.ROUND_TO", 2)  # which gives six lengths
    torch._dynamo.reset()
    lines = []
    make(store, base, made, SETTINGS.model_copy(update={"compile": "on", "batch_pairs": 4}), lines.append)
    torch._dynamo.reset()
    counts = Counter(length for length in lengths if length)
    assert len(counts) == COMPILED_LENGTHS and len(set(counts.values())) == 1
    assert any("takes about a minute, 4 times" in line for line in lines)
