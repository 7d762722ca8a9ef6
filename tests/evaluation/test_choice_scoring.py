"""Choices that share a prompt are scored as if each stood alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.transformer import Transformer
from pipeline.evaluation.choice_scoring import (
    LEAST_SHARED,
    EncodedItem,
    encode_items,
    score_choices,
    shared_beginning,
)
from pipeline.evaluation.scoring import nll_of_rows

VOCABULARY = 61
SHAPES = {
    "llama": ModelConfig(layers=3, width=32, heads=4, kv_heads=2, context=64, vocab_size=VOCABULARY),
    "gpt": ModelConfig(
        layers=2, width=32, heads=2, context=64, vocab_size=VOCABULARY, norm="layer", positions="learned",
        activation="gelu",
    ),
    "qwen": ModelConfig(layers=2, width=32, heads=2, context=64, vocab_size=VOCABULARY, qk_norm=True),
}  # fmt: skip


class Letters:
    """A tokenizer of characters."""

    def __init__(self) -> None:
        self.ids = {"<eos>": 0}

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        return [np.array([1 + ord(letter) % (VOCABULARY - 1) for letter in text], dtype=np.uint32) for text in texts]


@pytest.fixture(params=SHAPES)
def network(request: pytest.FixtureRequest) -> Transformer:
    torch.manual_seed(1)
    return Transformer(SHAPES[request.param]).eval()


def drawn(seed: int, beginning: int) -> list[EncodedItem]:
    """Items of all sizes that a context of 64 has room for, whose prompts have a common beginning."""
    rng = np.random.default_rng(seed)
    shared = rng.integers(1, VOCABULARY, beginning)
    items = []
    for number in range(23):
        own = rng.integers(1, VOCABULARY, int(rng.integers(1, 64 - beginning - 10)))
        choices = [rng.integers(1, VOCABULARY, int(rng.integers(1, 11))) for _ in range(int(rng.integers(1, 6)))]
        items.append(EncodedItem(number, 0, np.concatenate((shared, own)), choices))
    return items


def one_by_one(network: Transformer, items: list[EncodedItem]) -> list[list[float]]:
    rows = [np.concatenate((item.prompt, choice)) for item in items for choice in item.choices]
    first = [len(item.prompt) for item in items for _ in item.choices]
    sums = iter(-found.sum() for found in nll_of_rows(network, rows, first, 64, torch.device("cpu")))
    return [[next(sums) for _ in item.choices] for item in items]


@pytest.mark.parametrize("beginning", [0, LEAST_SHARED - 1, LEAST_SHARED, 40])
@pytest.mark.parametrize("batch_tokens", [1, 300])
def test_choices_of_one_prompt_score_as_if_each_stood_alone(network: Transformer, beginning: int, batch_tokens: int):
    items = drawn(beginning, beginning)
    found = score_choices(network, items, batch_tokens, torch.device("cpu"))
    expected = one_by_one(network, items)
    for scores, alone, item in zip(found, expected, items, strict=True):
        assert [score.log_likelihood for score in scores] == pytest.approx(alone, abs=2e-4)
        assert [score.tokens for score in scores] == list(map(len, item.choices))


def test_rows_longer_than_the_context_are_right_while_each_choice_fits(network: Transformer):
    rng = np.random.default_rng(3)
    many = [rng.integers(1, VOCABULARY, 20) for _ in range(8)]
    item = EncodedItem(0, 0, rng.integers(1, VOCABULARY, 45), many)
    assert item.length > 64
    (found,) = score_choices(network, [item], 1, torch.device("cpu"))
    assert [score.log_likelihood for score in found] == pytest.approx(one_by_one(network, [item])[0], abs=2e-4)


def test_greedy_choices_are_those_that_generation_would_give(network: Transformer):
    prompt = torch.tensor([[5, 9, 2, 7]])
    best = []
    with torch.inference_mode():
        for _ in range(3):
            best.append(int(network(torch.cat((prompt, torch.tensor([best], dtype=torch.int64)), 1))[0, -1].argmax()))
    other = [best[0], best[1], (best[2] + 1) % VOCABULARY]
    item = EncodedItem(0, 0, prompt[0].numpy(), [np.array(best), np.array(other)])
    (found,) = score_choices(network, [item], 64, torch.device("cpu"))
    assert [score.greedy for score in found] == [True, False]


def test_a_beginning_is_shared_only_where_each_prompt_goes_on_after_it():
    prompts = [np.arange(1, 31), np.arange(1, 21), np.concatenate((np.arange(1, 19), [50, 51]))]
    items = [EncodedItem(number, 0, prompt, [np.array([1])]) for number, prompt in enumerate(prompts)]
    assert shared_beginning(items) == 18
    assert shared_beginning([*items, EncodedItem(3, 0, np.arange(1, 19), [np.array([1])])]) == 17
    assert shared_beginning([*items, EncodedItem(3, 0, np.arange(1, 8), [np.array([1])])]) == 0
    assert shared_beginning(items[:1]) == 0


def test_spaces_at_the_end_of_a_prompt_belong_to_the_choice():
    (item,), cut = encode_items(["답: "], [[" 예", " 아니오"]], Letters(), 64)  # type: ignore[arg-type]
    assert cut == 0 and len(item.prompt) == 2 and [len(choice) for choice in item.choices] == [3, 5]


def test_a_prompt_that_is_too_long_loses_its_beginning_and_is_counted(network: Transformer):
    tokenizer = Letters()
    prompt, choices = "abcdefghij" * 7, [" yes", " certainly not"]
    items, cut = encode_items([prompt, "", "ab"], [choices] * 3, tokenizer, 64)  # type: ignore[arg-type]
    assert cut == 2
    assert [(item.item, item.first, len(item.choices)) for item in items] == [
        (0, 0, 1),
        (0, 1, 1),
        (1, 0, 2),
        (2, 0, 2),
    ]
    for item, choice in zip(items, choices, strict=False):
        whole = tokenizer.encode([prompt + choice])[0][-65:]
        assert np.concatenate((item.prompt, item.choices[0])).tolist() == whole.tolist()
    assert items[2].prompt.tolist() == [0]
    found = score_choices(network, items, 256, torch.device("cpu"))
    assert list(map(len, found)) == [2, 2, 2]


def test_a_choice_without_tokens_is_an_error():
    with pytest.raises(ValueError, match="item 0 has a choice without tokens"):
        encode_items(["a"], [["b", ""]], Letters(), 64)  # type: ignore[arg-type]


def test_endings_of_one_length_share_what_is_left_of_a_prompt(network: Transformer):
    tokenizer = Letters()
    prompt, choices = "abcdefghij" * 7, [" yes", " nay", " certainly not", " x" * 40, " y" * 40]
    items, cut = encode_items([prompt], [choices], tokenizer, 64)  # type: ignore[arg-type]
    assert cut == 5
    assert [(item.first, len(item.choices)) for item in items] == [(0, 2), (2, 1), (3, 1), (4, 1)]
    (found,) = score_choices(network, items, 256, torch.device("cpu"))
    apart = [EncodedItem(0, item.first + i, item.prompt, [one]) for item in items for i, one in enumerate(item.choices)]
    (alone,) = score_choices(network, apart, 1, torch.device("cpu"))
    assert [score.log_likelihood for score in found] == pytest.approx([one.log_likelihood for one in alone], abs=2e-4)


def test_what_follows_a_prompt_is_predicted_once_for_all_of_its_choices(network: Transformer):
    asked: list[int] = []
    logits = network.logits
    network.logits = lambda hidden: asked.append(len(hidden)) or logits(hidden)  # type: ignore[method-assign]
    items = [EncodedItem(i, 0, np.arange(1, 9), [np.array([1]), np.array([2]), np.array([3, 4])]) for i in range(5)]
    score_choices(network, items, 512, torch.device("cpu"))
    assert sum(asked) == 5 * 2
