"""The folder of a model generates the same tokens here and in transformers: greedy, with a penalty, and with beams."""

from __future__ import annotations

import pytest
import torch

from model import export
from model.beams import beam_search
from model.decoding import arrange
from model.generate import generate
from model.sampling import Sampling
from tests.model.test_parity import GPT2, LLAMA, varied

transformers = pytest.importorskip("transformers")

MOST = 16
PROMPTS = [[1, 2, 3, 4, 5], [60, 7, 60, 7, 60], [42]]


@pytest.fixture(scope="module", params=[LLAMA, LLAMA.model_copy(update={"qk_norm": True}), GPT2])
def both(request, tmp_path_factory):
    """(this project's network, transformers' of the folder that was saved)"""
    folder = tmp_path_factory.mktemp("model")
    export.save(varied(request.param), folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return arrange(export.load(folder)), theirs


def in_transformers(model, prompt, **settings) -> list[int]:
    ids = torch.tensor([prompt])
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=MOST, do_sample=False, pad_token_id=0, **settings
    )
    return made[0, len(prompt) :].tolist()


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.8])
def test_greedy_tokens_are_the_same_with_the_same_penalty(both, penalty):
    ours, theirs = both
    found = [list(generate(ours, prompt, MOST, Sampling(0.0, repetition_penalty=penalty))) for prompt in PROMPTS]
    expected = [in_transformers(theirs, prompt, repetition_penalty=penalty, eos_token_id=None) for prompt in PROMPTS]
    assert found == expected and len({token for text in found for token in text}) > 3


@pytest.mark.parametrize(("beams", "length_penalty"), [(2, 1.0), (4, 0.0), (3, 2.0)])
def test_beam_search_finds_the_same_text(both, beams, length_penalty):
    ours, theirs = both
    for prompt in PROMPTS[:2]:
        plain = in_transformers(theirs, prompt, eos_token_id=None, num_beams=beams, length_penalty=length_penalty)
        assert list(beam_search(ours, prompt, MOST, beams, length_penalty)[0].tokens) == plain
        stop = plain[len(plain) // 2]  # a token that ends some of the texts
        ended = in_transformers(theirs, prompt, eos_token_id=stop, num_beams=beams, length_penalty=length_penalty)
        found = list(beam_search(ours, prompt, MOST, beams, length_penalty, {stop})[0].tokens)
        assert found == (ended[: ended.index(stop)] if stop in ended else ended)


def test_scores_are_log_probabilities_over_the_length(both):
    ours, _ = both
    for found in beam_search(ours, [1, 2, 3], 6, 3):
        ids = torch.tensor([[1, 2, 3, *found.tokens]])
        with torch.no_grad():
            log_p = ours(ids[:, :-1]).log_softmax(-1)[0].gather(-1, ids[0, 1:, None])[2:].mean()
        assert found.score == pytest.approx(float(log_p), abs=1e-4)
    with pytest.raises(ValueError, match="not 0"):
        beam_search(ours, [1], 3, 0)
    with pytest.raises(ValueError, match="has no tokens"):
        beam_search(ours, [], 3)
