"""Generation: what is drawn, from what, and that it can be repeated."""

from __future__ import annotations

import pytest
import torch

from model.config import ModelConfig
from model.generate import generate, sample_token
from model.transformer import Transformer


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    network = Transformer(
        ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=32, vocab_size=40, init_std=0.3, dropout=0.5)
    )
    return network.train()


def test_the_likeliest_is_what_full_passes_give(model):
    made = list(generate(model, [1, 2, 3], 20, temperature=0))
    tokens = [1, 2, 3]
    model.eval()
    with torch.no_grad():
        for _ in range(20):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    model.train()
    assert made == tokens[3:] and len(set(made)) > 3


def test_same_seed_same_text_whatever_else_is_drawn(model):
    torch.manual_seed(1)
    first = list(generate(model, [5], 25, temperature=1.0, seed=7))
    torch.manual_seed(2)
    stream = generate(model, [5], 25, temperature=1.0, seed=7)
    again = []
    for token in stream:
        torch.rand(3)
        again.append(token)
    assert first == again
    assert first != list(generate(model, [5], 25, temperature=1.0, seed=8))


def test_it_comes_as_it_is_made_and_leaves_the_network_as_it_was(model):
    stream = generate(model, [5, 6], 10)
    next(stream)
    assert not model.training  # no dropout while it speaks
    stream.close()
    assert model.training
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_it_stops_before_a_stop_id_and_where_the_context_ends(model):
    made = list(generate(model, [1, 2, 3], 20, temperature=0))
    stop = made[5]
    assert list(generate(model, [1, 2, 3], 20, temperature=0, stop_ids=[stop])) == made[: made.index(stop)]
    assert len(list(generate(model, [1] * 30, 100))) == 2


def test_top_k_and_top_p_leave_the_right_ones():
    logits = torch.log(torch.tensor([0.05, 0.4, 0.3, 0.15, 0.1]))
    generator = torch.Generator().manual_seed(0)

    def seen(**changes) -> set[int]:
        settings = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **changes}
        return {sample_token(logits, generator=generator, **settings) for _ in range(400)}

    assert seen() == {0, 1, 2, 3, 4}
    assert seen(top_k=2) == {1, 2}
    assert seen(top_p=0.4) == {1} and seen(top_p=0.41) == {1, 2} and seen(top_p=0.8) == {1, 2, 3}
    assert seen(top_k=3, top_p=0.9) == {1, 2, 3} and seen(top_k=3, top_p=0.8) == {1, 2}
    assert seen(temperature=0.01) == {1} and seen(temperature=0) == {1}


def test_draws_follow_the_probabilities():
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.tensor([sample_token(probabilities.log(), 1.0, 0, 1.0, generator) for _ in range(3000)])
    assert torch.allclose(drawn.bincount() / 3000, probabilities, atol=0.03)
    drawn = torch.tensor([sample_token(probabilities.log(), 0.5, 0, 1.0, generator) for _ in range(3000)])
    squared = probabilities**2
    assert torch.allclose(drawn.bincount(minlength=3) / 3000, squared / squared.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": []}, "no token"),
        ({"tokens": [1] * 32}, "32 tokens and the context holds 32"),
        ({"tokens": [1], "temperature": -1}, "temperature"),
        ({"tokens": [1], "top_p": 0}, "top_p"),
        ({"tokens": [1], "top_k": -1}, "top_k"),
    ],
)
def test_what_cannot_be_continued_is_refused_at_once(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(model, **arguments)


def test_a_network_that_sees_both_ways_cannot_continue():
    network = Transformer(ModelConfig(layers=1, width=16, heads=2, context=8, vocab_size=9, causal=False))
    with pytest.raises(ValueError, match="fill gaps"):
        generate(network, [1])
