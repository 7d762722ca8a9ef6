"""The interface of a tokenizer: text to ids, ids to text, conversations to ids.

Ordinary text never yields a special token: text that looks like one is encoded as ordinary text. Special tokens are
only added as ids.

A document follows an `<eos>` (the feed puts one before each): to let the model begin a new text, start with
`document_start`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl

from model.conversation import encode_conversations
from pipeline.errors import UserError
from pipeline.tokens.byte_pair import BytePairEngine, from_tiktoken
from pipeline.tokens.encoding import list_series, smallest_unsigned, text_column
from pipeline.tokens.sentencepiece_model import SentencePieceEngine

# Files of the artifact. Encoding depends on the native model and ABOUT; the others are for other programs.
ABOUT = "tokenizer_about.json"
SENTENCEPIECE, TIKTOKEN, HUGGING_FACE = "tokenizer.model", "tokenizer.tiktoken", "tokenizer.json"


class Engine(Protocol):
    """A native tokenizer with an interface for columns."""

    vocab_size: int

    def encode(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]: ...

    def token_bytes(self) -> list[bytes]: ...

    def special_ids(self) -> dict[str, int]: ...


class Tokenizer:
    """See the top of this file. about: the content of ABOUT (native, normalisation, vocab_size, special_tokens ...)."""

    def __init__(self, engine: Engine, about: dict[str, Any]):
        self.engine = engine
        self.about = about
        self.vocab_size: int = about["vocab_size"]
        self.ids: dict[str, int] = about["special_tokens"]
        self.dtype = smallest_unsigned(self.vocab_size)
        self._bytes = engine.token_bytes()
        self._bytes += [b""] * (self.vocab_size - len(self._bytes))
        self._names = {i: name for name, i in self.ids.items()}

    @property
    def document_start(self) -> int:
        """The id that precedes every document in training."""
        return self.ids[self.about.get("document_start", "<eos>")]

    # -- text to ids ---------------------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids (uint32) of each text. Lone surrogates count as U+FFFD."""
        ids, lengths = self.encode_joined(text_column(list(texts)))
        return np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else []

    def encode_column(self, texts: pl.Series) -> pl.Series:
        """A column of lists of ids, of the smallest unsigned type that holds the vocabulary; null counts as empty."""
        ids, lengths = self.encode_joined(texts)
        return list_series(texts.name, ids, lengths, self.dtype)

    def encode_joined(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Ids (uint32) of all texts, concatenated, and the number of ids of each (int64)."""
        texts = texts.fill_null("")
        if self.about["normalisation"] == "nfc":
            texts = texts.str.normalize("NFC")
        return self.engine.encode(texts)

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], answer_next: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ids (int64) and loss mask (bool) of one conversation, a list of {role, content}; see `model.conversation`."""
        return self.encode_chats([messages], answer_next)[0]

    def encode_chats(
        self, conversations: Sequence[Sequence[Mapping[str, Any]]], answer_next: bool = False
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The same for many conversations at once, which is much faster."""
        return encode_conversations(conversations, self.encode, self.ids, answer_next)

    # -- ids to text ---------------------------------------------------------------------------------------------------

    def decode(self, ids: Sequence[int] | np.ndarray, specials: bool = False) -> str:
        """The text of `ids`; invalid UTF-8 becomes U+FFFD. Special tokens are left out unless `specials` is true."""
        if specials:
            named = (self._names[i].encode() if i in self._names else self._bytes[i] for i in map(int, ids))
            content = b"".join(named)
        else:
            content = self.decode_bytes(ids)
        if self.about.get("drops_first_space"):
            content = content.removeprefix(b" ")
        return content.decode(errors="replace")

    def shown(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of generated ids for people: bytes that belong to no whole character, as where an answer was cut off
        within a syllable, are left out."""
        content = self.decode_bytes(ids)
        if self.about.get("drops_first_space"):
            content = content.removeprefix(b" ")
        return content.decode(errors="ignore")

    def decode_bytes(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes of `ids`, for streaming: a character may end in the next token."""
        table = self._bytes
        return b"".join(table[i] for i in map(int, ids))

    def token_strings(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """Each id in readable form: part of a character as `<0xEA>`, special tokens by name."""
        return [self.token_string(int(i)) for i in ids]

    def token_string(self, i: int) -> str:
        if i in self._names:
            return self._names[i]
        content = self._bytes[i]
        try:
            return content.decode()
        except UnicodeDecodeError:
            return "".join(f"<0x{byte:02X}>" for byte in content)

    def token_bytes(self) -> list[bytes]:
        """The UTF-8 bytes of each id; empty for special tokens."""
        return list(self._bytes)


def load(directory: str | Path, cache: bool = True) -> Tokenizer:
    """The tokenizer in `directory`: a tokenizer artifact, or a model directory that its files were copied into.

    cache: cache the ids of pre-tokens (False: always call the native tokenizer, for comparisons).
    """
    directory = Path(directory)
    try:
        about = json.loads((directory / ABOUT).read_text())
    except FileNotFoundError:
        raise UserError(f"There is no tokenizer in {directory}: {ABOUT} is missing.") from None
    return Tokenizer(_engine(directory, about, cache), about)


def _engine(directory: Path, about: dict[str, Any], cache: bool) -> Engine:
    match about["native"]:
        case "sentencepiece":
            return SentencePieceEngine((directory / SENTENCEPIECE).read_bytes(), about["lossless"], cache)
        case "tiktoken":
            ranks = from_tiktoken((directory / TIKTOKEN).read_bytes())
            return BytePairEngine(ranks, about["special_tokens"], about["pattern"])
        case "hugging_face":
            from pipeline.tokens.hugging_face_engine import HuggingFaceEngine

            return HuggingFaceEngine((directory / HUGGING_FACE).read_text(encoding="utf-8"))
        case native:
            raise UserError(
                f"The tokenizer in {directory} is of an unknown kind: {native}. Make it again with this version."
            )
