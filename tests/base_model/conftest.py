"""Tiny models as transformers saves them, with a tokenizer of their own kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.store.store import Store
from tests.ingest.hub import Hub, running_hub

transformers = pytest.importorskip("transformers")

TEXT = [
    "the cat sat on the mat",
    "고양이가 잠을 잔다",
    "def f(x): return x + 1",
    "say yes, say no",
] * 20
LLAMA = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 96,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SLM_TRACKING", "off")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", "test")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield running


def tokenizer(specials: list[str], start: str | None = None, **roles: str):
    """Byte-level BPE of 290 tokens with these special ones at its end, which puts `start` before every text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, show_progress=False))
    made.add_special_tokens(specials)
    if start is not None:
        number = made.token_to_id(start)
        made.post_processor = processors.TemplateProcessing(single=f"{start} $A", special_tokens=[(start, number)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def randomised(network):
    """Their network with random norms and biases: fresh ones are ones and zeros, which hide mistakes."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network.eval()


def llama(**changes):
    torch.manual_seed(1)
    return randomised(transformers.LlamaForCausalLM(transformers.LlamaConfig(**(LLAMA | changes))))


def qwen3(**changes):
    torch.manual_seed(2)
    return randomised(transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**(LLAMA | {"head_dim": 8} | changes))))


def gpt2(**changes):
    torch.manual_seed(3)
    shape = {"vocab_size": 291, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96, "attn_pdrop": 0.0}
    return randomised(transformers.GPT2LMHeadModel(transformers.GPT2Config(**(shape | changes))))


# By layout: the network, its tokenizer, the token that starts a document, and the rows that are missing.
# Llama's embedding has spare rows; GPT-2's has exactly one for each token, so that two are added.
MODELS = {
    "llama": (
        llama,
        lambda: tokenizer(["<s>", "</s>"], start="<s>", bos_token="<s>", eos_token="</s>"),
        ("<s>", 0),
    ),
    "qwen3": (
        qwen3,
        lambda: tokenizer(
            ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>"
        ),
        ("<|endoftext|>", 0),
    ),
    "gpt2": (
        gpt2,
        lambda: tokenizer(["<|endoftext|>"], bos_token="<|endoftext|>", eos_token="<|endoftext|>"),
        ("<|endoftext|>", 2),
    ),
}


@pytest.fixture
def saved(tmp_path: Path):
    """A function that saves a model of a layout with its tokenizer and README; returns its folder."""

    def save(kind: str, **changes) -> Path:
        folder = tmp_path / "downloaded" / kind
        network, made, _ = MODELS[kind]
        network(**changes).save_pretrained(folder)
        made().save_pretrained(folder)
        (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: en\n---\n# A model\n")
        (folder / "LICENSE").write_text("Apache License, version 2.0")
        return folder

    return save


def changed(folder: Path, name: str, **values: object) -> None:
    """Change keys of a JSON file."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
