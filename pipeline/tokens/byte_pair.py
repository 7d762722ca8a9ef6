"""Byte-level BPE: trained in Rust (rustbpe), encoded in Rust (tiktoken), kept as a tiktoken file.

The pattern that splits text before merging needs no look-ahead, so a linear-time regular-expression engine can run
it: that alone makes encoding twice as fast. What look-ahead does in GPT-4's pattern (the last of several spaces goes
with the word) is done by taking indentation together with the line break before it, which also saves tokens in code.
(Remembering distinct pieces, as encoding.py does for SentencePiece, gains nothing over tiktoken.)
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import UserError
from pipeline.tokens.token_settings import TokenizerSettings

# A run of Hangul and a run of other letters are two pieces ("Python|은"), each with the one character before it that
# is neither letter nor digit; digits; punctuation, with the line break and indentation after it; a line break with
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
    return settings.pattern or PATTERN.replace("DIGITS", str(settings.digits or DEFAULT_DIGITS))


def train(texts: Iterator[str], settings: TokenizerSettings) -> list[bytes]:
    """The tokens of a vocabulary in the order of their ids, after the special ones: 256 bytes, then merges.

    Raises UserError where the text cannot give so many.
    """
    import rustbpe

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(texts, settings.vocab_size - len(settings.special_tokens), pattern=pattern_of(settings))
    ranks = sorted((rank, bytes(token)) for token, rank in trainer.get_mergeable_ranks())
    # Two ways of merging can end in the same bytes; the later one would be an id that is never used.
    tokens = list(dict.fromkeys(token for _, token in ranks))
    possible = len(tokens) + len(settings.special_tokens)
    if possible < settings.vocab_size:
        raise UserError(
            f"`tokenizer.vocab_size: {settings.vocab_size}` is more than the text can give: "
            f"{possible} is the largest vocabulary possible here."
        )
    return tokens


def to_tiktoken(tokens: list[bytes], first_id: int) -> bytes:
    """A tiktoken file: one line a token, base64 and id."""
    return b"".join(base64.b64encode(token) + b" %d\n" % (first_id + i) for i, token in enumerate(tokens))


def from_tiktoken(content: bytes) -> dict[bytes, int]:
    """Tokens and ids of a tiktoken file. Raises UserError where it is none."""
    try:
        pairs = [line.split() for line in content.splitlines() if line.strip()]
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except (ValueError, binascii.Error) as error:
        raise UserError(f"This is no tiktoken file (base64 and a number in each line): {error}.") from error
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise UserError(
            f"The tiktoken file has no token for {len(missing)} of the 256 bytes, so it cannot spell every text."
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
            raise UserError(f"tiktoken does not take `tokenizer.pattern`: {error}") from error
        self.vocab_size = max(max(ranks.values()), max(specials.values(), default=0)) + 1

    def special_ids(self) -> dict[str, int]:
        return dict(self.specials)

    def encode(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, joined, and the number of ids of each."""
        encode = self.encoding.encode_to_numpy
        ids = [encode(text, disallowed_special=()) for text in texts.to_list()]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return np.concatenate([np.zeros(0, dtype=np.uint32), *ids]), lengths

    def token_bytes(self) -> list[bytes]:
        """What each id stands for in UTF-8; empty for special tokens and for ids that are not used."""
        found = [b""] * self.vocab_size
        for token, i in self.ranks.items():
            found[i] = token
        return found
