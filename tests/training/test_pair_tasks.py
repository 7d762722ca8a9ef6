"""A head on a pretrained network learns how two texts relate, and is measured on pairs that it has not seen."""

import json
import os

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner

from model import export
from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.commands.pair_task import interval_of
from pipeline.errors import UserError
from pipeline.pair_tasks import pair_data, pair_network, pair_scores
from pipeline.pair_tasks.pair_data import Columns, Pairs
from pipeline.pair_tasks.pair_network import PairNetwork, batch_of, computed, mean_over, probed, row_of
from pipeline.pair_tasks.pair_scores import How
from pipeline.training import device_lock
from pipeline.training.stopping import Stopped
from tests.making import context

SHAPE = ModelConfig(layers=1, width=16, heads=2, context=32, vocab_size=262)
COUNT = 120


def pairs(scores=False):
    """Whether the second text is written as the first (A or B), or the share of letters that are."""
    generator = np.random.default_rng(1)
    kinds = generator.integers(0, 2, (COUNT, 2))
    first, second = (["ab"[kind] * int(generator.integers(3, 9)) for kind in column] for column in kinds.T)
    alike = (kinds[:, 0] == kinds[:, 1]).astype(np.int64)
    if scores:
        return Pairs(first, second, alike + 0.25 * kinds[:, 0], (), "scores")
    return Pairs(first, second, alike, ("other", "same"), "classes")


@pytest.fixture
def model(store, tokenizer):
    """A network that was trained on nothing, with a tokenizer of bytes."""

    def build(draft):
        from pipeline.training.model_artifact import copy_tokenizer

        torch.manual_seed(0)
        copy_tokenizer(tokenizer, draft)
        export.save(Transformer(SHAPE.model_copy(update={"init_std": 0.3})), draft.directory)

    return store.make("pretrained_model", code_version="1", settings={}, inputs={}, build=build, log=print)


def test_a_row_holds_both_texts_and_the_longer_one_is_cut():
    ids, parts = row_of(np.array([7, 8]), np.array([9]), 3, 16)
    assert ids.tolist() == [3, 7, 8, 3, 9, 3] and parts.tolist() == [3, 1, 1, 3, 2, 3]
    ids, parts = row_of(np.arange(50), np.array([9, 9]), 3, 16)
    assert len(ids) == 16 and (parts == 1).sum() == 11 and (parts == 2).sum() == 2
    ids, parts = row_of(np.arange(50), np.arange(60), 3, 16)
    assert len(ids) == 16 and (parts == 1).sum() == 6 and (parts == 2).sum() == 7


@pytest.mark.parametrize("both_ways", [False, True])
def test_what_the_head_sees_is_that_of_the_pair_alone(both_ways):
    torch.manual_seed(1)
    network = PairNetwork(Transformer(SHAPE), 2, both_ways)
    rows = [row_of(np.array([7, 8, 9]), np.array([10]), 3, 32), row_of(np.arange(10, 20), np.arange(20, 28), 3, 32)]
    together = network.features(**batch_of(rows))
    ids, parts = (torch.from_numpy(one)[None] for one in rows[0])
    hidden = network.body.hidden(ids, both_ways=torch.tensor([True]) if both_ways else None)[0]
    u, v = hidden[parts[0] == 1].mean(0), hidden[parts[0] == 2].mean(0)
    torch.testing.assert_close(together[0], torch.cat([u, v, (u - v).abs(), u * v]))
    assert torch.equal(mean_over(hidden[None], parts == 9), torch.zeros(1, 16))
    asked = computed(network, rows, "cpu", features=True)
    torch.testing.assert_close(asked, together.detach())


def test_the_probe_is_the_solution_of_both_regressions():
    torch.manual_seed(2)
    x = torch.randn(200, 5)
    scores = x @ torch.tensor([1.0, -2, 0, 0, 3]) + 0.5
    found = probed(x, scores.double(), x[:9], 0)
    assert found.shape == (9, 1) and torch.corrcoef(torch.stack([found[:, 0], scores[:9].double()]))[0, 1] > 0.999
    classes = (scores > 0).long() + (scores > 3).long()
    logits = probed(x, classes, x, 3)
    assert (logits.argmax(1) == classes).double().mean() > 0.9
    # At the least of the loss its gradient by the biases is 0: each class gets as much probability as it has rows.
    torch.testing.assert_close(
        logits.softmax(1).mean(0), torch.bincount(classes) / 200.0, atol=1e-4, rtol=0, check_dtype=False
    )


@pytest.mark.parametrize(("probe", "scores"), [(False, False), (False, True), (True, False), (True, True)])
def test_it_learns_what_can_be_learned_and_remembers_it(store, model, probe, scores):
    how = How(seeds=2, probe=probe, epochs=6, learning_rate=0.02, step_pairs=16)
    made = pair_scores.make(context(store), model, pairs(scores), how)
    facts = made.facts
    assert facts["measure"] == ("pearson" if scores else "accuracy")
    assert (
        facts["mean"] > (0.8 if scores else 0.85) > facts["chance"] and facts["low"] <= facts["mean"] <= facts["high"]
    )
    table = pl.read_parquet(made.file("predictions.parquet"))
    assert table.height == 2 * 24 and made.manifest["counts"] == {"pairs": 120, "learned": 96, "held_back": 24}
    first = table.filter(seed=0)
    if not scores:
        assert (first["label"] == first["predicted"]).mean() == facts["by_seed"]["0"]
    assert not list(made.directory.glob("checkpoints*"))
    assert not pair_scores.make(context(store), model, pairs(scores), how).made, "it is remembered"


def test_it_waits_for_the_device(store, model, tmp_path, monkeypatch):
    monkeypatch.setenv(device_lock.SLOTS, "1")
    monkeypatch.setenv(device_lock.FOLDER, str(tmp_path / "devices"))
    lock = device_lock._taken(device_lock._place("cpu", 0), "another training")
    try:
        with pytest.raises(Stopped, match="waiting for cpu"):
            pair_scores.make(context(store, should_stop=lambda: True), model, pairs(), How(seeds=1, probe=True))
    finally:
        os.close(lock)


def test_what_is_no_model_is_refused(store, tokenizer):
    with pytest.raises(UserError, match="tokenizer is no model: name one, such as pretrained_model"):
        pair_scores.make(context(store), tokenizer, pairs(), How())


def test_each_seed_holds_other_pairs_back():
    texts = [f"text {number}" for number in range(50)]
    (learned, held), (_, other) = (pair_data.split(texts, 0.2, seed) for seed in (0, 1))
    assert len(held) == 10 and sorted([*learned, *held]) == list(range(50)) and list(held) != list(other)


def test_pairs_that_share_their_first_text_are_held_back_together():
    premises = [f"premise {number // 3}" for number in range(90)]
    learned, held = pair_data.split(premises, 0.2, 0)
    assert len(held) == 18 and sorted([*learned, *held]) == list(range(90))
    assert not {premises[number] for number in learned} & {premises[number] for number in held}
    learned, held = pair_data.split(["the same question"] * 90, 0.2, 0)
    assert len(held) == 18 and len(learned) == 72, "nothing tells these apart"


def test_files_of_pairs_are_read_with_nested_columns(tmp_path):
    rows = [{"premise": f"p {n}", "hypothesis": "h", "of": {"label": n % 3, "score": n / 4}} for n in range(30)]
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps(rows))

    def read(label, scores=False, path=path):
        return pair_data.read(path, Columns("premise", "hypothesis", label), scores, tmp_path / "cache", print)

    classes, scores = read("of.label"), read("of.score")
    assert classes.classes == ("0", "1", "2") and classes.labels[:4].tolist() == [0, 1, 2, 0]
    assert scores.scores and scores.labels[1] == 0.25 and scores.first[1] == "p 1"
    assert read("of.label", scores=True).scores and scores.digest != classes.digest
    for asked, words in (("premise", "has 30 classes in 30 pairs"), ("nothing", "nothing")):
        with pytest.raises(UserError, match=words):
            read(asked)
    with pytest.raises(UserError, match="labels are words"):
        read("hypothesis", scores=True)
    table = tmp_path / "pairs.csv"
    table.write_text("premise,hypothesis,score\n" + "".join(f"p {n},h,{n / 4}\n" for n in range(30)))
    assert read("score", scores=True, path=table).labels[:3].tolist() == [0, 0.25, 0.5], "in CSV everything is text"
    with pytest.raises(UserError, match=r"has no column `mark` .*: fix `--first`, `--second` or `--label`"):
        read("mark", path=table)
    path.write_text(json.dumps(rows[:5]))
    with pytest.raises(UserError, match="has 5 whole pairs"):
        read("of.label")


def test_the_command_says_the_figure_of_each_seed(tmp_path, store, model, monkeypatch):
    from pipeline.commands import pair_task as command

    class Opened:
        log = staticmethod(print)

    opened = Opened()
    opened.store, opened.context = store, context(store)
    monkeypatch.setattr(command, "project", lambda: opened)
    path = tmp_path / "pairs.jsonl"
    given = pairs()
    path.write_text(
        "".join(
            json.dumps({"first": a, "second": b, "label": given.classes[c]}) + "\n"
            for a, b, c in zip(given.first, given.second, given.labels.tolist(), strict=True)
        )
    )
    said = CliRunner().invoke(command.pair_task, ["pretrained_model", str(path), "--probe", "--seeds", "1"])
    assert said.exit_code == 0, said.output
    assert "accuracy" in said.output and "whoever says the same of all pairs" in said.output
    assert pair_network.PENALTY > 0


def test_an_interval_of_few_seeds_does_not_go_beyond_what_there_is():
    assert interval_of({"measure": "pearson", "low": -3.62, "high": 3.18}) == " (-1.0000 to 1.0000)"
    assert interval_of({"measure": "accuracy", "low": -0.1, "high": 0.9}) == " (0.0000 to 0.9000)"
    assert interval_of({"measure": "accuracy"}) == "", "of one seed"
