"""A tokenizer that was made elsewhere: a SentencePiece model, a `tokenizer.json` or a tiktoken file.

Its ids stay as they are, and it encodes as its own library does. Special tokens that it lacks are added behind its
last id; those that it has under another usual name (`</s>` for `<eos>`) are used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import UserError
from pipeline.tokens.byte_pair import BytePairEngine, from_tiktoken
from pipeline.tokens.hugging_face import added_token, adds_space, byte_alphabet, tokenizer_json
from pipeline.tokens.sentencepiece_model import SPACE, SentencePieceEngine
from pipeline.tokens.token_settings import SPECIALS, TokenizerSettings
from pipeline.tokens.tokenizer import HUGGING_FACE, SENTENCEPIECE, TIKTOKEN

DEFAULT_SIZE = TokenizerSettings.model_fields["vocab_size"].default

# Names under which well-known tokenizers have these tokens.
OTHER_NAMES = {
    "<pad>": ("[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|endoftext|>"),
    "<unk>": ("[UNK]", "<|unk|>"),
    "<bos>": ("<s>", "<|begin_of_text|>", "[CLS]"),
    "<eos>": ("</s>", "<|endoftext|>", "<|end_of_text|>", "[SEP]"),
}


def files_of(settings: TokenizerSettings) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of the artifact made of the tokenizer at `settings.path`, and what ABOUT says of it.

    Raises UserError where the file cannot be read, is none of the three kinds, or is of another size than asked for.
    """
    path = file_of(settings)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"`tokenizer.path`: {path} cannot be read: {error.strerror}.") from error
    kind = _kind(content, path)
    files, about = {"sentencepiece": _sentencepiece, "hugging_face": _hugging_face, "tiktoken": _tiktoken}[kind](
        content, settings, path
    )
    if settings.vocab_size not in (0, DEFAULT_SIZE, about["vocab_size"]):
        raise UserError(
            f"`tokenizer.vocab_size: {settings.vocab_size}` is not the size of {path}, which is {about['vocab_size']}: "
            "leave the key out."
        )
    return files, {"kind": "existing", "normalisation": settings.normalisation, **about}


def file_of(settings: TokenizerSettings) -> Path:
    """The file that `settings.path` means: itself, or the tokenizer in the directory."""
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
    raise UserError(
        f"`tokenizer.path`: {path} is neither a SentencePiece model nor a tokenizer.json nor a tiktoken file."
    )


def _with_specials(known: dict[str, int], size: int) -> tuple[dict[str, int], int]:
    """The special tokens by our names, missing ones behind the last id; and the size with them."""
    ids: dict[str, int] = {}
    for name in SPECIALS:
        found = next((known[other] for other in (name, *OTHER_NAMES.get(name, ())) if other in known), None)
        if found is None:
            found, size = size, size + 1
        ids[name] = found
    return ids, size


def _sentencepiece(content: bytes, settings: TokenizerSettings, path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    try:
        engine = SentencePieceEngine(content, lossless=False)
    except (RuntimeError, OSError) as error:
        raise UserError(f"`tokenizer.path`: {path} is no SentencePiece model: {error}") from error
    ids, size = _with_specials(engine.special_ids(), engine.vocab_size)
    about = {
        "native": "sentencepiece", "lossless": False, "vocab_size": size, "special_tokens": ids,
        "drops_first_space": adds_space(content),
    }  # fmt: skip
    json_file = tokenizer_json(engine, _names(engine.special_ids(), ids), settings.normalisation)
    return {SENTENCEPIECE: content, HUGGING_FACE: json_file.encode()}, about


def _tiktoken(content: bytes, settings: TokenizerSettings, path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    if settings.pattern is None:
        raise UserError(f"`tokenizer.pattern` is needed beside {path}: a tiktoken file does not hold its own.")
    ranks = from_tiktoken(content)
    ids, size = _with_specials({}, max(ranks.values()) + 1)
    engine = BytePairEngine(ranks, ids, settings.pattern)
    about = {"native": "tiktoken", "vocab_size": size, "special_tokens": ids, "pattern": settings.pattern}
    json_file = tokenizer_json(engine, ids, settings.normalisation)
    return {TIKTOKEN: content, HUGGING_FACE: json_file.encode()}, about


def _hugging_face(content: bytes, settings: TokenizerSettings, path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    try:
        engine = HuggingFaceEngine(content.decode())
    except ValueError as error:
        raise UserError(f"`tokenizer.path`: {path} is no tokenizer.json that `tokenizers` can read: {error}") from error
    known = engine.special_ids()
    ids, size = _with_specials(known, engine.vocab_size)
    whole = json.loads(content)
    # Truncation and padding belong to a use, not to a tokenizer; left in, they would cut documents.
    whole["truncation"] = whole["padding"] = None
    whole["added_tokens"] += [
        added_token(name, i) for name, i in sorted(ids.items(), key=lambda item: item[1]) if i >= engine.vocab_size
    ]
    text = json.dumps(whole, ensure_ascii=False) + "\n"
    about = {
        "native": "hugging_face",
        "vocab_size": size,
        "special_tokens": ids,
        "drops_first_space": engine.adds_space,
    }
    return {HUGGING_FACE: text.encode()}, about


def _names(known: dict[str, int], ours: dict[str, int]) -> dict[str, int]:
    """Special tokens by the names in the file, and those that were added."""
    return known | {name: i for name, i in ours.items() if i not in known.values()}


class HuggingFaceEngine:
    """Encodes columns with `tokenizers`."""

    def __init__(self, content: str):
        import tokenizers

        try:
            self.tokenizer: Any = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # `tokenizers` raises nothing narrower
            raise ValueError(str(error)) from error
        self.tokenizer.encode_special_tokens = True  # ordinary text gives no special token
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.vocab_size: int = max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        decoder = json.dumps(json.loads(content).get("decoder"))
        self._byte_level = "ByteLevel" in decoder
        self.adds_space = '"Strip"' in decoder or ('"Metaspace"' in decoder and '"never"' not in decoder)
        if not self._byte_level and not any(part in decoder for part in ("Metaspace", SPACE, "ByteFallback", "Fuse")):
            raise ValueError(
                "its tokens cannot be put together to text again (neither byte-level nor SentencePiece-like)"
            )

    def special_ids(self) -> dict[str, int]:
        return {t.content: i for i, t in self.tokenizer.get_added_tokens_decoder().items() if t.special}

    def encode(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, joined, and the number of ids of each."""
        encoded = [e.ids for e in self.tokenizer.encode_batch_fast(texts.to_list(), add_special_tokens=False)]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        return np.fromiter((i for ids in encoded for i in ids), dtype=np.uint32, count=int(lengths.sum())), lengths

    def token_bytes(self) -> list[bytes]:
        """What each id stands for in UTF-8; empty for special tokens and ids that are not used."""
        specials = set(self.special_ids().values())
        byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
        found = [b""] * self.vocab_size
        for token, i in self.tokenizer.get_vocab(with_added_tokens=True).items():
            if i in specials:
                continue
            if self._byte_level and all(character in byte_of for character in token):
                found[i] = bytes(byte_of[character] for character in token)
            elif len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                found[i] = bytes([int(token[3:5], 16)])
            else:
                found[i] = token.replace(SPACE, " ").encode()
        return found
