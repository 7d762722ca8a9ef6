"""A model as GGUF: what is in the file, what is refused, and where llama.cpp is installed, that it says the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gguf import GGUFReader
from gguf.quants import dequantize

from model import export, gguf_file
from model.config import ModelConfig
from model.generate import generate
from model.serve.text import open_directory
from model.transformer import Transformer
from pipeline.cli import main
from pipeline.tokens import training
from pipeline.tokens.token_settings import TokenizerSettings
from tests.making import context

PROMPTS = ("우리는 문서를", "def dedent(text):\n    ", "The string is  split. 12,345 개", "  if x:\n\n\ty = 'ü 漢'")
SHAPES = {
    "llama": {},
    "grouped": {"kv_heads": 2, "head_width": 24, "tie_embeddings": False, "rope_base": 50_000.0},
    "biased": {"bias": True},
    "qwen3": {"qk_norm": True},
}


@pytest.fixture(scope="module")
def known_pattern(made):
    """A tokenizer of byte pairs that llama.cpp knows."""
    store, curated = made
    settings = TokenizerSettings(kind="bpe", vocab_size=1500, pattern="llama-bpe")
    return training.make(context(store), {"curated_documents": curated}, settings)


@pytest.fixture
def saved(artifacts, known_pattern, tmp_path):
    def save(tokenizer: str = "sentencepiece", **changes):
        artifact = known_pattern if tokenizer == "llama-bpe" else artifacts[tokenizer]
        torch.manual_seed(0)
        shape = {
            "layers": 2,
            "width": 64,
            "heads": 4,
            "context": 256,
            "vocab_size": 1500 if tokenizer != "unigram" else 1000,
        }
        network = Transformer(ModelConfig(**shape | changes))
        for name, parameter in network.named_parameters():  # sharper than at the start, so that answers differ
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3 if "embed" in name else 0.15)
            elif name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
        directory = tmp_path / "model"
        export.save(network, directory, {"eos_token_id": 3})
        training.copy_files(artifact, directory)
        return directory

    return save


@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_holds_the_network_exactly(saved, tmp_path, shape):
    directory = saved(**SHAPES[shape])
    reader = GGUFReader(gguf_file.write(directory, tmp_path / "m.gguf", "f32"))
    fields = {name: field.contents() for name, field in reader.fields.items()}
    kind = "qwen3" if shape == "qwen3" else "llama"
    assert fields["general.architecture"] == kind and fields[f"{kind}.block_count"] == 2
    assert fields[f"{kind}.attention.head_count_kv"] == SHAPES[shape].get("kv_heads", 4)
    network = export.load(directory)
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    assert sum(tensor.size for tensor in tensors.values()) == sum(p.numel() for p in network.parameters())
    weights = network.state_dict()
    same = {"blk.1.attn_v.weight": "self_attn.v_proj.weight", "blk.1.ffn_down.weight": "mlp.down_proj.weight"}
    for theirs, ours in same.items():
        assert np.array_equal(tensors[theirs], weights[f"model.layers.1.{ours}"].numpy())
    queries, turned = weights["model.layers.1.self_attn.q_proj.weight"].numpy(), tensors["blk.1.attn_q.weight"]
    assert np.array_equal(np.sort(queries, 0), np.sort(turned, 0))
    assert np.array_equal(queries, turned) == (kind == "qwen3")
    assert ("output.weight" in tensors) != network.config.tie_embeddings


@pytest.mark.parametrize("form", gguf_file.FORMATS)
def test_the_file_is_the_same_each_time_and_as_exact_as_its_format(saved, tmp_path, form):
    directory = saved()
    first = gguf_file.write(directory, tmp_path / "a.gguf", form, "tiny")
    assert first.read_bytes() == gguf_file.write(directory, tmp_path / "b.gguf", form, "tiny").read_bytes()
    tensor = next(tensor for tensor in GGUFReader(first).tensors if tensor.name == "blk.0.ffn_up.weight")
    exact = export.load(directory).state_dict()["model.layers.0.mlp.up_proj.weight"].numpy()
    bounds = {"f32": 0, "f16": 1e-3, "bf16": 5e-3, "q8_0": 1e-2, "q5_1": 0.06, "q5_0": 0.06, "q4_1": 0.1, "q4_0": 0.12}
    error = np.abs(dequantize(tensor.data, tensor.tensor_type) - exact).max() / np.abs(exact).max()
    assert error <= bounds[form], error
    if form.startswith("q"):
        assert tensor.n_bytes < exact.nbytes / 3


def test_rows_that_do_not_fill_blocks_stay_in_f16(saved, tmp_path):
    directory = saved(width=48, heads=2)
    reader = GGUFReader(gguf_file.write(directory, tmp_path / "m.gguf", "q8_0"))
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.0.attn_q.weight"] == "F16" and kinds["blk.0.ffn_down.weight"] == "Q8_0"
    assert kinds["blk.0.attn_norm.weight"] == "F32"


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "llama-bpe"])
def test_the_tokenizer_is_in_the_file(saved, tmp_path, tokenizer):
    directory = saved(tokenizer)
    fields = {n: f.contents() for n, f in GGUFReader(gguf_file.write(directory, tmp_path / "m.gguf")).fields.items()}
    model = open_directory(directory)
    tokens = fields["tokenizer.ggml.tokens"]
    assert len(tokens) == model.network.config.vocab_size
    assert fields["tokenizer.ggml.eot_token_id"] == model.special["<|im_end|>"] == tokens.index("<|im_end|>")
    assert fields["tokenizer.ggml.bos_token_id"] == model.before_document[0]
    assert fields["tokenizer.ggml.token_type"][model.special["<|im_start|>"]] == gguf_file.CONTROL
    assert fields["tokenizer.ggml.model"] == ("llama" if tokenizer == "sentencepiece" else "gpt2")
    assert "{% generation %}" not in fields["tokenizer.chat_template"]


@pytest.mark.parametrize(
    ("tokenizer", "changes", "words"),
    [
        ("unigram", {}, "algorithm: bpe"),
        ("bpe", {}, "pattern: llama-bpe"),
        ("sentencepiece", {"activation": "geglu"}, "geglu"),
        ("sentencepiece", {"norm": "layer", "positions": "learned", "activation": "gelu"}, "'gpt2'"),
        ("sentencepiece", {"causal": False}, "causal: true"),
    ],
)
def test_what_llama_cpp_does_not_have_is_refused_and_nothing_is_written(saved, tmp_path, tokenizer, changes, words):
    directory = saved(tokenizer, **changes)
    with pytest.raises(ValueError, match=words):
        gguf_file.write(directory, tmp_path / "m.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_command_writes_the_file_and_what_ollama_needs(saved, tmp_path):
    directory = saved()
    out = tmp_path / "tiny.gguf"
    run = CliRunner().invoke(main, ["export", str(directory), "--type", "q8_0", "--out", str(out)])
    assert run.exit_code == 0 and str(out) in run.output, run.output
    lines = (tmp_path / "Modelfile").read_text()
    assert lines.startswith("FROM ./tiny.gguf\n") and "num_ctx 256" in lines and "<|im_start|>" in lines
    run = CliRunner().invoke(main, ["export", str(directory), "--type", "q3_k", "--out", str(out)])
    assert run.exit_code == 1 and "q8_0" in run.output and "Traceback" not in run.output
    manifest = {"asset": "pretrained_model"}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    assert CliRunner().invoke(main, ["export", str(directory), "--out", str(out)]).exit_code == 0
    assert "{{ .Prompt }}" in (tmp_path / "Modelfile").read_text(), "it only continues text"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tokenizer", ["sentencepiece", "llama-bpe"])
def test_llama_cpp_says_the_same(saved, tmp_path, tokenizer, shape):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    directory = saved(tokenizer, **SHAPES[shape])
    file = gguf_file.write(directory, tmp_path / "m.gguf", "f32")
    cache = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}  # by default it is in F16
    theirs = llama_cpp.Llama(str(file), n_ctx=256, n_threads=1, verbose=False, **cache)
    ours = open_directory(directory)
    for prompt in PROMPTS:
        ids = [*ours.before_document, *ours.encode(prompt)]
        assert theirs.tokenize(prompt.encode(), add_bos=False, special=False) == ours.encode(prompt), prompt
        expected = list(generate(ours.network, ids, 128, stop_ids=()))
        theirs.reset()
        found = []
        for token in theirs.generate(ids, temp=0.0, repeat_penalty=1.0):
            found.append(token)
            if len(found) == len(expected):
                break
        assert found == expected, prompt
