"""Encoding with the library `tokenizers`, for a `tokenizer.json` from elsewhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

from pipeline.tokens.hugging_face import byte_alphabet
from pipeline.tokens.sentencepiece_model import SPACE


class HuggingFaceEngine:
    """Encodes columns with `tokenizers`."""

    def __init__(self, content: str):
        import tokenizers

        try:
            self.tokenizer: Any = tokenizers.Tokenizer.from_str(content)
        except Exception as error:  # `tokenizers` raises nothing more specific
            raise ValueError(str(error)) from error
        self.tokenizer.encode_special_tokens = True  # ordinary text never yields a special token
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.vocab_size: int = max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        decoder = json.dumps(json.loads(content).get("decoder"))
        self._byte_level = "ByteLevel" in decoder
        self.adds_space = '"Strip"' in decoder or ('"Metaspace"' in decoder and '"never"' not in decoder)
        if not self._byte_level and not any(part in decoder for part in ("Metaspace", SPACE, "ByteFallback", "Fuse")):
            raise ValueError(
                "its tokens cannot be decoded to text (the decoder is neither byte-level nor SentencePiece-like)"
            )

    def special_ids(self) -> dict[str, int]:
        return {t.content: i for i, t in self.tokenizer.get_added_tokens_decoder().items() if t.special}

    def encode(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, concatenated, and the number of ids of each."""
        encoded = [e.ids for e in self.tokenizer.encode_batch_fast(texts.to_list(), add_special_tokens=False)]
        lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
        return np.fromiter((i for ids in encoded for i in ids), dtype=np.uint32, count=int(lengths.sum())), lengths

    def token_bytes(self) -> list[bytes]:
        """The UTF-8 bytes of each id; empty for special tokens and unused ids."""
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
