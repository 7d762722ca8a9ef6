"""Tokens further ahead are predicted by blocks that the finished model does not have (Gloeckle et al. 2024)."""

import polars as pl
import pytest
import torch
import torch.nn.functional as F

from model import export
from model.config import IGNORED, ModelConfig
from model.predict_ahead import LookingAhead, further_ahead, network
from model.transformer import Transformer
from pipeline import recipe
from pipeline.errors import UserError
from pipeline.store.store import Store
from pipeline.training import kept_weights
from pipeline.training.planning import budget as budgets
from pipeline.training.planning import memory
from pipeline.training.planning.tracing import Step
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.stopping import Stopped
from tests.training import test_pretraining as plain
from tests.training import toy

SHAPE = ModelConfig(layers=3, width=32, heads=4, kv_heads=2, context=12, vocab_size=50)
ASKED = plain.SETTINGS.model_copy(update={"tokens": 6_000, "predict_ahead": 2, "kept_weights": 1})


def drawn(ahead, **changes):
    torch.manual_seed(0)
    return network(SHAPE.model_copy(update=changes), ahead)


def test_the_loss_is_that_of_each_token_further_ahead_written_out():
    torch.manual_seed(3)
    found = drawn(2).double()
    tokens = torch.randint(50, (2, 13))
    documents = torch.tensor([[0] * 5 + [1] * 7, [0] * 12])
    near, far = found(tokens[:, :-1], tokens[:, 1:], further=True, documents=documents)

    x, around = found.entered(tokens[:, :-1], documents=documents)
    for block in found.model.layers[:-1]:
        x = block(x, *around)
    expected = []
    for distance, block in enumerate((found.model.layers[-1], *found.ahead)):
        log_p = F.log_softmax(found.model.norm(block(x, *around)) @ found.output_weight.T, -1)
        total = torch.zeros((), dtype=torch.float64)
        for row in range(2):
            for place in range(12 - distance):
                if documents[row, place] == documents[row, place + distance]:
                    total -= log_p[row, place, tokens[row, place + distance + 1]]
        expected.append(total)
    torch.testing.assert_close(near.double(), expected[0], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(far.double(), expected[1] + expected[2], rtol=1e-5, atol=1e-4)


def test_what_predicts_nothing_predicts_nothing_further_ahead():
    targets = torch.tensor([[1, 2, IGNORED, 4, 5, 6]])
    assert further_ahead(targets, None, 0) is targets
    assert further_ahead(targets, None, 1).tolist() == [[2, IGNORED, IGNORED, 5, 6, IGNORED]]
    assert further_ahead(targets, None, 6).tolist() == [[IGNORED] * 6]
    assert further_ahead(targets, torch.tensor([[0, 0, 0, 0, 1, 1]]), 1).tolist() == [
        [2, IGNORED, IGNORED, IGNORED, 6, IGNORED]
    ]


def test_the_network_itself_starts_and_computes_as_without_heads():
    without, found = drawn(0), drawn(3)
    assert type(without) is Transformer and isinstance(found, LookingAhead)
    tokens = torch.randint(50, (2, 12))
    assert torch.equal(without(tokens), found(tokens))
    assert torch.equal(without(tokens, tokens)[0], found(tokens, tokens, further=True)[0])
    assert toy.same(without, found.drop_heads()), "and the finished model has their weights alone"


def test_gradients_of_all_heads_reach_the_shared_blocks_also_when_recomputed():
    gradients = []
    for recomputed in (False, True):
        found = drawn(2)
        found.gradient_checkpointing = recomputed
        tokens = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(1))
        near, far = found(tokens, tokens, further=True)
        (near + far).backward()
        assert all(parameter.grad is not None for parameter in found.parameters())
        gradients.append(found.model.layers[0].mlp.up_proj.weight.grad)
        found.zero_grad()
        found(tokens, tokens, further=True)[0].backward()
        assert not torch.equal(gradients[-1], found.model.layers[0].mlp.up_proj.weight.grad)
    assert torch.equal(*gradients)


def test_the_finished_model_is_a_plain_one_and_the_same_after_a_stop(tmp_path, store, shards, tokenizer):
    whole = plain.make(store, shards, tokenizer, ASKED)
    other = Store(tmp_path / "other", "test")
    with pytest.raises(Stopped):
        calls = []
        plain.make(other, shards, tokenizer, ASKED, should_stop=lambda: calls.append(1) or len(calls) > 12)
    assert plain.make(other, shards, tokenizer, ASKED).digest == whole.digest
    found = export.load(whole.local_directory())
    assert type(found) is Transformer and found.config.layers == plain.SHAPE.layers
    ((_, path),) = kept_weights.kept(whole.local_directory())
    kept_weights.load_into(found, path)
    rows = pl.read_parquet(whole.file("log.parquet"))
    assert (rows["loss"] > rows["next_loss"]).all() and rows["next_loss"][-1] < rows["next_loss"][0]
    without = plain.make(store, shards, tokenizer, ASKED.model_copy(update={"predict_ahead": 0}))
    assert without.digest != whole.digest
    assert "predict_ahead" not in PretrainingSettings().identity, "what was made before is not made again"


def test_plans_and_equal_flops_count_the_heads():
    config = SHAPE.resolved()
    blocks = sum(p.numel() for p in drawn(1).ahead.parameters() if p.ndim == 2)
    attention = 6 * config.heads * config.head_width * config.context
    expected = budgets.size(SHAPE).flops_per_token + 2 * (6 * blocks + attention + 6 * 50 * 32)
    assert budgets.flops_per_token(SHAPE, PretrainingSettings(predict_ahead=2)) == expected
    plain_step, step = (Step.of(PretrainingSettings(predict_ahead=n), 4, "fp32") for n in (0, 2))
    assert memory.of_step(SHAPE, step).weights > memory.of_step(SHAPE, plain_step).weights
    assert memory.upper_bound(SHAPE, step) > memory.of_step(SHAPE, step).tracked


def test_a_student_or_a_network_both_ways_has_no_heads():
    text = "name: a\nsources: [{name: s, kind: files, path: '*.txt'}]\npretraining: {predict_ahead: 2}\n"
    with pytest.raises(UserError, match="no heads that look further ahead: leave `predict_ahead` out"):
        recipe.parse(text + "distillation: {}\n")
    with pytest.raises(UserError, match="`predict_ahead` needs a model that predicts the next token"):
        recipe.parse(text + "model: {causal: false}\n")
