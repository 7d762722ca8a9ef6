"""A model as one GGUF file, for llama.cpp, Ollama, LM Studio and what else is built on ggml.

Llama's and Qwen3's layouts (`export.layout`) have a counterpart there; the others are refused by name. The tokenizer is
in the file: SentencePiece's BPE, which llama.cpp merges as SentencePiece does, and byte-level BPE whose pattern
llama.cpp knows by name. The file is the same for the same model: it holds no time and no path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from model.config import ModelConfig
from model.conversation import END, TEMPLATE
from model.export import layout, load
from model.files import whole, write_whole
from model.patterns import PATTERNS

if TYPE_CHECKING:
    from gguf import GGUFWriter

# Formats of the matrices that Python's gguf can write. Norms and biases stay in F32.
FORMATS = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
BLOCK = 32  # numbers of a row that share a scale; a matrix whose rows are no multiple of it is kept in F16
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # kinds of tokens (gguf.TokenType)

BLOCKS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def write(
    directory: str | Path,
    file: str | Path,
    form: str = "f16",
    name: str = "",
    answers: bool = True,
    with_tokenizer: bool = True,
) -> Path:
    """Write the model in `directory` to `file`, and `Modelfile` for Ollama beside it; returns the file.

    form: one of FORMATS, of the matrices. name: the model's name in the file; default: the folder's. answers: whether
    it was taught to, so that Ollama puts what one says into the form of a conversation. with_tokenizer: False for a
    program that has ids. Raises ValueError for a network or a tokenizer that llama.cpp does not have, and ImportError
    without the package gguf.
    """
    from gguf import GGUFWriter

    directory, file = Path(directory), Path(file)
    if form not in FORMATS:
        raise ValueError(f"there is no format {form!r}: use one of {', '.join(FORMATS)}.")
    model = load(directory)
    architecture = _architecture(model.config)
    with whole(file) as unfinished:
        writer = GGUFWriter(unfinished, architecture)
        _describe(writer, model.config, name or directory.resolve().name, form)
        if with_tokenizer:
            about = json.loads((directory / "config.json").read_text(encoding="utf-8"))
            _add_tokenizer(writer, directory, about)
        else:
            writer.add_tokenizer_model("no_vocab")
        for theirs, tensor in _tensors(model.state_dict(), model.config, architecture):
            _add(writer, theirs, tensor, form)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    write_whole(file.with_name("Modelfile"), modelfile(file.name, model.config.context, answers))
    return file


def _architecture(config: ModelConfig) -> str:
    kind = layout(config)
    if kind not in ("llama", "qwen3"):
        raise ValueError(
            f"llama.cpp has no network like this one (its layout is {kind!r}): GGUF takes `norm: rms`,"
            " `positions: rotary`, `activation: swiglu`, `causal: true`, and `qk_norm` only without `bias`."
        )
    if config.activation != "swiglu":
        raise ValueError(
            f"llama.cpp computes this network with swiglu, not with {config.activation}: it cannot be exported."
        )
    return kind


def _describe(writer: GGUFWriter, config: ModelConfig, name: str, form: str) -> None:
    from gguf import LlamaFileType

    kinds = {"f32": "ALL_F32", **{one: f"MOSTLY_{one.upper()}" for one in FORMATS[1:]}}
    writer.add_name(name)
    writer.add_file_type(LlamaFileType[kinds[form]])
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _tensors(weights: dict[str, Tensor], config: ModelConfig, architecture: str) -> list[tuple[str, np.ndarray]]:
    """(llama.cpp's name, tensor in F32) of each tensor, in llama.cpp's order of names."""
    found = []
    for ours, tensor in weights.items():
        module, _, part = ours.rpartition(".")
        values = tensor.detach().float().numpy()
        if module in OUTSIDE:
            found.append((f"{OUTSIDE[module]}.{part}", values))
            continue
        _, _, layer, inner = module.split(".", 3)
        # In llama.cpp's Llama, the two halves of a pair that is turned stand side by side; in its Qwen3 they don't.
        heads = {"self_attn.q_proj": config.heads, "self_attn.k_proj": config.kv_heads}.get(inner)
        if architecture == "llama" and heads:
            values = _side_by_side(values, heads)
        found.append((f"blk.{layer}.{BLOCKS[inner]}.{part}", values))
    return found


def _side_by_side(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head in the order 0, h/2, 1, h/2 + 1, … (Su et al. 2021, against the halves of GPT-NeoX)."""
    half = values.shape[0] // heads // 2
    turned = values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(turned.reshape(values.shape))


def _add(writer: GGUFWriter, name: str, values: np.ndarray, form: str) -> None:
    from gguf import GGMLQuantizationType, quants

    if values.ndim == 1 or form == "f32":
        writer.add_tensor(name, values)
        return
    if form.startswith("q") and values.shape[-1] % BLOCK:
        form = "f16"
    kind = GGMLQuantizationType[form.upper()]
    if form == "f16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)


# -- the tokenizer -----------------------------------------------------------------------------------------------------


def _add_tokenizer(writer: GGUFWriter, directory: Path, about: dict[str, Any]) -> None:
    tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
    if (directory / "tokenizer.model").exists():
        _add_sentencepiece(writer, directory / "tokenizer.model", tokenizer)
    else:
        _add_byte_pairs(writer, tokenizer, about["vocab_size"])
    specials = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    # A document begins after the token that ended the one before.
    writer.add_bos_token_id(specials.get("<eos>", about.get("bos_token_id") or 0))
    ends = about.get("eos_token_id")
    writer.add_eos_token_id(ends[0] if isinstance(ends, list) else specials.get("<eos>", 0) if ends is None else ends)
    if END in specials:
        writer.add_eot_token_id(specials[END])
    if "<unk>" in specials:
        writer.add_unk_token_id(specials["<unk>"])
    if "<pad>" in specials:
        writer.add_pad_token_id(specials["<pad>"])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    # llama.cpp's templates do not know the mark of what the assistant says.
    writer.add_chat_template(TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", ""))


def _add_sentencepiece(writer: GGUFWriter, file: Path, tokenizer: dict[str, Any]) -> None:
    import sentencepiece

    if tokenizer["model"]["type"] != "BPE":
        raise ValueError(
            "llama.cpp does not split text as this unigram tokenizer does: train one with `algorithm: bpe`."
        )
    sp = sentencepiece.SentencePieceProcessor(model_proto=file.read_bytes())
    numbers = range(sp.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([sp.id_to_piece(i).encode() for i in numbers])
    writer.add_token_scores([sp.get_score(i) for i in numbers])
    writer.add_token_types(
        [
            BYTE if sp.is_byte(i) else UNKNOWN if sp.is_unknown(i) else CONTROL if sp.is_control(i) else NORMAL
            for i in numbers
        ]
    )
    writer.add_add_space_prefix(_adds_space(tokenizer))


def _adds_space(tokenizer: dict[str, Any]) -> bool:
    return '"Prepend"' in json.dumps(tokenizer.get("normalizer"))


def _add_byte_pairs(writer: GGUFWriter, tokenizer: dict[str, Any], size: int) -> None:
    pattern = _pattern(tokenizer)
    name = next((name for name, known in PATTERNS.items() if known == pattern), None)
    if name is None:
        raise ValueError(
            "llama.cpp does not know the pattern by which this byte-level tokenizer splits text: train with"
            f" `tokenizer: {{kind: sentencepiece}}` or `tokenizer: {{kind: bpe, pattern: {next(iter(PATTERNS))}}}`"
            " to export GGUF."
        )
    vocabulary = {number: token for token, number in tokenizer["model"]["vocab"].items()}
    special = {token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list([vocabulary.get(i, f"<unused_{i}>").encode() for i in range(size)])
    writer.add_token_types([CONTROL if i in special or i not in vocabulary else NORMAL for i in range(size)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in merges])


def _pattern(tokenizer: dict[str, Any]) -> str:
    """The regular expression of the first `Split` that tokenizer.json names; "" without one."""
    steps = tokenizer.get("pre_tokenizer") or {}
    found = [step for step in steps.get("pretokenizers", [steps]) if step.get("type") == "Split"]
    return str(found[0]["pattern"].get("Regex", "")) if found else ""


CONVERSATION = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
)


def modelfile(file: str, context: int, answers: bool) -> str:
    """What `ollama create NAME -f Modelfile` needs."""
    template, stop = (CONVERSATION, f'PARAMETER stop "{END}"\n') if answers else ("{{ .Prompt }}", "")
    return (
        f'FROM ./{file}\nTEMPLATE """{template}"""\n{stop}PARAMETER num_ctx {context}\n'
        "PARAMETER temperature 0.8\nPARAMETER top_p 0.95\nPARAMETER repeat_penalty 1.0\n"
    )
