"""A tokenizer from elsewhere: a SentencePiece model, a `tokenizer.json` or a tiktoken file.

Its ids stay the same, and it encodes exactly as its own library does. Missing special tokens are added after its last
id; special tokens with another common name (`</s>` for `<eos>`) are reused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.tokens.byte_pair import BytePairEngine, from_tiktoken
from pipeline.tokens.hugging_face import added_token, adds_space, tokenizer_json
from pipeline.tokens.hugging_face_engine import HuggingFaceEngine
from pipeline.tokens.sentencepiece_model import SentencePieceEngine
from pipeline.tokens.token_settings import SPECIALS, TokenizerSettings
from pipeline.tokens.tokenizer import HUGGING_FACE, SENTENCEPIECE, TIKTOKEN

DEFAULT_SIZE = TokenizerSettings.model_fields["vocab_size"].default

# Names of these tokens in well-known tokenizers.
OTHER_NAMES = {
    "<pad>": ("[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|endoftext|>"),
    "<unk>": ("[UNK]", "<|unk|>"),
    "<bos>": ("<s>", "<|begin_of_text|>", "[CLS]"),
    "<eos>": ("</s>", "<|endoftext|>", "<|end_of_text|>", "[SEP]"),
}


def files_of(
    settings: TokenizerSettings, names: Mapping[str, str] | None = None
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of the artifact for the tokenizer at `settings.path`, and the content of ABOUT.

    names: what the file calls our special tokens, where it is known; otherwise, common names are looked for.
    Raises UserError if the file cannot be read, is of none of the three kinds, or differs from the requested size.
    """
    path = file_of(settings)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"`tokenizer.path`: {path} cannot be read: {error.strerror}.") from error
    kind = _kind(content, path)
    files, about = {"sentencepiece": _sentencepiece, "hugging_face": _hugging_face, "tiktoken": _tiktoken}[kind](
        content, settings, path, names or {}
    )
    if settings.vocab_size not in (0, DEFAULT_SIZE, about["vocab_size"]):
        raise UserError(
            f"`tokenizer.vocab_size: {settings.vocab_size}` is not the size of {path}, which is {about['vocab_size']}: "
            "leave the key out."
        )
    return files, {"kind": "existing", "normalisation": settings.normalisation, **about}


def file_of(settings: TokenizerSettings) -> Path:
    """The file that `settings.path` refers to: the path itself, or the tokenizer file in that directory."""
    path = Path(str(settings.path)).expanduser()
    if not path.is_dir():
        return path
    return next((path / name for name in (SENTENCEPIECE, HUGGING_FACE, TIKTOKEN) if (path / name).exists()), path)


def _kind(content: bytes, path: Path) -> str:
    if content.lstrip()[:1] == b"{":
        return "hugging_face"
    first = content.split(b"\n", 1)[0].split()
    if len(first) == 2 and first[1].isdigit():
        return "tiktoken"
    if content[:1] == b"\n":  # the tag of the first field of a ModelProto: a piece
        return "sentencepiece"
    raise UserError(f"`tokenizer.path`: {path} is not a SentencePiece model, a tokenizer.json or a tiktoken file.")


def _with_specials(known: dict[str, int], size: int, names: Mapping[str, str]) -> tuple[dict[str, int], int]:
    """The ids of our special tokens, missing ones after the last id, and the size of the vocabulary with them."""
    ids: dict[str, int] = {}
    for name in SPECIALS:
        candidates = (names.get(name, name), name, *OTHER_NAMES.get(name, ()))
        found = next((known[other] for other in candidates if other in known), None)
        if found is None:
            found, size = size, size + 1
        ids[name] = found
    return ids, size


def _sentencepiece(
    content: bytes, settings: TokenizerSettings, path: Path, names: Mapping[str, str]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    try:
        engine = SentencePieceEngine(content, lossless=False)
    except (RuntimeError, OSError) as error:
        raise UserError(f"`tokenizer.path`: {path} is not a SentencePiece model: {error}") from error
    ids, size = _with_specials(engine.special_ids(), engine.vocab_size, names)
    about = {
        "native": "sentencepiece", "lossless": False, "vocab_size": size, "special_tokens": ids,
        "drops_first_space": adds_space(content),
    }  # fmt: skip
    json_file = tokenizer_json(engine, _names(engine.special_ids(), ids), settings.normalisation)
    return {SENTENCEPIECE: content, HUGGING_FACE: json_file.encode()}, about


def _tiktoken(
    content: bytes, settings: TokenizerSettings, path: Path, names: Mapping[str, str]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    if settings.pattern is None:
        raise UserError(f"{path} needs `tokenizer.pattern`: a tiktoken file does not contain its pattern.")
    ranks = from_tiktoken(content)
    ids, size = _with_specials({}, max(ranks.values()) + 1, names)
    engine = BytePairEngine(ranks, ids, settings.pattern)
    about = {"native": "tiktoken", "vocab_size": size, "special_tokens": ids, "pattern": settings.pattern}
    json_file = tokenizer_json(engine, ids, settings.normalisation)
    return {TIKTOKEN: content, HUGGING_FACE: json_file.encode()}, about


def _hugging_face(
    content: bytes, settings: TokenizerSettings, path: Path, names: Mapping[str, str]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    try:
        engine = HuggingFaceEngine(content.decode())
    except ValueError as error:
        raise UserError(f"`tokenizer.path`: {path} is not a readable tokenizer.json: {error}") from error
    named = {name: engine.tokenizer.token_to_id(name) for name in names.values()}
    known = engine.special_ids() | {name: i for name, i in named.items() if i is not None}
    ids, size = _with_specials(known, engine.vocab_size, names)
    document = json.loads(content)
    # Truncation and padding belong to an application, not to a tokenizer; they would truncate documents.
    document["truncation"] = document["padding"] = None
    document["added_tokens"] += [
        added_token(name, i) for name, i in sorted(ids.items(), key=lambda item: item[1]) if i >= engine.vocab_size
    ]
    text = json.dumps(document, ensure_ascii=False) + "\n"
    about = {
        "native": "hugging_face",
        "vocab_size": size,
        "special_tokens": ids,
        "drops_first_space": engine.adds_space,
    }
    return {HUGGING_FACE: text.encode()}, about


def _names(known: dict[str, int], ours: dict[str, int]) -> dict[str, int]:
    """The ids of the special tokens in the file, under its names, and of those that were added."""
    return known | {name: i for name, i in ours.items() if i not in known.values()}
