"""Byte-level BPE: trained in Rust (rustbpe), encoded in Rust (tiktoken), stored as a tiktoken file.

The pattern that splits text into pre-tokens has no look-ahead, so a linear-time regular-expression engine can run it;
that alone doubles the speed of encoding. GPT-4's pattern uses look-ahead to attach the last of several spaces to the
word. Here indentation goes with the preceding line break instead, which also saves tokens in code. (A cache of
pre-tokens, as encoding.py keeps for SentencePiece, does not make tiktoken faster.)
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from model.patterns import PATTERNS
from pipeline.errors import UserError
from pipeline.tokens.token_settings import TokenizerSettings

# A run of Hangul and a run of other letters are separate pre-tokens ("Python|은"), each with one preceding character
# that is neither letter nor digit; digits; punctuation, with the line break and indentation after it; a line break with
# the indentation after it; other white space.
PATTERN = (
    r"[^\r\n\p{L}\p{M}\p{N}]?\p{Hangul}+"
    r"|[^\r\n\p{L}\p{M}\p{N}]?(?:[^\P{L}\p{Hangul}]|\p{M})+"
    r"|\p{N}{1,DIGITS}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+(?:[\r\n]+[ \t]*)?"
    r"|[\r\n]+[ \t]*"
    r"|\s+"
)
DEFAULT_DIGITS = 3


def pattern_of(settings: TokenizerSettings) -> str:
    """The pattern that the settings name or write out, or else the default."""
    if settings.pattern:
        return PATTERNS.get(settings.pattern, settings.pattern)
    return PATTERN.replace("DIGITS", str(settings.digits or DEFAULT_DIGITS))


def train(texts: Iterator[str], settings: TokenizerSettings) -> list[bytes]:
    """The tokens of a vocabulary in the order of their ids, without special tokens: 256 bytes, then merges.

    Raises UserError if the text does not yield that many.
    """
    import rustbpe

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(texts, settings.vocab_size - len(settings.special_tokens), pattern=pattern_of(settings))
    ranks = sorted((rank, bytes(token)) for token, rank in trainer.get_mergeable_ranks())
    # Different merges can yield the same bytes; the later id would never be used.
    tokens = list(dict.fromkeys(token for _, token in ranks))
    possible = len(tokens) + len(settings.special_tokens)
    if possible < settings.vocab_size:
        raise UserError(
            f"`tokenizer.vocab_size: {settings.vocab_size}` is more than the text yields: "
            f"{possible} is the largest vocabulary possible here."
        )
    return tokens


def to_tiktoken(tokens: list[bytes], first_id: int) -> bytes:
    """A tiktoken file: one line per token, with its base64 form and its id."""
    return b"".join(base64.b64encode(token) + b" %d\n" % (first_id + i) for i, token in enumerate(tokens))


def from_tiktoken(content: bytes) -> dict[bytes, int]:
    """Tokens and ids of a tiktoken file. Raises UserError if the content is anything else."""
    try:
        pairs = [line.split() for line in content.splitlines() if line.strip()]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except (ValueError, binascii.Error) as error:
        raise UserError(f"This is not a tiktoken file, which has base64 and a number in each line: {error}.") from error
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise UserError(
            f"The tiktoken file has no token for {len(missing)} of the 256 bytes, so it cannot encode every text."
        )
    return ranks


class BytePairEngine:
    """Encodes columns with tiktoken. `ranks`: token -> id; a smaller id is merged first."""

    def __init__(self, ranks: dict[bytes, int], specials: dict[str, int], pattern: str):
        import tiktoken

        self.ranks = ranks
        self.specials = specials
        self.pattern = pattern
        try:
            self.encoding: Any = tiktoken.Encoding(
                "slm", pat_str=pattern, mergeable_ranks=ranks, special_tokens=specials
            )
        except ValueError as error:
            raise UserError(f"tiktoken does not accept `tokenizer.pattern`: {error}") from error
        self.vocab_size = max(max(ranks.values()), max(specials.values(), default=0)) + 1

    def special_ids(self) -> dict[str, int]:
        return dict(self.specials)

    def encode(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, concatenated, and the number of ids of each."""
        encode = self.encoding.encode_to_numpy
        ids = [encode(text, disallowed_special=()) for text in texts.to_list()]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return np.concatenate([np.zeros(0, dtype=np.uint32), *ids]), lengths

    def token_bytes(self) -> list[bytes]:
        """The UTF-8 bytes of each id; empty for special tokens and unused ids."""
        found = [b""] * self.vocab_size
        for token, i in self.ranks.items():
            found[i] = token
        return found
