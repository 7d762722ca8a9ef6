"""Saves and loads networks as `model.safetensors` and `config.json`, in Hugging Face's layout if one fits the shape.

This is the only format of a model, so other tools can read all models with such a layout. The layout of a shape:

- `llama`: RMSNorm, rotary positions, a gated feed-forward network. Names and shapes are those of this project.
- `qwen3`: the same with QK-norm, without biases.
- `gpt2`: LayerNorm, learned or sinusoidal positions, not gated, no grouped heads. Matrices are transposed; queries,
  keys and values are concatenated; sinusoids are saved as if learned, and missing biases as zeros. The function is the
  same.
- `slm`: all others, such as bidirectional networks, for which there is no published layout; only this project reads it.

The block `slm` in `config.json` is the exact `ModelConfig`; other tools ignore it. Files from elsewhere lack it, so
their own keys are read. Only safetensors are read, never pickles, which can run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import ModelConfig
from model.files import whole, write_whole
from model.transformer import Transformer

WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"
GATES = {"swiglu": "silu", "geglu": "gelu", "reglu": "relu"}
PLAIN = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu", "relu2": "relu2"}
CLASSES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "gpt2": "GPT2LMHeadModel", "slm": "Transformer"}

# Names of the parts of a GPT-2 block -> ours. GPT-2 stores the matrices transposed.
GPT2_MATRICES = {"attn.c_proj": "self_attn.o_proj", "mlp.c_fc": "mlp.up_proj", "mlp.c_proj": "mlp.down_proj"}
GPT2_NORMS = {"ln_1": "input_layernorm", "ln_2": "post_attention_layernorm"}
QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


def layout(config: ModelConfig) -> str:
    """The layout (Hugging Face's `model_type`) in which a network of this shape is saved."""
    config = config.model_copy(update={"vocab_size": config.vocab_size or 1}).resolved()
    rotary = config.norm == "rms" and config.positions == "rotary" and config.gated and config.causal
    if rotary and not config.qk_norm:
        return "llama"
    if rotary and not config.bias:
        return "qwen3"
    whole_heads = config.kv_heads == config.heads and config.heads * config.head_width == config.width
    plain = config.norm == "layer" and config.positions != "rotary" and not config.gated and not config.qk_norm
    return "gpt2" if plain and whole_heads and config.causal else "slm"


# -- saving ------------------------------------------------------------------------------------------------------------


def save(model: Transformer, directory: str | Path, special_ids: Mapping[str, int] | None = None) -> None:
    """Write `model.safetensors` and `config.json` to `directory`, each atomically, without timestamps.

    special_ids: such as {"bos_token_id": 2, "eos_token_id": 3}, for tools that generate text.
    """
    if any("lora_" in name for name, _ in model.named_parameters()):
        raise ValueError("this network has low-rank additions: merge them before saving it, or save them separately.")
    kind = layout(model.config)
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if kind == "gpt2":
        weights = _to_gpt2(weights, model)
    about = hugging_face_config(model.config) | {"dtype": str(model.output_weight.dtype).removeprefix("torch.")}
    about |= {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None} | dict(special_ids or {})
    directory = Path(directory)
    with whole(directory / WEIGHTS) as unfinished:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, unfinished, {"format": "pt"})
    write_whole(directory / CONFIG, json.dumps(about, indent=2, sort_keys=True) + "\n")


def hugging_face_config(config: ModelConfig) -> dict[str, Any]:
    """The contents of `config.json` for this shape."""
    config = config.resolved()
    kind = layout(config)
    about: dict[str, Any] = {
        "model_type": kind,
        "architectures": [CLASSES[kind]],
        "vocab_size": config.vocab_size,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tie_embeddings,
        "slm": config.model_dump(mode="json"),
    }
    if kind in ("llama", "qwen3"):
        about |= {
            "hidden_size": config.width,
            "intermediate_size": config.ffn,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_width,
            "hidden_act": GATES[config.activation],
            "max_position_embeddings": config.context,
            "rms_norm_eps": config.norm_eps,
            "rope_theta": config.rope_base,  # for transformers 4 and llama.cpp; the next line is for transformers 5
            "rope_parameters": {"rope_theta": config.rope_base, "rope_type": "default"},
            "attention_bias": config.bias,
            "mlp_bias": config.bias,
            "attention_dropout": 0.0,
        }
    elif kind == "gpt2":
        about |= {
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_positions": config.context,
            "n_inner": config.ffn,
            "activation_function": PLAIN[config.activation],
            "layer_norm_epsilon": config.norm_eps,
            "resid_pdrop": config.dropout,
            "embd_pdrop": config.dropout,
            "attn_pdrop": 0.0,
        }
    return about


def _to_gpt2(weights: dict[str, Tensor], model: Transformer) -> dict[str, Tensor]:
    config = model.config

    def bias(name: str) -> Tensor:
        weight = weights[f"{name}.weight"]
        return weights.get(f"{name}.bias", weight.new_zeros(weight.shape[0]))

    positions = weights.get("model.embed_positions.weight")
    if positions is None:
        positions = model.position_table.detach().cpu().to(weights["model.embed_tokens.weight"].dtype)
    converted = {"transformer.wte.weight": weights["model.embed_tokens.weight"], "transformer.wpe.weight": positions}
    for layer in range(config.layers):
        our_block, their_block = f"model.layers.{layer}.", f"transformer.h.{layer}."
        joined = torch.cat([weights[f"{our_block}{name}.weight"] for name in QKV])
        converted[f"{their_block}attn.c_attn.weight"] = joined.t()
        converted[f"{their_block}attn.c_attn.bias"] = torch.cat([bias(our_block + name) for name in QKV])
        for theirs, ours in GPT2_MATRICES.items():
            converted[f"{their_block}{theirs}.weight"] = weights[f"{our_block}{ours}.weight"].t()
            converted[f"{their_block}{theirs}.bias"] = bias(our_block + ours)
        for theirs, ours in GPT2_NORMS.items():
            converted[f"{their_block}{theirs}.weight"] = weights[f"{our_block}{ours}.weight"]
            converted[f"{their_block}{theirs}.bias"] = bias(our_block + ours)
    converted["transformer.ln_f.weight"], converted["transformer.ln_f.bias"] = (
        weights["model.norm.weight"],
        bias("model.norm"),
    )
    if not config.tie_embeddings:
        converted["lm_head.weight"] = weights["lm_head.weight"]
    return converted


# -- loading -----------------------------------------------------------------------------------------------------------


def load(directory: str | Path, dtype: torch.dtype | None = None) -> Transformer:
    """The network in `directory`, on the CPU, for use or training; `dtype` converts its weights.

    Reads files that `save` wrote, and Llama, Qwen3 and GPT-2 models from elsewhere. Raises ValueError, with a sentence,
    for files that are missing, damaged, of another kind, or use unsupported features (such as scaled rotary positions).
    """
    directory = Path(directory)
    config = read_config(directory)
    weights = read_weights(directory)
    if any(".h.0.attn.c_attn." in f".{name}" for name in weights):
        weights = _from_gpt2(weights, config)
    if config.tie_embeddings:
        weights.pop("lm_head.weight", None)  # some tools write the shared matrix twice
    weights = {
        name: tensor for name, tensor in weights.items() if not name.endswith(".rotary_emb.inv_freq")
    }  # old Llamas
    final_dtype = dtype or weights.get("model.embed_tokens.weight", torch.empty(0)).dtype
    with torch.device("meta"):
        model = Transformer(config)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    actual = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | actual.keys()):
        if expected.get(name) != actual.get(name):
            shapes = f"{actual.get(name, 'missing')} in {WEIGHTS}, {expected.get(name, 'unknown')} by {CONFIG}"
            raise ValueError(f"the weights in {directory} do not match {CONFIG}: {name} is {shapes}.")
    model.to_empty(device="cpu").to(final_dtype)
    if model.position_table is not None:
        model.position_table = model.position_table.float()
    model.fill_position_table()
    model.load_state_dict(weights)
    return model


def with_vocabulary(model: Transformer, size: int) -> Transformer:
    """The network with `size` rows in its embedding, at least as many as it has.

    A new row is the mean of all others, in the output matrix too: a new token is then about as likely as an average one
    and takes little from the others (Hewitt 2021, "Initializing new word embeddings for pretrained language models").
    """
    if size == model.config.vocab_size:
        return model
    config = model.config.model_copy(update={"vocab_size": size})
    with torch.device("meta"):
        larger = Transformer(config)
    larger.to_empty(device="cpu").to(model.output_weight.dtype)
    larger.position_table = model.position_table
    weights = {}
    for name, tensor in model.state_dict().items():
        missing = size - len(tensor) if name in ("model.embed_tokens.weight", "lm_head.weight") else 0
        mean = tensor.float().mean(0, keepdim=True).to(tensor.dtype).expand(missing, -1) if missing else None
        weights[name] = tensor if mean is None else torch.cat([tensor, mean])
    larger.load_state_dict(weights)
    return larger


def read_config(directory: Path) -> ModelConfig:
    """The shape of the network in `directory`, from the block `slm` or else from the keys of its kind of model."""
    try:
        about = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no {CONFIG} in {directory}: it is not the folder of a model.") from None
    except ValueError as error:
        raise ValueError(f"{directory / CONFIG} cannot be read as JSON: {error}.") from None
    if "slm" in about:
        return ModelConfig(**about["slm"])
    kind = about.get("model_type")
    if kind in ("llama", "qwen3"):
        return _from_llama_config(about, kind)
    if kind == "gpt2":
        return _from_gpt2_config(about)
    raise ValueError(
        f"models of the kind {kind!r} cannot be loaded: use llama, qwen3, gpt2 or a model of this project."
    )


def _from_llama_config(about: dict[str, Any], kind: str) -> ModelConfig:
    rope = about.get("rope_parameters") or about.get("rope_scaling") or {}
    if (rope.get("rope_type") or rope.get("type") or "default") != "default":
        raise ValueError(f"its rotary positions are scaled ({rope}), which this network does not support.")
    if about.get("use_sliding_window"):
        raise ValueError("its attention uses a sliding window, which this network does not support.")
    bias = bool(about.get("attention_bias", False))
    if kind == "llama" and bias != bool(about.get("mlp_bias", False)):
        raise ValueError("it has biases in some linear layers only, which this network does not support.")
    if kind == "qwen3" and bias:
        raise ValueError("it has biases in its attention only, which this network does not support.")
    fields = {
        "layers": about["num_hidden_layers"],
        "width": about["hidden_size"],
        "heads": about["num_attention_heads"],
        "kv_heads": about.get("num_key_value_heads") or 0,
        "head_width": about.get("head_dim") or (128 if kind == "qwen3" else 0),
        "context": about.get("max_position_embeddings", 2048),
        "vocab_size": about["vocab_size"],
        "ffn": about["intermediate_size"],
        "activation": _named(GATES, about.get("hidden_act", "silu")),
        "norm_eps": about.get("rms_norm_eps", 1e-6),
        "rope_base": about.get("rope_theta") or rope.get("rope_theta") or 10_000.0,
        "bias": bias,
        "tie_embeddings": about.get("tie_word_embeddings", False),
        "qk_norm": kind == "qwen3",
        "init_std": about.get("initializer_range", 0.02),
    }
    return ModelConfig.model_validate(fields)


def _from_gpt2_config(about: dict[str, Any]) -> ModelConfig:
    if not about.get("scale_attn_weights", True) or about.get("scale_attn_by_inverse_layer_idx"):
        raise ValueError("its attention is not scaled as in GPT-2, which this network does not support.")
    fields = {
        "layers": about["n_layer"],
        "width": about["n_embd"],
        "heads": about["n_head"],
        "context": about.get("n_positions", 1024),
        "vocab_size": about["vocab_size"],
        "ffn": about.get("n_inner") or 4 * about["n_embd"],
        "activation": _named(PLAIN, about.get("activation_function", "gelu_new")),
        "norm": "layer",
        "norm_eps": about.get("layer_norm_epsilon", 1e-5),
        "positions": "learned",
        "bias": True,
        "tie_embeddings": about.get("tie_word_embeddings", True),
        "dropout": about.get("resid_pdrop", 0.1),
        "init_std": about.get("initializer_range", 0.02),
    }
    return ModelConfig.model_validate(fields)


def _named(names: dict[str, str], theirs: str) -> Any:
    theirs = {"gelu_pytorch_tanh": "gelu_new", "swish": "silu"}.get(theirs, theirs)
    ours = [name for name, other in names.items() if other == theirs]
    if not ours:
        kinds = "gated" if names is GATES else "plain"
        raise ValueError(
            f"its activation {theirs!r} is not supported; the {kinds} ones that are: {', '.join(names.values())}."
        )
    return ours[0]


def read_weights(directory: Path) -> dict[str, Tensor]:
    """All tensors of `model.safetensors`, or of the files that its index names."""
    names = [WEIGHTS]
    if (directory / INDEX).exists():
        index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        names = sorted({Path(name).name for name in index["weight_map"].values()})
    weights: dict[str, Tensor] = {}
    for name in names:
        if not (directory / name).exists():
            pickled = " Its pickled weights are not read, since they can run code." * any(directory.glob("*.bin"))
            raise ValueError(f"there is no {name} in {directory}: convert the model to safetensors.{pickled}")
        try:
            weights |= load_file(directory / name)
        except Exception as error:  # the library raises its own kind, and OSError
            raise ValueError(f"{directory / name} is damaged or not a safetensors file: {error}.") from error
    return weights


def _from_gpt2(weights: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    theirs = {name.removeprefix("transformer."): tensor for name, tensor in weights.items()}
    ours: dict[str, Tensor] = {}

    def take(their_name: str, our_name: str, transpose: bool = False) -> None:
        for part in ("weight", "bias"):
            tensor = theirs.get(f"{their_name}.{part}")
            if tensor is not None and (part == "weight" or config.bias):
                ours[f"{our_name}.{part}"] = tensor.t().contiguous() if transpose and part == "weight" else tensor

    take("wte", "model.embed_tokens")
    if config.positions == "learned":
        take("wpe", "model.embed_positions")
    for layer in range(config.layers):
        their_block, our_block = f"h.{layer}.", f"model.layers.{layer}."
        for part in ("weight", "bias") if config.bias else ("weight",):
            joined = theirs.get(f"{their_block}attn.c_attn.{part}")
            if joined is not None:
                for name, tensor in zip(QKV, joined.chunk(3, dim=-1), strict=True):
                    ours[f"{our_block}{name}.{part}"] = (
                        tensor.t().contiguous() if part == "weight" else tensor.contiguous()
                    )
        for their_name, our_name in GPT2_MATRICES.items():
            take(their_block + their_name, our_block + our_name, transpose=True)
        for their_name, our_name in GPT2_NORMS.items():
            take(their_block + their_name, our_block + our_name)
    take("ln_f", "model.norm")
    take("lm_head", "lm_head")
    return ours
