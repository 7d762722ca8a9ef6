"""The same tokenizer as Hugging Face's files: `tokenizer.json`, `tokenizer_config.json`, the chat template.

The ids are the same as the native tokenizer's; the report counts the documents on which this was checked. Two
differences cannot be expressed in these files. A text for SentencePiece that itself begins with a line `user`, `system`
or `assistant` is split after that line, as a turn is. And by default, `tokenizers` and `transformers` read `<eos>` in
ordinary text as the special token: encode untrusted text with `tokenizer.encode_special_tokens = True` or
`split_special_tokens=True`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from model.conversation import ROLES, TEMPLATE
from pipeline.tokens.byte_pair import BytePairEngine
from pipeline.tokens.sentencepiece_model import SPACE, SentencePieceEngine, fields, varint

# Hugging Face's unigram matches control symbols and `<0x41>` in text; this score keeps them out of every best path.
NEVER = -1e6


def tokenizer_json(engine: SentencePieceEngine | BytePairEngine, specials: dict[str, int], normalisation: str) -> str:
    """`tokenizer.json` for a native tokenizer."""
    if isinstance(engine, BytePairEngine):
        parts = _byte_pair(engine)
    elif engine.lossless:
        parts = _sentencepiece(engine)
    else:
        parts = _foreign_sentencepiece(engine)
    if normalisation == "nfc":
        parts["normalizer"] = {"type": "NFC"}
    return _document(parts, specials)


def _document(parts: dict[str, Any], specials: dict[str, int]) -> str:
    added = [added_token(name, i) for name, i in sorted(specials.items(), key=lambda item: item[1])]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": parts.get("normalizer"),
        "pre_tokenizer": parts.get("pre_tokenizer"),
        "post_processor": None,
        "decoder": parts["decoder"],
        "model": parts["model"],
    }
    return json.dumps(document, ensure_ascii=False) + "\n"


def added_token(name: str, i: int) -> dict[str, Any]:
    """The entry of a special token in `tokenizer.json`."""
    exact = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": i, "content": name, **exact, "special": True}


def _byte_pair(engine: BytePairEngine) -> dict[str, Any]:
    alphabet = byte_alphabet()
    vocabulary = dict(engine.specials)
    names = {token: "".join(alphabet[byte] for byte in token) for token in engine.ranks}
    vocabulary |= {names[token]: i for token, i in engine.ranks.items()}
    merges = [[names[left], names[right]] for left, right in merges_of(engine.ranks)]
    return {
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                _split(engine.pattern),
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        # A pre-token that is in the vocabulary becomes that token even if no merges lead to it, as in tiktoken.
        "model": _bpe(vocabulary, merges, ignore_merges=True),
    }


def _sentencepiece(engine: SentencePieceEngine) -> dict[str, Any]:
    """The vocabulary holds spaces as such, so that a U+2581 in the text is encoded as bytes here too."""
    specials = engine.special_ids()
    names = [piece if piece in specials else piece.replace(SPACE, " ") for piece in engine.vocabulary]
    parts: dict[str, Any] = {
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": _sentencepiece_model(engine, names),
    }
    parts["pre_tokenizer"] = _after_role(engine.pattern)
    return parts


def _foreign_sentencepiece(engine: SentencePieceEngine) -> dict[str, Any]:
    """A SentencePiece model from elsewhere, with whatever normalisation it was trained with."""
    normaliser = _normaliser_of(engine.model)
    steps: list[dict[str, Any]] = []
    if normaliser["charsmap"]:
        steps.append({"type": "Precompiled", "precompiled_charsmap": normaliser["charsmap"]})
    if normaliser["folds_spaces"]:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if normaliser["adds_space"]:
        steps.append({"type": "Prepend", "prepend": SPACE})
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    ]  # fmt: skip
    if normaliser["adds_space"]:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": _after_role(None),
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": _sentencepiece_model(engine, engine.vocabulary),
    }


def _sentencepiece_model(engine: SentencePieceEngine, names: list[str]) -> dict[str, Any]:
    sp = engine.processor
    byte_fallback = any(sp.is_byte(i) for i in range(engine.vocab_size))
    if is_unigram(engine.model):
        silent = {i for i in range(engine.vocab_size) if sp.is_control(i) or sp.is_byte(i)}
        scores = [NEVER if i in silent else sp.get_score(i) for i in range(engine.vocab_size)]
        pairs = [[name, score] for name, score in zip(names, scores)]
        return {"type": "Unigram", "unk_id": sp.unk_id(), "vocab": pairs, "byte_fallback": byte_fallback}
    vocabulary = {name: i for i, name in enumerate(names)}
    silent = {i for i in range(engine.vocab_size) if sp.is_control(i) or sp.is_unknown(i) or sp.is_byte(i)}
    # SentencePiece first merges the pair whose result has the highest score; a trained BPE model is in that order.
    order = sorted((i for i in range(engine.vocab_size) if i not in silent), key=lambda i: (-sp.get_score(i), i))
    rank = {names[i]: position for position, i in enumerate(order)}
    return _bpe(
        vocabulary, [list(pair) for pair in merges_of(rank)], byte_fallback=byte_fallback, unknown=names[sp.unk_id()]
    )


def _bpe(
    vocabulary: dict[str, int],
    merges: list[list[str]],
    ignore_merges: bool = False,
    byte_fallback: bool = False,
    unknown: str | None = None,
) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
        "merges": merges,
    }


def merges_of(ranks: dict[Any, int]) -> list[tuple[Any, Any]]:
    """All pairs of tokens whose concatenation is a token (`str` or `bytes`), by the rank of that token.

    The vocabulary implies which pairs may be merged and in what order; Hugging Face needs the pairs listed.
    """
    pairs: Iterable[tuple[int, int, int, Any, Any]] = (
        (rank, ranks[token[:cut]], ranks[token[cut:]], token[:cut], token[cut:])
        for token, rank in ranks.items()
        for cut in range(1, len(token))
        if token[:cut] in ranks and token[cut:] in ranks
    )
    return [(left, right) for *_, left, right in sorted(pairs, key=lambda pair: pair[:3])]


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_alphabet() -> list[str]:
    """The visible character for each byte in byte-level vocabularies (GPT-2, Radford et al. 2019)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(others)) for byte in range(256)]


def _after_role(pattern: str | None) -> dict[str, Any]:
    """Splits the line of a turn's role from what is said, then by `pattern`.

    SentencePiece's vocabularies have tokens that start with a line break, such as `\\n#`. In a rendered chat template
    one could span the role's line and the first character of the content, which are encoded apart in training.
    """
    role = _split(rf"\A{SPACE}?(?:{'|'.join(ROLES)})\n")
    return role if pattern is None else {"type": "Sequence", "pretokenizers": [role, _split(pattern)]}


def is_unigram(model: bytes) -> bool:
    """Whether a SentencePiece model is a unigram model (TrainerSpec.model_type, field 3; 1 is the default)."""
    return _numbers(_message(model, 2)).get(3, 1) == 1


def _normaliser_of(model: bytes) -> dict[str, Any]:
    """How a SentencePiece model normalises text (NormalizerSpec: fields 2, 3 and 4)."""
    import base64

    spec = _message(model, 3)
    numbers = _numbers(spec)
    charsmap = next((_payload(field) for number, field in fields(spec) if number == 2), b"")
    return {
        "charsmap": base64.b64encode(charsmap).decode(),
        "adds_space": bool(numbers.get(3, 1)),
        "folds_spaces": bool(numbers.get(4, 1)),
    }


def adds_space(model: bytes) -> bool:
    """Whether a SentencePiece model puts a space before every text."""
    return bool(_normaliser_of(model)["adds_space"])


def _message(model: bytes, number: int) -> bytes:
    return next((_payload(field) for found, field in fields(model) if found == number), b"")


def _payload(field: bytes) -> bytes:
    _, at = varint(field, 0)
    size, at = varint(field, at)
    return field[at : at + size]


def _numbers(message: bytes) -> dict[int, int]:
    """The integer fields of a protobuf message."""
    found = {}
    for number, field in fields(message):
        key, at = varint(field, 0)
        if key & 7 == 0:
            found[number] = varint(field, at)[0]
    return found


def puts_space_before(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` puts a space before every text, by any of the parts that can."""
    for part in ("normalizer", "pre_tokenizer"):
        step = tokenizer.get(part) or {}
        for one in [step, *step.get("normalizers", []), *step.get("pretokenizers", [])]:
            scheme = one.get("prepend_scheme", "always" if one.get("add_prefix_space") else "never")
            if one.get("type") == "Prepend" or scheme != "never" or one.get("add_prefix_space"):
                return True
    return False


def tokenizer_config(specials: dict[str, int], space_before: bool) -> str:
    """`tokenizer_config.json`: what `transformers.AutoTokenizer` reads, with the chat template.

    space_before: as `puts_space_before` finds it. llama.cpp's converter takes it from here, and adds a space without.
    """
    roles = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>"}
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": space_before,
        **{role: name for role, name in roles.items() if name in specials},
        "additional_special_tokens": [name for name in specials if name not in roles.values()],
        "chat_template": TEMPLATE,
    }
    return json.dumps(config, ensure_ascii=False, indent=2) + "\n"
