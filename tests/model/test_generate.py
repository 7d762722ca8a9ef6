"""Generation: which tokens are sampled, from which, and that it can be repeated."""

from __future__ import annotations

import copy

import pytest
import torch

from model.config import ModelConfig
from model.decoding import arrange
from model.generate import generate
from model.sampling import GREEDY, Sampling, penalise, sample_token, subtract
from model.transformer import Transformer


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    network = Transformer(
        ModelConfig(layers=2, width=32, heads=4, kv_heads=2, context=32, vocab_size=40, init_std=0.3, dropout=0.5)
    )
    return network.train()


def test_the_likeliest_is_what_full_passes_give(model):
    made = list(generate(model, [1, 2, 3], 20, GREEDY))
    tokens = [1, 2, 3]
    model.eval()
    with torch.no_grad():
        for _ in range(20):
            tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    model.train()
    assert made == tokens[3:] and len(set(made)) > 3


def test_same_seed_same_text_whatever_else_is_drawn(model):
    torch.manual_seed(1)
    first = list(generate(model, [5], 25, Sampling(1.0, seed=7)))
    torch.manual_seed(2)
    stream = generate(model, [5], 25, Sampling(1.0, seed=7))
    again = []
    for token in stream:
        torch.rand(3)
        again.append(token)
    assert first == again
    assert first != list(generate(model, [5], 25, Sampling(1.0, seed=8)))


def test_it_comes_as_it_is_made_and_leaves_the_network_as_it_was(model):
    stream = generate(model, [5, 6], 10)
    next(stream)
    assert not model.training  # no dropout while it speaks
    stream.close()
    assert model.training
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_it_stops_before_a_stop_id_and_where_the_context_ends(model):
    made = list(generate(model, [1, 2, 3], 20, GREEDY))
    stop = made[5]
    assert list(generate(model, [1, 2, 3], 20, GREEDY, stop_ids=[stop])) == made[: made.index(stop)]
    assert len(list(generate(model, [1] * 30, 100))) == 2


def test_the_limits_keep_the_right_ids():
    logits = torch.log(torch.tensor([0.05, 0.4, 0.3, 0.15, 0.1]))
    generator = torch.Generator().manual_seed(0)

    def sampled(**changes) -> set[int]:
        sampling = Sampling(**{"temperature": 1.0, **changes})
        return {sample_token(logits, sampling, generator) for _ in range(400)}

    assert sampled() == {0, 1, 2, 3, 4}
    assert sampled(top_k=2) == {1, 2}
    assert sampled(top_p=0.39) == {1} and sampled(top_p=0.41) == {1, 2} and sampled(top_p=0.8) == {1, 2, 3}
    assert sampled(top_k=3, top_p=0.9) == {1, 2, 3} and sampled(top_k=3, top_p=0.8) == {1, 2}
    assert sampled(min_p=0.7) == {1, 2} and sampled(min_p=0.3) == {1, 2, 3} and sampled(min_p=1) == {1}
    assert sampled(min_p=0.3, top_k=2) == {1, 2} and sampled(min_p=0.3, top_p=0.5) == {1, 2}
    assert sampled(temperature=0.01) == {1} and sampled(temperature=0) == {1} and sampled(temperature=1e-300) == {1}


def reference(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """The rule of `sample_token` written out, with the whole vocabulary sorted."""
    weights = torch.exp((logits - logits.max()) / sampling.temperature).tolist()
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    if sampling.top_k:
        order = order[: sampling.top_k]
    total = sum(weights[i] for i in order)
    kept, before = [], 0.0
    for i in order:
        if before < sampling.top_p * total or sampling.top_p == 1:
            kept.append(i)
        before += weights[i]
    kept = [i for i in kept if weights[i] >= sampling.min_p]
    target = float(torch.rand((), dtype=torch.float64, generator=generator)) * sum(weights[i] for i in kept)
    reached = 0.0
    for i in kept:
        reached += weights[i]
        if reached > target:
            return i
    return kept[-1]


@pytest.mark.parametrize("spread", [0.3, 3.0, 12.0])  # from nearly uniform to a single likely id
@pytest.mark.parametrize(
    "limits",
    [{}, {"top_k": 40}, {"top_k": 1}, {"top_k": 5000}, {"top_p": 0.9}, {"top_p": 1e-6}, {"min_p": 0.05},
     {"min_p": 1e-5}, {"top_k": 300, "top_p": 0.95, "min_p": 0.002}, {"top_p": 0.999, "min_p": 1e-3}],
)  # fmt: skip
def test_the_same_seed_gives_the_tokens_of_a_reference_that_sorts_everything(limits, spread):
    ours, theirs, made = (torch.Generator().manual_seed(seed) for seed in (4, 4, 5))
    for temperature in (0.5, 1.0, 2.0) * 5:
        logits = (torch.randn(2000, generator=made) * spread).round(decimals=1)  # many ids are equally likely
        sampling = Sampling(temperature, **limits)
        assert sample_token(logits, sampling, ours) == reference(logits, sampling, theirs)


def test_only_the_likely_ids_of_a_vocabulary_are_sorted(monkeypatch):
    lengths = []
    sort = torch.Tensor.sort

    def counted(self, *given, **named):
        lengths.append(len(self))
        return sort(self, *given, **named)

    monkeypatch.setattr(torch.Tensor, "sort", counted)
    logits = torch.randn(50_000, generator=torch.Generator().manual_seed(0)) * 2.0
    logits[:40] += 14.0
    for limits in ({}, {"top_p": 0.95}, {"top_k": 20}, {"min_p": 0.05}):
        sample_token(logits, Sampling(0.8, **limits), torch.Generator().manual_seed(1))
    assert len(lengths) >= 4 and max(lengths) < 500


def test_tokens_follow_the_probabilities():
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    generator = torch.Generator().manual_seed(0)
    sampled = torch.tensor([sample_token(probabilities.log(), Sampling(1.0), generator) for _ in range(3000)])
    assert torch.allclose(sampled.bincount() / 3000, probabilities, atol=0.03)
    sampled = torch.tensor([sample_token(probabilities.log(), Sampling(0.5), generator) for _ in range(3000)])
    squared = probabilities**2
    assert torch.allclose(sampled.bincount(minlength=3) / 3000, squared / squared.sum(), atol=0.03)


def test_logits_that_are_not_numbers_are_an_error():
    with pytest.raises(ValueError, match="its weights are damaged"):
        sample_token(torch.tensor([0.0, float("nan"), 1.0]), Sampling(), torch.Generator())


def test_the_repetition_penalty_is_that_of_transformers():
    logits = torch.tensor([2.0, -2.0, 0.0, 1.0])
    assert penalise(logits, {0, 1, 2}, 2.0).tolist() == [1.0, -4.0, 0.0, 1.0]
    assert penalise(logits, {0}, 1.0) is logits and logits.tolist() == [2.0, -2.0, 0.0, 1.0]
    transformers = pytest.importorskip("transformers")
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(0))
    theirs = transformers.RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([[3, 9, 9, 21]]), logits.clone())
    assert torch.equal(penalise(logits[0], {3, 9, 21}, 1.3), theirs[0])


def test_a_penalty_prevents_repetition_but_not_the_end(model):
    plain = list(generate(model, [5], 25, GREEDY))
    penalised = list(generate(model, [5], 25, Sampling(0.0, repetition_penalty=1e6)))
    assert len(set(plain)) < len(plain) and len(set(penalised)) == len(penalised) and 5 not in penalised
    prompt = [1, 2, 3, *generate(model, [1, 2, 3], 1, GREEDY)]
    end = next(iter(generate(model, prompt, 1, GREEDY)))
    while end not in prompt:  # until the likeliest next id has occurred
        prompt.append(end)
        end = next(iter(generate(model, prompt, 1, GREEDY)))
    never = Sampling(0.0, repetition_penalty=1e6)
    assert list(generate(model, prompt, 1, never)) not in ([], [end])
    assert list(generate(model, prompt, 1, never, stop_ids=[end])) == []


def test_penalties_for_what_was_generated(model):
    logits = torch.tensor([1.0, 2.0, 3.0])
    both = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    assert subtract(logits, {1: 1, 2: 3}, both).tolist() == [1.0, 1.25, 1.75]
    assert subtract(logits, {1: 1}, Sampling()) is logits and subtract(logits, {}, both) is logits
    plain, prompt = list(generate(model, [5], 25)), [5]
    fresh = list(generate(model, prompt, 25, Sampling(0.0, presence_penalty=2.0, frequency_penalty=2.0)))
    assert len(set(fresh)) > len(set(plain))
    for wrong in ({"presence_penalty": 3}, {"frequency_penalty": -3}):
        with pytest.raises(ValueError, match="from -2 to 2"):
            Sampling(**wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": []}, "no token"),
        ({"tokens": [1] * 32}, "32 tokens and the context holds 32"),
    ],
)
def test_what_cannot_be_continued_is_refused_at_once(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(model, **arguments)


def test_a_network_that_sees_both_ways_cannot_continue():
    network = Transformer(ModelConfig(layers=1, width=16, heads=2, context=8, vocab_size=9, causal=False))
    with pytest.raises(ValueError, match="fill gaps"):
        generate(network, [1])


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"temperature": float("inf")}, {"temperature": float("nan")}, {"top_p": 0}, {"top_p": 1.1},
     {"top_k": -1}, {"min_p": -0.1}, {"min_p": 2}, {"repetition_penalty": 0}, {"seed": -1}],
)  # fmt: skip
def test_sampling_settings_out_of_range_are_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"^{name} must be .*, not .*\.$"):
        Sampling(**wrong)


@pytest.mark.parametrize("fast", [False, True], ids=["as it is", "arranged"])
def test_it_can_be_stopped_between_tokens_and_between_parts_of_the_prompt(model, monkeypatch, fast):
    network = arrange(copy.deepcopy(model)) if fast else model
    prompt, answers = [1, 2, 3, 4, 5, 6, 7], []
    plain = list(generate(network, prompt, 20))
    monkeypatch.setattr("model.generate.PIECE", 3)
    assert list(generate(network, prompt, 20, stopped=lambda: False)) == plain

    def stopped_after(asked: int) -> list[int]:
        answers[:] = [False] * asked + [True] * 50
        return list(generate(network, prompt, 20, stopped=lambda: answers.pop(0)))

    assert stopped_after(2) == [] and len(answers) == 49  # three parts of the prompt, of which two were read
    assert stopped_after(3) == plain[:1] and stopped_after(7) == plain[:5] and len(answers) == 49
