"""Pretraining end to end on made shards: the same bits each time, and bits per byte that are what they say."""

import json
import math

import numpy as np
import polars as pl
import pytest
import torch

from model import export
from model.config import ModelConfig
from pipeline.errors import UserError
from pipeline.store.store import Store
from pipeline.tokens.tokenizer import load
from pipeline.training import kept_weights
from pipeline.training.objectives import masking, pretraining
from pipeline.training.planning import plan
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.stopping import Stopped
from pipeline.training.validation import Validation, documents_of, select
from tests.making import context

SHAPE = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=64)
SETTINGS = PretrainingSettings(
    tokens=20_000,
    batch_tokens=512,
    sequences=4,
    learning_rate=5e-3,
    precision="fp32",
    sample_tokens=8,
    validation_tokens=600,
)


def make(store, shards, tokenizer, settings=SETTINGS, shape=SHAPE, **given):
    inputs = {"token_shards": shards, "tokenizer": tokenizer}
    return pretraining.make(context(store, **given), inputs, plan.Pretraining(shape, settings))


def test_it_learns_and_its_directory_is_enough(store, shards, tokenizer):
    reports = []
    artifact = make(store, shards, tokenizer, progress=reports.append)
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert log.height == 40 and log["loss"][-1] < 0.7 * log["loss"][0]
    assert log["tokens"][-1] == artifact.facts["tokens"] == 40 * 512
    assert "seconds" not in log.columns and not artifact.directory.joinpath("checkpoints").exists()
    assert (
        artifact.facts["bits_per_byte"] < 8 and {"bits_per_byte/tales", "bits_per_byte/code"} <= artifact.facts.keys()
    )
    samples = artifact.file("samples.txt").read_text()
    assert "오늘 ⏵" in samples
    directory = artifact.local_directory()
    assert export.load(directory).config.vocab_size == load(directory).vocab_size == 262
    ends = json.loads(artifact.file("config.json").read_text())
    assert ends["eos_token_id"] == load(directory).ids["<eos>"] != ends["pad_token_id"]
    assert any("bits_per_byte" in figures for figures in reports) and any(
        "tokens_per_second" in figures for figures in reports
    )
    assert artifact.manifest["seconds"]["waiting_for_data"] < 0.5


def test_two_empty_stores_give_the_same_bytes(tmp_path, store, shards, tokenizer):
    first = make(store, shards, tokenizer)
    second = make(Store(tmp_path / "other", "test"), shards, tokenizer)
    assert second.made and first.digest == second.digest
    assert make(store, shards, tokenizer, seed=2).digest != first.digest


def test_stopped_in_the_midst_it_ends_with_the_same_bytes(tmp_path, store, shards, tokenizer):
    whole = make(store, shards, tokenizer)
    other = Store(tmp_path / "other", "test")
    for stop_after in (5, 40, 70):
        asked = []
        with pytest.raises(Stopped):
            make(
                other,
                shards,
                tokenizer,
                should_stop=lambda asked=asked, n=stop_after: asked.append(1) or len(asked) > n,
            )
    assert make(other, shards, tokenizer).digest == whole.digest


def test_weights_before_the_end_are_kept_and_change_nothing_else(tmp_path, store, shards, tokenizer):
    plain = make(store, shards, tokenizer)
    asked = SETTINGS.model_copy(update={"kept_weights": 3})
    other = Store(tmp_path / "other", "test")
    with pytest.raises(Stopped):  # a resumed run keeps the same ones
        calls = []
        make(other, shards, tokenizer, asked, should_stop=lambda: calls.append(1) or len(calls) > 50)
    kept = make(other, shards, tokenizer, asked)
    assert kept.file("model.safetensors").read_bytes() == plain.file("model.safetensors").read_bytes()
    found = kept_weights.kept(kept.local_directory())
    assert [step for step, _ in found] == [10, 20, 30] and kept_weights.kept(plain.local_directory()) == []
    assert make(store, shards, tokenizer, asked).digest == kept.digest != plain.digest
    network = export.load(kept.local_directory())
    last = network.output_weight.detach().clone()
    distances = []
    for _, path in found:
        kept_weights.load_into(network, path)
        distances.append(float((network.output_weight - last).norm()))
    assert distances[0] > distances[1] > distances[2] > 0
    assert "kept_weights" not in SETTINGS.identity and asked.identity["kept_weights"] == 3


def test_weights_of_another_shape_are_refused(tmp_path):
    from model.transformer import Transformer

    one = Transformer(SHAPE.model_copy(update={"vocab_size": 300}))
    kept_weights.write(dict(one.named_parameters()), tmp_path, 7)
    ((step, path),) = kept_weights.kept(tmp_path)
    assert step == 7
    with pytest.raises(ValueError, match="another shape"):
        kept_weights.load_into(Transformer(SHAPE.model_copy(update={"vocab_size": 300, "layers": 1})), path)


def test_bits_per_byte_is_the_code_length_of_the_text(store, shards, tokenizer):
    artifact = make(store, shards, tokenizer)
    network, loaded = export.load(artifact.local_directory()), load(tokenizer.local_directory())
    documents = documents_of(shards, loaded.document_start)
    # The tokenizer gives a token a byte, and what stands before a document is no part of its text.
    assert (documents["tokens"].list.len() == documents["bytes"] + 1).all()
    assert (documents["tokens"].list.first() == loaded.document_start).all()
    measured = Validation(documents, 64, 4, SETTINGS.validation_tokens)
    with torch.no_grad():
        sums: dict[str, float] = {}
        for index in range(measured.total_batches):
            for name, value in measured.measure(network, index).items():
                sums[name] = sums.get(name, 0.0) + float(value)
    assert sum(sums[name] for name in sums if name.startswith("targets/")) == documents[
        "tokens"
    ].list.len().sum() - len(documents)
    nats = sum(sums[name] for name in sums if name.startswith("nats/"))
    assert artifact.facts["bits_per_byte"] == pytest.approx(nats / math.log(2) / documents["bytes"].sum(), rel=1e-5)


def test_a_document_is_measured_as_if_it_stood_alone():
    torch.manual_seed(0)
    from model.transformer import Transformer

    network = Transformer(SHAPE.model_copy(update={"vocab_size": 300}))
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 300, length).tolist() for length in (20, 30, 14)]  # one row of 64 in all
    frame = pl.DataFrame({"doc_id": ["a", "b", "c"], "source": "s", "tokens": lists, "bytes": [60, 90, 40]})
    measured = Validation(frame, 64, 4, 0)
    with torch.no_grad():
        found = measured.measure(network, 0)
        alone = sum(
            float(network(torch.tensor([tokens[:-1]]), torch.tensor([tokens[1:]]))[0]) for tokens in lists
        )  # fmt: skip
    assert found["nats/s"] == pytest.approx(alone, rel=1e-5) and found["targets/s"] == 61
    assert measured.summary({**found})["bits_per_byte"] == pytest.approx(alone / math.log(2) / 190, rel=1e-5)


def test_what_is_measured_on_the_way_is_the_same_share_of_every_source():
    frame = pl.DataFrame({
        "doc_id": [f"{n:03}" for n in range(120)], "source": ["a"] * 100 + ["b"] * 20,
        "tokens": [[1] * 10] * 120, "bytes": [10] * 120,
    })  # fmt: skip
    early = select(frame, 300).filter("early")
    assert early.group_by("source").len().sort("source")["len"].to_list() == [25, 5]
    assert select(frame, 0)["early"].all()


def test_networks_that_see_both_ways_guess_hidden_tokens(store, shards, tokenizer):
    shape = SHAPE.model_copy(update={"causal": False})
    artifact = make(store, shards, tokenizer, shape=shape)
    log = pl.read_parquet(artifact.file("log.parquet"))
    assert log["loss"][-1] < log["loss"][0] and "bits_per_byte" not in artifact.facts
    mask = masking.masker(shape.model_copy(update={"vocab_size": 262}), SETTINGS, 1, mask_id=1)
    tokens = torch.randint(6, 262, (64, 64))
    shown, targets = mask(tokens, 3)
    chosen = targets != -100
    assert torch.equal(targets[chosen], tokens[chosen]) and torch.equal(shown[~chosen], tokens[~chosen])
    assert 0.13 < chosen.float().mean() < 0.17
    assert 0.75 < (shown[chosen] == 1).float().mean() < 0.85
    assert torch.equal(mask(tokens, 3)[0], shown) and not torch.equal(mask(tokens, 4)[0], shown)


def test_the_plan_is_an_artifact_and_says_what_training_does(store, shards, tokenizer):
    lines = []
    planned = plan.make(
        context(store, log=lines.append),
        {"token_shards": shards, "tokenizer": tokenizer},
        plan.Pretraining(SHAPE, SETTINGS),
    )
    artifact = make(store, shards, tokenizer)
    for name in ("parameters", "tokens", "steps", "batch_tokens"):
        assert planned.facts[name] == artifact.facts[name]
    assert json.loads(planned.file("plan.json").read_text())["tokens_available"] == plan.tokens_in(shards)
    assert any("pass" in line for line in lines)


def test_too_little_text_and_too_small_a_vocabulary_are_reported(store, shards, tokenizer):
    with pytest.raises(UserError, match="fewer than one sequence of 100000"):
        make(store, shards, tokenizer, shape=SHAPE.model_copy(update={"context": 100_000}))
    with pytest.raises(UserError, match=r"model\.vocab_size is 100, but the tokenizer has 262 tokens"):
        make(store, shards, tokenizer, shape=SHAPE.model_copy(update={"vocab_size": 100}))
