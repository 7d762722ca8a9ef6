"""Which tokens are masked, and one network that learns from masked and causal sequences (Charpentier & Samuel 2024)."""

import polars as pl
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from model import export
from model.config import IGNORED, ModelConfig
from model.operations import linear_cross_entropy
from model.transformer import Transformer
from pipeline import recipe
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.store.store import Store
from pipeline.training.objectives import pretraining
from pipeline.training.objectives.masking import MixedBatches, Words, masker
from pipeline.training.planning import budget as budgets
from pipeline.training.pretraining_settings import PretrainingSettings
from pipeline.training.stopping import Stopped
from pipeline.training.validation import Validation
from tests.training import test_pretraining as plain

SHAPE = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=12, vocab_size=50)
MIXED = plain.SETTINGS.model_copy(update={"tokens": 6_000, "masked_share": 0.5, "mask_words": True})
TOKENS = [b"", b"", b" the", b"re", b" old", b"er", b".", b" ", b"man", b"\n"]


class Bytes:
    """A tokenizer of TOKENS."""

    def token_bytes(self):
        return TOKENS


def mixed(mask, share=0.5):
    return MixedBatches(mask, share, 0.25, seed=3)


def test_words_are_what_stands_between_white_space():
    words = Words.of(Bytes())
    row = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 8, 0, 3, 9, 8]])  # " the|re| old|er|.| |man|man|<s>|re|\\n|man"
    assert words.starts(row).tolist() == [[0, 0, 2, 2, 2, 5, 6, 6, 8, 9, 10, 11]]


def test_whole_words_are_masked_and_no_special_token():
    words = Words.of(Bytes())
    settings = PretrainingSettings(mask_share=0.3, mask_words=True)
    mask = masker(SHAPE, settings, 1, mask_id=1, words=words)
    tokens = torch.randint(0, 10, (200, 40), generator=torch.Generator().manual_seed(2))
    seen, targets = mask(tokens, 5)
    chosen = targets != IGNORED
    assert torch.equal(targets[chosen], tokens[chosen]) and torch.equal(seen[~chosen], tokens[~chosen])
    assert not chosen[words.special[tokens]].any()
    starts = words.starts(tokens)
    assert torch.equal(chosen, chosen.gather(1, starts)), "all tokens of a word or none"
    assert 0.27 < chosen[~words.special[tokens]].float().mean() < 0.33
    assert 0.77 < (seen[chosen] == 1).float().mean() < 0.85 and (seen[chosen] == tokens[chosen]).any()


def test_a_share_of_the_sequences_is_masked_whatever_the_micro_batch():
    mask = masker(SHAPE, PretrainingSettings(mask_share=0.25), 1, mask_id=1)
    tokens = torch.randint(2, 50, (64, 13), generator=torch.Generator().manual_seed(2))
    batch = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:].clone(), "documents": None, "positions": None}
    batch["targets"][:, -2] = IGNORED
    whole = mixed(mask).of(batch, 128)
    halves = [mixed(mask).of({**batch, "tokens": half[:, :-1], "targets": half[:, 1:].clone()}, first)
              for first, half in ((128, tokens[:32]), (160, tokens[32:]))]  # fmt: skip
    assert torch.equal(whole["tokens"], torch.cat([half["tokens"] for half in halves]))
    both = whole["both_ways"]
    assert 20 < both.sum() < 44 and torch.equal(whole["weights"], torch.where(both, 4.0, 1.0))
    assert torch.equal(whole["tokens"][~both], tokens[~both, :-1])
    assert torch.equal(whole["targets"][~both], batch["targets"][~both])
    chosen = whole["targets"][both] != IGNORED
    assert torch.equal(whole["targets"][both][chosen], tokens[both, 1:][chosen]), "each is predicted one place before"
    hidden = whole["tokens"][both][:, 1:] != tokens[both, 1:-1]
    assert hidden.any() and chosen[:, :-1][hidden][:0].numel() == 0
    assert (chosen[:, :-2] | ~hidden[:, :-1]).all() and not chosen[:, -2:].any()
    assert pretraining.target_count(whole) == 4 * chosen.sum() + (whole["targets"][~both] != IGNORED).sum()


@pytest.mark.parametrize("words", [None, Words.of(Bytes())])
def test_a_row_is_masked_by_its_number_whatever_the_micro_batch(words):
    mask = masker(SHAPE, PretrainingSettings(mask_share=0.25), 1, mask_id=1, words=words)
    tokens = torch.randint(0, 10, (12, 16), generator=torch.Generator().manual_seed(2))
    whole = mask(tokens, 100)
    for rows in (1, 3, 4):
        parts = [mask(tokens[at : at + rows], 100 + at) for at in range(0, 12, rows)]
        for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
            assert torch.equal(torch.cat(found), expected)
    assert not torch.equal(mask(tokens, 99)[0], whole[0])


def test_validation_masks_the_same_tokens_in_batches_of_any_size():
    def measured(rows: int) -> float:
        mask = masker(SHAPE, PretrainingSettings(mask_share=0.25), 1, mask_id=1)
        held = pl.DataFrame({
            "doc_id": ["a", "b"], "source": ["x", "y"], "bytes": [200, 300],
            "tokens": [[2 + n % 40 for n in range(150)], [3 + n % 30 for n in range(130)]],
        })  # fmt: skip
        validation = Validation(held, 12, rows, 0, mask)
        network = Transformer(SHAPE.model_copy(update={"causal": False})).double()
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.1)
            found = [validation.measure(network, index) for index in range(validation.total_batches)]
        return sum(float(sums["nats/x"]) + float(sums["nats/y"]) for sums in found)

    assert measured(3) == pytest.approx(measured(5), rel=1e-6)


def test_nothing_is_predicted_from_another_document():
    mask = masker(SHAPE, PretrainingSettings(mask_share=0.9), 1, mask_id=1)
    tokens = torch.randint(2, 50, (8, 13))
    documents = torch.tensor([[0] * 5 + [1] * 7] * 8)
    batch = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:], "documents": documents, "positions": None}
    found = mixed(mask, 0.999).of(batch, 0)
    assert found["both_ways"].all() and (found["targets"][:, 4] == IGNORED).all()
    assert (found["targets"][:, :4] != IGNORED).any()


def test_rows_read_both_ways_see_later_tokens_and_the_others_do_not():
    torch.manual_seed(0)
    network = Transformer(SHAPE)
    tokens = torch.randint(50, (2, 12))
    other = tokens.clone()
    other[:, -1] = (other[:, -1] + 1) % 50
    for documents in (None, torch.tensor([[0] * 6 + [1] * 6] * 2)):
        both_ways = torch.tensor([True, False])
        before, after = (network.hidden(given, documents=documents, both_ways=both_ways) for given in (tokens, other))
        first = 0 if documents is None else 6
        assert not torch.allclose(before[0, first], after[0, first]) and torch.equal(before[1, :-1], after[1, :-1])
        torch.testing.assert_close(
            before[1], network.hidden(tokens[1:], documents=None if documents is None else documents[1:])[0]
        )
        if documents is not None:
            assert torch.equal(before[0, :6], after[0, :6])
    everywhere = Transformer(SHAPE.model_copy(update={"causal": False}))
    everywhere.load_state_dict(network.state_dict())
    torch.testing.assert_close(network.hidden(tokens, both_ways=torch.tensor([True, True])), everywhere.hidden(tokens))


@pytest.mark.parametrize("chunk", [0, 5, None])
def test_the_loss_weighs_each_row_as_it_is_asked(chunk):
    torch.manual_seed(1)
    hidden = torch.randn(14, 8, requires_grad=True)
    weight = torch.randn(20, 8, requires_grad=True)
    targets = torch.randint(20, (14,))
    targets[3] = IGNORED
    weights = torch.rand(14)
    total, count = linear_cross_entropy(hidden, weight, targets, chunk, 1e-3, weights)
    logits = (hidden @ weight.T)[targets != IGNORED]
    each = F.cross_entropy(logits, targets[targets != IGNORED], reduction="none") + 1e-3 * logits.logsumexp(1) ** 2
    expected = (each * weights[targets != IGNORED]).sum()
    torch.testing.assert_close(total, expected)
    assert count == 13
    gradients = (torch.autograd.grad(loss, (hidden, weight), retain_graph=True) for loss in (total, expected))
    for mine, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, reference)


def test_a_mixed_network_is_of_the_same_layout_and_ends_with_the_same_bits_after_a_stop(
    tmp_path, store, shards, tokenizer
):
    whole = plain.make(store, shards, tokenizer, MIXED)
    other = Store(tmp_path / "other", "test")
    with pytest.raises(Stopped):
        calls = []
        plain.make(other, shards, tokenizer, MIXED, should_stop=lambda: calls.append(1) or len(calls) > 12)
    assert plain.make(other, shards, tokenizer, MIXED).digest == whole.digest
    network = export.load(whole.local_directory())
    assert export.layout(network.config) == "llama" and whole.facts["bits_per_byte"] < 8
    log = pl.read_parquet(whole.file("log.parquet"))
    assert log["loss"].tail(3).mean() < 0.9 * log["loss"][0]
    assert not {"masked_share", "mask_words"} & PretrainingSettings().identity.keys()


def test_attention_both_ways_costs_the_other_half():
    causal, both = (
        budgets.size(SHAPE.model_copy(update={"causal": causal})).flops_per_token for causal in (True, False)
    )
    assert budgets.flops_per_token(SHAPE, PretrainingSettings(masked_share=0.25)) == 0.75 * causal + 0.25 * both


@pytest.mark.parametrize(
    "words", [("chat",), ("serve",), ("generate", "hello", "--model"), ("export", "--format", "onnx"), ("export",)]
)
def test_what_would_let_it_continue_text_says_that_it_cannot(tmp_path, words):
    export.save(Transformer(SHAPE.model_copy(update={"causal": False})), tmp_path / "model")
    said = CliRunner().invoke(main, [*words, str(tmp_path / "model")])
    assert said.exit_code == 1 and "Traceback" not in said.output
    assert "causal: " in said.output and said.output.count("slm: ") == 1


def test_what_does_not_go_together_is_said():
    text = "name: a\nsources: [{name: s, kind: files, path: '*.txt'}]\n"
    for block, words in (
        ("pretraining: {masked_share: 0.5, predict_ahead: 1}", "does not go with `masked_share`"),
        ("pretraining: {mask_words: true}", "`mask_words` needs `masked_share`"),
        ("pretraining: {masked_share: 0.5}\nmodel: {causal: false}", "`masked_share` needs a model that predicts"),
        ("pretraining: {masked_share: 0.5}\ndistillation: {}", "has no masked sequences"),
    ):
        with pytest.raises(UserError, match=words):
            recipe.parse(text + block)
    recipe.parse(text + "pretraining: {mask_words: true}\nmodel: {causal: false}")
