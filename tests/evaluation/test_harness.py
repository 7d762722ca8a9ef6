"""The adapter for lm-evaluation-harness: its requests against transformers, and the harness itself where it is."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from model import export
from pipeline.errors import UserError
from pipeline.evaluation.harness import NAME, Requests, cut, register
from pipeline.training import kept_weights
from tests.evaluation.conftest import WORDS

PAIRS = [
    ("the quick brown", " fox"), ("the quick brown", " dog"), ("", "다시 또"), ("빠른 갈색 ", "여우가"),
    ("the", " lazy dog"), ("the quick brown", " fox"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(made):
    return made.inputs["model"].local_directory()


@pytest.fixture(scope="module")
def asked(folder):
    return Requests.of(str(folder))


@pytest.fixture(scope="module")
def theirs(folder):
    transformers = pytest.importorskip("transformers")
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return network, transformers.AutoTokenizer.from_pretrained(folder)


def ids_of(theirs, text):
    return theirs[1](text, add_special_tokens=False)["input_ids"]


def log_p_of(theirs, ids):
    with torch.inference_mode():
        return theirs[0](torch.tensor([ids])).logits[0].log_softmax(-1)


def test_log_likelihoods_are_those_of_transformers(asked, theirs):
    found = asked.log_likelihoods(PAIRS)
    assert found[0] == found[-1]
    for (context, continuation), (likelihood, greedy) in zip(PAIRS, found, strict=True):
        whole = ids_of(theirs, context + continuation)
        start = len(ids_of(theirs, context.rstrip()))
        if not start:
            whole, start = [asked.tokenizer.ids["<eos>"], *whole], 1
        log_p = log_p_of(theirs, whole)
        assert likelihood == pytest.approx(
            sum(float(log_p[i - 1, whole[i]]) for i in range(start, len(whole))), abs=1e-4
        )
        assert greedy == all(int(log_p[i - 1].argmax()) == whole[i] for i in range(start, len(whole)))


def test_a_long_text_is_cut_as_the_harness_cuts_it(asked, theirs):
    text = " ".join(WORDS[i % len(WORDS)] for i in range(120))
    ids, size = ids_of(theirs, text), asked.network.config.context
    assert len(ids) > 2 * size
    # The harness (utils.get_rolling_token_windows): a first window after the prefix, then full contexts.
    windows = [([asked.tokenizer.ids["<eos>"], *ids[: size - 1]], ids[:size])]
    done = size
    while done < len(ids):
        end = min(done + size, len(ids))
        windows.append((ids[end - size - 1 : end - 1], ids[done:end]))
        done = end
    total = 0.0
    for given, predicted in windows:
        log_p = log_p_of(theirs, given)[-len(predicted) :]
        total += sum(float(row[token]) for row, token in zip(log_p, predicted, strict=True))
    long, short, empty = asked.rolling([text, "the fox", ""])
    assert long == pytest.approx(total, abs=1e-3) and empty == 0.0
    assert short == pytest.approx(asked.log_likelihoods([("", "the fox")])[0][0], abs=1e-4)


def test_continuations_are_greedy_and_end_where_the_task_says(asked):
    ids = [int(i) for i in asked.tokenizer.encode(["the quick"])[0]]
    for _ in range(8):
        with torch.inference_mode():
            logits = asked.network.logits(asked.network.hidden(torch.tensor([ids])))[0, -1]
        if int(logits.argmax()) == asked.tokenizer.ids["<eos>"]:
            break
        ids.append(int(logits.argmax()))
    expected = asked.tokenizer.decode(ids[len(asked.tokenizer.encode(["the quick"])[0]) :])
    whole, ended, other = asked.continuations([
        ("the quick", {"until": [], "max_gen_toks": 8}),
        ("the quick", {"until": [expected[1:3]], "max_gen_toks": 8}),
        ("the quick", {"until": "\n\n", "do_sample": True, "temperature": 1.0, "max_gen_toks": 8}),
    ])  # fmt: skip
    assert whole == expected and ended == cut(expected, [expected[1:3]]) and len(ended) < len(whole)
    assert isinstance(other, str)


def test_kept_weights_can_be_asked(folder, asked, tmp_path):
    for file in folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    network = export.load(folder)
    kept_weights.write({name: p.detach() * 0.5 for name, p in network.named_parameters()}, tmp_path, 40)
    earlier = Requests.of(str(tmp_path), kept=40).log_likelihoods(PAIRS)
    assert not np.allclose([a for a, _ in earlier], [a for a, _ in asked.log_likelihoods(PAIRS)])
    with pytest.raises(UserError, match=r"no kept weights of step 7: it has those of 40\."):
        Requests.of(str(tmp_path), kept=7)


def test_without_lm_eval_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.api.model", None)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(UserError, match="pip install lm-eval"):
        register()


# What the harness's own `hf` model (lm_eval 0.4.13) found on this model; benchmarks/adapter_vs_harness.py asks again.
RECORDED = [-11.417904, -11.362277, -34.496223, -51.023487, -28.203405, -11.417904]


def test_log_likelihoods_are_those_that_the_harness_found(asked):
    found = [likelihood for likelihood, _ in asked.log_likelihoods(PAIRS)]
    assert found == pytest.approx(RECORDED, abs=1e-3)


def test_the_harness_runs_on_it(folder):
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.api.registry import get_model

    register()
    model = get_model(NAME).create_from_arg_string(f"path={folder}")
    asked = [Instance("loglikelihood", {}, pair, 0) for pair in PAIRS]
    assert [likelihood for likelihood, _ in model.loglikelihood(asked)] == pytest.approx(RECORDED, abs=1e-3)
    assert all(math.isfinite(value) for value in model.loglikelihood_rolling([Instance("x", {}, ("the fox",), 0)]))
