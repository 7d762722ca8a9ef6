"""llama.cpp in place of torch: the same tokens, alone and together; and batches with room for few texts."""

from __future__ import annotations

import gc
import sys

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from model import batch, export, llama
from model.decoding_together import Together
from model.generate import generate
from model.llama import attach, attached, installed
from model.sampling import Sampling
from model.serve import server
from model.serve.text import open_directory
from pipeline.cli import main
from tests.model.test_batch import PROMPTS, Made, alone, finished
from tests.model.test_decoding import SHAPES, network
from tests.model.test_serve import ANSWER, ask, directory  # noqa: F401  the fixture

needs_llama = pytest.mark.skipif(not installed(), reason="llama-cpp-python is not installed (the extra `llama`)")


@pytest.fixture
def both(tmp_path):
    """A network as torch computes it, and as llama.cpp does."""
    pytest.importorskip("gguf")
    ours = network(kv_heads=2, context=64)
    export.save(ours, tmp_path)
    return ours, attach(export.load(tmp_path).eval(), tmp_path, "f32", sequences=4)


@needs_llama
def test_greedy_and_sampled_texts_are_those_of_torch(both):
    ours, theirs = both
    assert attached(ours) is None and attached(theirs) is not None
    for sampling in (Sampling(temperature=0), Sampling(temperature=1, seed=3, repetition_penalty=1.2)):
        for prompt in PROMPTS:
            assert list(generate(theirs, prompt, 30, sampling)) == list(generate(ours, prompt, 30, sampling))


@needs_llama
def test_a_prompt_longer_than_a_piece_is_read_whole(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    ours = network(context=64)
    export.save(ours, tmp_path)
    monkeypatch.setattr(llama, "PIECE", 7)
    theirs = attach(export.load(tmp_path).eval(), tmp_path, "f32", sequences=2)
    prompt = [number % 30 for number in range(40)]
    assert list(generate(theirs, prompt, 10)) == list(generate(ours, prompt, 10))


@needs_llama
def test_texts_together_have_the_tokens_of_each_alone_with_guesses_and_in_turns(both):
    ours, theirs = both
    repeated = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3]  # so that there is something to guess
    prompts = [*PROMPTS, repeated]
    running, made = batch.Batch(theirs), [Made(prompt) for prompt in prompts]
    for prompt, one in zip(prompts, made):
        running.add(prompt, [one.text])
    finished(running)
    assert [one.tokens for one in made] == [alone(ours, prompt) for prompt in prompts]
    del running
    gc.collect()
    held = attached(theirs)
    assert held is not None and sorted(held.free) == [0, 1, 2, 3], "every place was given up"
    several = [Made([5], sampling=Sampling(temperature=1, seed=seed)) for seed in range(3)]
    again = batch.Batch(theirs)
    again.add([5], [one.text for one in several])
    finished(again)
    assert [one.tokens for one in several] == [
        alone(ours, [5], sampling=Sampling(temperature=1, seed=seed)) for seed in range(3)
    ]
    with pytest.raises(ValueError, match="at most"):
        again.add([5], [Made([5]).text for _ in range(4)])


@needs_llama
def test_a_network_that_llama_does_not_have_is_refused(tmp_path):
    pytest.importorskip("gguf")
    export.save(network(**SHAPES["GPT-2's"]), tmp_path)
    with pytest.raises(ValueError, match="no network like this"):
        attach(export.load(tmp_path), tmp_path, "f32")


class Narrow(Together):
    """torch with room for two texts."""

    def __init__(self, network):
        super().__init__(network)
        self.most = []

    def fits(self, texts: int) -> bool:
        if texts > 3:
            raise ValueError("at most 2 texts at once")
        return len(self.running.rows) + texts <= 3

    def step(self, texts, runs):
        self.most.append(len(texts))
        return super().step(texts, runs)


def test_texts_wait_until_there_is_room():
    model = network()
    running = batch.Batch(model)
    narrow = Narrow(model)
    narrow.running = running
    running.computes = narrow
    made = [Made(prompt, most=3 + number) for number, prompt in enumerate(PROMPTS)]
    for prompt, one in zip(PROMPTS, made):
        running.add(prompt, [one.text])
    finished(running)
    assert max(narrow.most) == 2
    assert [one.tokens for one in made] == [alone(model, prompt, most=3 + n) for n, prompt in enumerate(PROMPTS)]
    with pytest.raises(ValueError, match="at most"):
        running.add([1], [Made([1]).text for _ in range(3)])


def test_a_command_says_what_is_missing_and_by_default_takes_what_is_there(directory, monkeypatch):  # noqa: F811
    given = ["generate", "안녕", "--model", str(directory), "--temperature", "0", "--weights", "fp32"]
    assert CliRunner().invoke(main, given).output == f"{ANSWER}\n"
    monkeypatch.setitem(sys.modules, "llama_cpp", None)  # as if it were not installed
    missing = CliRunner().invoke(main, [*given, "--backend", "llama.cpp"])
    assert missing.exit_code == 1 and "pip install" in missing.output and "--backend torch" in missing.output
    monkeypatch.setattr(llama, "installed", lambda: True)  # but it cannot be loaded
    assert CliRunner().invoke(main, given).output == f"{ANSWER}\n"


@needs_llama
def test_the_server_answers_by_llama_and_refuses_more_texts_than_it_has_room_for(directory):  # noqa: F811
    pytest.importorskip("gguf")
    model = open_directory(directory)
    attach(model.network, directory, "f32", sequences=3)
    client = TestClient(server.application({"tiny": model}), raise_server_exceptions=False)
    body = client.post("/v1/chat/completions", json=ask(n=2)).json()
    assert [choice["message"]["content"] for choice in body["choices"]] == [ANSWER] * 2
    refused = client.post("/v1/chat/completions", json=ask(n=3))
    assert refused.status_code == 400 and "at most 2 texts" in refused.json()["error"]["message"]
