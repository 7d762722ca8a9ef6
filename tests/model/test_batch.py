"""Texts that join and leave a running batch have the tokens that each has alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from model.batch import Batch, Text
from model.choosing import Chooser
from model.decoding import Arranged, Decoding
from model.decoding_together import MOST, step
from model.generate import generate
from model.sampling import GREEDY, Sampling
from model.transformer import Cache
from tests.model.test_decoding import SHAPES, in_bf16, network

PROMPTS = [[1, 2, 3, 4, 5, 6, 7], [5], [9, 8, 7], [5, 6], [30, 31, 32]]


class Made:
    """A text with what was said of it."""

    def __init__(self, prompt, sampling=GREEDY, most=20, stop_ids=(), likeliest=None) -> None:
        self.tokens, self.ends, self.stop, self.choices = [], [], False, []
        chooser = Chooser(prompt, sampling, stop_ids, likeliest=likeliest)
        self.text = Text(chooser, most, self.take, self.ends.append, lambda: self.stop)

    def take(self, choice) -> bool:
        self.tokens.append(choice.token)
        self.choices.append(choice)
        return True


def finished(batch: Batch) -> None:
    for _ in range(500):
        if not batch.busy:
            return
        batch.advance()
    raise AssertionError("the batch does not come to its end")


def alone(model, prompt, **named) -> list[int]:
    batch, made = Batch(model), Made(prompt, **named)
    batch.add(prompt, [made.text])
    finished(batch)
    assert made.ends == [None]
    return made.tokens


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_a_row_has_the_same_bits_in_any_company(changes, kind):
    model = network(**changes)
    model = in_bf16(model) if kind == "bf16" else model
    arranged = Arranged(model, for_many=True)

    def begun(prompt):
        cache = Cache(model.config, 1, len(prompt), dtype=model.output_weight.dtype)
        model.hidden(torch.tensor([prompt]), cache=cache)
        return Decoding(arranged, cache, 40)

    with torch.inference_mode():
        one = begun(PROMPTS[0])
        by_itself = torch.cat([step([one], [[token]]) for token in range(12)])
        others = [begun(PROMPTS[number % 5]) for number in range(MOST + 2)]
        beside = [
            step(others[:count], [[token]] * count)[0]
            for token, count in enumerate([1, 2, 3, 5, MOST + 2, 17, 16, 8, 2, 1, 4, 1])
        ]
        assert torch.equal(by_itself, torch.stack(beside))
        runs, at_once = begun(PROMPTS[0]), [range(0, 1), range(1, 6), range(6, 8), range(8, 12)]
        assert torch.equal(by_itself, torch.cat([step([runs], [run]) for run in at_once])), "several in one step"
        single, text = begun(PROMPTS[0]), torch.arange(12)
        plain = Decoding(Arranged(model), Cache(model.config, 1, 1, dtype=model.output_weight.dtype), 40)
        plain.keys, plain.values, plain.length = single.keys, single.values, single.length
        steps = torch.stack([plain.step(token) for token in text.tolist()])
    bound = 1e-5 if kind == "fp32" else 0.02
    assert (steps - by_itself).abs().max() < bound * steps.abs().max()


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_texts_that_come_and_go_have_the_tokens_that_each_has_alone(kind):
    model = network(kv_heads=2)
    model = in_bf16(model) if kind == "bf16" else model
    settings = [GREEDY, Sampling(1.0, seed=3), Sampling(1.2, top_k=9, seed=4, repetition_penalty=1.3)]
    asked = [(p, settings[n % 3], 3 + 7 * (n % 4)) for n, p in enumerate(PROMPTS * 3)]
    expected = [alone(model, prompt, sampling=sampling, most=most) for prompt, sampling, most in asked]
    assert len({tuple(one) for one in expected}) > 8
    if kind == "bf16":
        found = [list(generate(model, prompt, most, sampling)) for prompt, sampling, most in asked]
        assert found == expected, "as `generate` does"
    batch, made = Batch(model), [Made(prompt, sampling, most) for prompt, sampling, most in asked]
    for number, (one, (prompt, _, _)) in enumerate(zip(made, asked, strict=True)):
        batch.add(prompt, [one.text])
        for _ in range(number % 3):
            batch.advance()
    finished(batch)
    assert [one.tokens for one in made] == expected and all(one.ends == [None] for one in made)


def test_texts_of_one_prompt_read_it_once(monkeypatch):
    model = network()
    settings = [Sampling(1.5, seed=seed) for seed in range(4)]
    expected = [alone(model, PROMPTS[0], sampling=sampling) for sampling in settings]
    passes, hidden = [], type(model).hidden
    monkeypatch.setattr(
        type(model), "hidden", lambda self, *given, **named: passes.append(1) or hidden(self, *given, **named)
    )
    batch, made = Batch(model), [Made(PROMPTS[0], sampling) for sampling in settings]
    batch.add(PROMPTS[0], [one.text for one in made])
    finished(batch)
    assert [one.tokens for one in made] == expected and len(passes) == 1
    assert len({tuple(one.tokens) for one in made}) == 4


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(0.4, seed=5), replace(GREEDY, repetition_penalty=1.02)])
def test_guesses_save_steps_and_change_no_token(monkeypatch, sampling):
    model = network(context=96)
    prompt = [7, 8, 9, 10, 11, 12] * 4
    steps: list[int] = []

    def counted(texts, runs):
        steps.append(max(map(len, runs)))
        return step(texts, runs)

    monkeypatch.setattr("model.decoding_together.step", counted)
    found = alone(model, prompt, sampling=sampling, most=70)
    guessed = len(steps)
    assert max(steps) == 5
    monkeypatch.setattr("model.batch.FEW", 0)
    steps.clear()
    assert alone(model, prompt, sampling=sampling, most=70) == found and max(steps) == 1
    assert guessed < len(steps), "the text repeats itself, so some guesses hold"
    monkeypatch.undo()
    plain = alone(model, prompt, sampling=sampling, most=70, stop_ids={found[30]})
    assert plain == found[: found.index(found[30])], "also where it ends among guesses"


def test_a_long_prompt_is_read_in_pieces_between_the_tokens_of_others(monkeypatch):
    monkeypatch.setattr("model.batch.PIECE", 4)
    model = network()
    first, long = Made([1, 2]), Made([3] * 22, most=5)
    batch = Batch(model)
    batch.add([1, 2], [first.text])
    batch.advance()
    batch.add([3] * 22, [long.text])
    for _ in range(5):
        batch.advance()
    assert len(first.tokens) == 7 and not long.tokens
    batch.advance()
    assert long.tokens, "22 tokens in pieces of 4 are read in 6 steps"
    finished(batch)
    assert len(long.tokens) == 5


def test_one_that_is_stopped_or_fails_leaves_the_others_alone():
    model = network()
    batch, made = Batch(model), [Made(prompt) for prompt in PROMPTS]

    def broken(logits):
        raise ValueError("not numbers")

    for one, prompt in zip(made, PROMPTS, strict=True):
        batch.add(prompt, [one.text])
    for _ in range(8):
        batch.advance()
    made[1].stop = True
    made[2].text.chooser.choose = broken
    finished(batch)
    assert [len(one.tokens) < 20 for one in made] == [False, True, True, False, False]
    assert made[1].ends == [None] and str(made[2].ends[0]) == "not numbers"
    assert made[0].tokens == alone(model, PROMPTS[0])
    batch.add(PROMPTS[0], [made[0].text])
    batch.fail(RuntimeError("broken"))
    assert not batch.busy and isinstance(made[0].ends[-1], RuntimeError)


def test_a_text_ends_at_a_stop_id_at_its_most_and_where_the_context_ends():
    model = network()
    whole = alone(model, [1, 2, 3], most=100)
    assert len(whole) == model.config.context - 3
    stop = next(token for token in whole[3:] if token not in whole[:3])
    assert alone(model, [1, 2, 3], stop_ids=(stop,), most=100) == whole[: whole.index(stop)]
    assert alone(model, [1, 2, 3], most=4) == whole[:4]
    with pytest.raises(ValueError, match="the context holds 48"):
        Batch(model).add([1] * 48, [])
    with pytest.raises(ValueError, match="in fp32 or bf16 on a CPU"):
        Batch(network().double())


def test_log_probabilities_are_those_of_the_network_alone():
    model = network()
    made = Made([1, 2, 3], replace(GREEDY, repetition_penalty=1.5), likeliest=3)
    batch = Batch(model)
    batch.add([1, 2, 3], [made.text])
    finished(batch)
    with torch.no_grad():
        expected = model(torch.tensor([[1, 2, 3, *made.tokens]])).double().log_softmax(-1)[0, 2:-1]
    for choice, row in zip(made.choices, expected, strict=True):
        assert choice.log_probability == pytest.approx(float(row[choice.token]), abs=1e-4)
        assert [token for token, _ in choice.likeliest] == row.topk(3).indices.tolist()
        assert [value for _, value in choice.likeliest] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)
