"""The network gives what the published implementations give, and saves what they read: weight by weight, both ways."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import export
from model.config import ModelConfig
from model.transformer import Transformer

transformers = pytest.importorskip("transformers")

BOUND = 1e-4
LLAMA = ModelConfig(layers=3, width=64, heads=8, kv_heads=2, context=48, vocab_size=97, ffn=112)
GPT2 = LLAMA.model_copy(
    update={
        "norm": "layer", "norm_eps": 1e-2, "positions": "learned", "activation": "gelu_tanh", "bias": True,
        "kv_heads": 0, "ffn": 0,
    }
)  # fmt: skip


def varied(config: ModelConfig, seed: int = 0) -> Transformer:
    """A network whose every parameter, norms and biases included, is random, so that none can be left out unseen."""
    torch.manual_seed(seed)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def tokens(seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(seed))


SHAPES = {
    "llama, grouped queries": LLAMA,
    "llama, one key head, untied": LLAMA.model_copy(update={"kv_heads": 1, "tie_embeddings": False}),
    "llama, biases, wide heads, GELU gate": LLAMA.model_copy(
        update={"bias": True, "head_width": 16, "activation": "geglu", "rope_base": 500.0, "norm_eps": 1e-3}
    ),
    "qwen3, QK-norm, ReLU gate": LLAMA.model_copy(update={"qk_norm": True, "activation": "reglu"}),
    "gpt2": GPT2,
    "gpt2, untied, exact GELU, no biases": GPT2.model_copy(
        update={"bias": False, "tie_embeddings": False, "activation": "gelu"}
    ),
    "gpt2, sinusoidal positions, squared ReLU": GPT2.model_copy(
        update={"positions": "sinusoidal", "activation": "relu2", "init_std": 0.5}
    ),
    "gpt2, ReLU": GPT2.model_copy(update={"activation": "relu"}),
    "gpt2, SiLU": GPT2.model_copy(update={"activation": "silu"}),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
def test_what_is_saved_is_the_same_network_in_transformers(config, tmp_path):
    model = varied(config)
    export.save(model, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == export.CLASSES[export.layout(config)]
    with torch.no_grad():
        expected = model(tokens())
        assert (theirs(tokens()).logits - expected).abs().max() < BOUND
        assert expected.abs().max() > 1  # the logits are large enough for the bound to mean something
    again = export.load(tmp_path)
    assert again.config == model.config
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name


def randomised(theirs):
    """Their network with random norms and biases: fresh ones are ones and zeros, which hide mistakes."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return theirs.eval()


def foreign_llama(**changes):
    given = {
        "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 48, "rms_norm_eps": 1e-4, "tie_word_embeddings": False,
        "rope_parameters": {"rope_theta": 7000.0, "rope_type": "default"},
    }  # fmt: skip
    torch.manual_seed(3)
    return randomised(transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**given, **changes})))


def foreign_gpt2(**changes):
    given = {"vocab_size": 97, "n_embd": 48, "n_layer": 2, "n_head": 3, "n_positions": 48, "attn_pdrop": 0.0}
    torch.manual_seed(3)
    return randomised(transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**given, **changes})))


@pytest.mark.parametrize(
    "theirs",
    [foreign_llama(), foreign_llama(tie_word_embeddings=True, head_dim=24), foreign_gpt2(), foreign_gpt2(n_inner=80)],
    ids=["llama", "llama tied, wide heads", "gpt2", "gpt2 narrow"],
)
def test_what_transformers_saves_is_the_same_network_here(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    model = export.load(tmp_path).eval()
    with torch.no_grad():
        assert (theirs(tokens()).logits - model(tokens())).abs().max() < BOUND


def test_gradients_are_theirs():
    """The hand-written derivatives, all through the network, against autograd's through theirs."""
    theirs = foreign_llama(tie_word_embeddings=True)
    config = export._from_llama_config(theirs.config.to_dict(), "llama")
    model = Transformer(config)
    model.load_state_dict({k: v for k, v in theirs.state_dict().items() if k != "lm_head.weight"})
    text = tokens()
    theirs.train()
    theirs(input_ids=text, labels=text).loss.backward()
    total, count = model.loss(text[:, :-1], text[:, 1:])
    (total / count).backward()
    for name, parameter in theirs.named_parameters():
        ours = model.get_parameter(name).grad
        assert (parameter.grad - ours).abs().max() < 1e-5 * max(1.0, float(parameter.grad.abs().max())), name


def test_a_model_in_parts_is_read(tmp_path):
    foreign_llama().save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert export.load(tmp_path).parameters_count() == sum(p.numel() for p in foreign_llama().parameters())


def test_a_shape_without_a_layout_there_is_saved_as_ours(tmp_path):
    config = LLAMA.model_copy(update={"causal": False, "norm": "layer"})
    model = varied(config)
    export.save(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "slm"
    again = export.load(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(tokens()), model(tokens()))


def test_saving_twice_gives_the_same_bytes(tmp_path):
    export.save(varied(GPT2), tmp_path / "a", {"eos_token_id": 3})
    export.save(varied(GPT2), tmp_path / "b", {"eos_token_id": 3})
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "a" / "config.json").read_text())["eos_token_id"] == 3


def test_lower_precision_is_kept_and_can_be_asked_for(tmp_path):
    export.save(varied(LLAMA).bfloat16(), tmp_path)
    assert export.load(tmp_path).output_weight.dtype == torch.bfloat16
    model = export.load(tmp_path, torch.float32)
    assert model.output_weight.dtype == torch.float32 and model.position_table.dtype == torch.float32
    half = export.load(tmp_path)
    assert half.position_table.dtype == torch.float32
    with torch.no_grad():
        assert half(tokens()).dtype == torch.bfloat16
        assert (half(tokens()).float() - model(tokens())).abs().mean() < 0.15


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "no config.json"),
        (lambda d: (d / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda d: (d / "model.safetensors").write_bytes(b"short"), "damaged"),
        (lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"), "pickled weights"),
        (lambda d: change(d, "model_type", "mamba"), "'mamba'"),
        (lambda d: change(d, "rope_parameters", {"rope_type": "llama3", "factor": 8.0}), "scaled"),
        (lambda d: change(d, "mlp_bias", True), "biases in some"),
        (lambda d: change(d, "hidden_act", "tanh"), "'tanh'"),
        (lambda d: change(d, "intermediate_size", 100), "down_proj.weight is"),
        (lambda d: drop_weight(d, "model.norm.weight"), "model.norm.weight is missing"),
    ],
)
def test_what_cannot_be_loaded_is_reported_in_one_sentence(spoil, message, tmp_path):
    foreign_llama().save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        export.load(tmp_path)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def change(directory, key, value):
    about = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(about | {key: value}))


def drop_weight(directory, name):
    weights = load_file(directory / "model.safetensors")
    del weights[name]
    save_file(weights, directory / "model.safetensors")
