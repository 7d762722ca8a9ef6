"""Vectors at chosen columns are those of the whole pass, and cost no more than what they need."""

import pytest
import torch

from model.config import ModelConfig
from model.scoring import fork, hidden_at, targets
from model.transformer import Transformer

SHAPES = {
    "llama": ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=32, vocab_size=50),
    "qwen": ModelConfig(layers=2, width=32, heads=2, context=32, vocab_size=50, qk_norm=True),
    "gpt": ModelConfig(
        layers=2, width=32, heads=2, context=32, vocab_size=50, norm="layer", positions="learned", activation="gelu",
        bias=True,
    ),
    "sines": ModelConfig(layers=1, width=32, heads=2, context=32, vocab_size=50, positions="sinusoidal"),
}  # fmt: skip
ROWS, LENGTH = 3, 20


@pytest.fixture(params=SHAPES)
def network(request: pytest.FixtureRequest) -> Transformer:
    torch.manual_seed(1)
    made = Transformer(SHAPES[request.param]).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def causal(rows: int, length: int, past: int = 0) -> torch.Tensor:
    return torch.ones(length, past + length, dtype=torch.bool).tril(past).expand(rows, -1, -1)


def test_vectors_at_columns_are_those_of_the_whole_pass(network: Transformer):
    tokens = torch.randint(50, (ROWS, LENGTH))
    positions = torch.arange(LENGTH).expand(ROWS, -1)
    wanted = torch.tensor([[3, 7, 19], [0, 1, 1], [19, 5, 6]])
    with torch.inference_mode():
        whole = network.hidden(tokens)
        found = hidden_at(network, tokens, positions, causal(ROWS, LENGTH), wanted)
    assert torch.allclose(found, whole[torch.arange(ROWS)[:, None], wanted], atol=1e-5)


def test_rows_after_a_common_beginning_are_as_if_each_had_it(network: Transformer):
    beginning, tokens = torch.randint(50, (12,)), torch.randint(50, (ROWS, 8))
    wanted = torch.arange(8).expand(ROWS, -1)
    with torch.inference_mode():
        whole = network.hidden(torch.cat((beginning.expand(ROWS, -1), tokens), 1))
        before = fork(network, beginning)
        positions = torch.arange(12, 20).expand(ROWS, -1)
        found = hidden_at(network, tokens, positions, causal(ROWS, 8, 12), wanted, before)
    assert torch.allclose(found, whole[:, 12:], atol=1e-5)


def test_the_last_block_feeds_forward_only_what_is_asked_for(network: Transformer):
    fed: list[tuple[int, int]] = []
    for number, block in enumerate(network.model.layers):
        block.mlp.register_forward_hook(lambda _, given, __, number=number: fed.append((number, given[0].shape[1])))
    with torch.inference_mode():
        tokens, positions = torch.randint(50, (ROWS, LENGTH)), torch.arange(LENGTH).expand(ROWS, -1)
        hidden_at(network, tokens, positions, causal(ROWS, LENGTH), torch.full((ROWS, 2), LENGTH - 1))
    layers = len(network.model.layers)
    assert fed == [(number, LENGTH) for number in range(layers - 1)] + [(layers - 1, 2)]


def test_targets_are_scored_by_the_softmax_of_their_row(network: Transformer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("model.scoring.LOGITS_AT_ONCE", {"cpu": 3 * 50})  # three rows at a time
    vectors = torch.randn(7, 32)
    row, target = torch.tensor([0, 0, 2, 3, 3, 3, 6]), torch.tensor([4, 5, 6, 0, 49, 7, 1])
    with torch.inference_mode():
        expected = network.logits(vectors).log_softmax(-1)
        target[1] = expected[0].argmax()
        found, best = targets(network, vectors, row, target)
    assert torch.allclose(found, expected[row, target], atol=1e-5)
    assert best.tolist() == (expected[row].argmax(-1) == target).tolist() and best[1]


def test_of_equally_likely_tokens_the_first_is_the_likeliest(network: Transformer):
    vectors = torch.zeros(2, 32)  # every logit is 0
    with torch.inference_mode():
        _, best = targets(network, vectors, torch.tensor([0, 0, 1]), torch.tensor([0, 3, 49]))
    assert best.tolist() == [True, False, False]
