"""Generation for many prompts at once gives what each prompt gives alone."""

from __future__ import annotations

import pytest
import torch

from model.config import ModelConfig
from model.generate import generate
from model.generate_together import generate_together
from model.sampling import GREEDY, Sampling
from model.transformer import Transformer

PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [5], [9, 8, 7], [5, 6], [30, 31, 32]]


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    shape = ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=32, vocab_size=40, init_std=0.3, dropout=0.5)
    return Transformer(shape).double().train()


def test_each_text_is_the_one_that_its_prompt_gives_alone(model):
    alone = [list(generate(model, prompt, 20, GREEDY)) for prompt in PROMPTS]
    assert generate_together(model, PROMPTS, 20) == alone and len({tuple(one) for one in alone}) == len(PROMPTS)
    sampled = generate_together(model, PROMPTS, 20, Sampling(1.0, seed=7))
    assert sampled == [list(generate(model, p, 20, Sampling(1.0, seed=7 + i))) for i, p in enumerate(PROMPTS)]
    for penalties in ({"repetition_penalty": 1.4}, {"presence_penalty": 1.0, "frequency_penalty": 0.5}):
        settings = Sampling(0.0, **penalties)
        assert generate_together(model, PROMPTS, 20, settings) == [
            list(generate(model, prompt, 20, settings)) for prompt in PROMPTS
        ]
    assert model.training


def test_a_text_ends_before_a_stop_id_and_where_the_context_ends_while_others_go_on(model):
    whole = generate_together(model, PROMPTS, 100)
    assert [len(text) for text in whole] == [32 - len(prompt) for prompt in PROMPTS]
    stop = whole[0][3]
    ended = generate_together(model, PROMPTS, 100, stop_ids=(stop,))
    assert ended == [text[: text.index(stop)] if stop in text else text for text in whole]
    assert len(ended[0]) <= 3 and max(map(len, ended)) > 3


def test_more_prompts_than_a_batch_keep_their_order(model, monkeypatch):
    whole = generate_together(model, PROMPTS, 9)
    monkeypatch.setattr("model.generate_together.AT_ONCE", 2)
    done: list[int] = []
    assert generate_together(model, PROMPTS, 9, progress=done.append) == whole
    assert done == [2, 4, 5]


@pytest.mark.parametrize(
    ("prompts", "sampling", "said"),
    [
        ([[1], []], GREEDY, "a prompt has 0 tokens"),
        ([[1] * 32], GREEDY, "a prompt has 32 tokens"),
    ],
)
def test_what_cannot_be_continued_is_refused(model, prompts, sampling, said):
    with pytest.raises(ValueError, match=said):
        generate_together(model, prompts, 5, sampling)
