"""A model as ONNX and as torch's `.pt2` has the logits of this project, step by step with its keys and values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from model import export
from pipeline.cli import main
from tests.model.test_parity import GPT2, LLAMA, varied

BOUND = 1e-4  # of the largest logit
SHAPES = {
    "llama, grouped queries": LLAMA.model_copy(update={"layers": 2, "tie_embeddings": False, "qk_norm": True}),
    "gpt2": GPT2.model_copy(update={"layers": 2}),
}
Step = Callable[..., list[np.ndarray]]


def in_torch(file) -> Step:
    module = torch.export.load(file).module()
    return lambda *given: [found.detach().numpy() for found in module(*map(torch.from_numpy, given))]


def in_onnxruntime(file) -> Step:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    session = onnxruntime.InferenceSession(file)
    return lambda *given: session.run(None, dict(zip(("tokens", "past_keys", "past_values"), given)))


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_the_steps_have_the_logits_of_this_project(config, kind, tmp_path, monkeypatch):
    if kind == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason="the extra `onnx` is not installed")
    network = varied(config)
    export.save(network, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(main, ["export", "tiny", "--format", kind])
    assert run.exit_code == 0 and run.output.startswith(f"tiny.{kind}, "), run.output
    step = {"pt2": in_torch, "onnx": in_onnxruntime}[kind](f"tiny.{kind}")
    text = torch.randint(0, 97, (1, 48), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(text).numpy()
    keys = values = np.zeros((2, 1, network.config.kv_heads, 0, network.config.head_width), np.float32)
    found, at = [], 0
    for size in (20, 1, 1, 9, 1, 16):  # a prompt, tokens, more of a prompt, up to the end of the context
        logits, keys, values = step(text[:, at : at + size].numpy(), keys, values)
        found.append(logits)
        at += size
    assert at == 48 and keys.shape[3] == values.shape[3] == 48
    assert np.abs(np.concatenate(found, 1) - expected).max() < BOUND * np.abs(expected).max()


def test_the_command_says_what_is_missing(tmp_path, monkeypatch):
    export.save(varied(SHAPES["gpt2"]), tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(main, ["export", "tiny", "--format", "pt2", "--type", "f16"])
    assert run.exit_code == 1 and "leave it out" in run.output
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    run = CliRunner().invoke(main, ["export", "tiny", "--format", "onnx"])
    assert run.exit_code == 1 and "pip install -e '.[onnx]'" in run.output
    export.save(varied(LLAMA.model_copy(update={"causal": False})), tmp_path / "both_ways")
    run = CliRunner().invoke(main, ["export", "both_ways", "--format", "onnx"])
    assert run.exit_code == 1 and "has no steps to export" in run.output
