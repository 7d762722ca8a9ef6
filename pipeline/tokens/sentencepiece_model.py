"""SentencePiece: training, and lossless encoding.

SentencePiece represents a space as U+2581 and cannot distinguish it from a U+2581 in the text. Here such a character is
encoded as bytes instead; in decoding, each id stands for bytes, so nothing is ambiguous.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from pipeline.errors import UserError
from pipeline.tokens.encoding import ColumnEncoder
from pipeline.tokens.token_settings import TokenizerSettings

SPACE = "\u2581"  # how SentencePiece represents a space
LONGEST_SENTENCE = 2**21  # bytes; the sample's texts are split into shorter parts, so that none is dropped
THREADS = 4  # unigram sums by thread: another number of threads would give another model

# Ways to split text into pre-tokens that no token crosses, the finest first; the vocabulary shows which of them apply.
# Whether text is split at a place depends on the two adjacent characters alone, so what holds for a token by itself
# holds anywhere in a text.
PRETOKEN_PATTERNS = (
    " *[LETTERS]+| *[0-9]| *[^ 0-9LETTERS]+| +".replace("LETTERS", r"\p{L}\p{M}" + "\u200c\u200d"),
    r" *[^ ]+| +",
)


def train(texts: Iterator[str], settings: TokenizerSettings) -> bytes:
    """A SentencePiece model of `texts` as bytes; the same texts give the same bytes.

    Raises UserError if the text does not suit the settings or there is none.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(text.replace(SPACE, " ") for text in texts),
            model_writer=model,
            model_type=settings.algorithm,
            vocab_size=settings.vocab_size,
            character_coverage=settings.character_coverage,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece="<pad>",
            unk_piece="<unk>",
            bos_piece="<bos>",
            eos_piece="<eos>",
            # Control symbols, unlike user-defined ones, are never found in text.
            control_symbols=settings.special_tokens[4:],
            byte_fallback=True,
            split_digits=True,
            allow_whitespace_only_pieces=True,  # indentation is one token
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            max_sentence_length=LONGEST_SENTENCE,
            num_threads=THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _as_user_error(str(error), settings) from error
    trained = model.getvalue()
    return trained if settings.algorithm == "bpe" else with_exact_scores(trained)


def _as_user_error(message: str, settings: TokenizerSettings) -> UserError:
    if most := re.search(r"<= (\d+)", message):
        return UserError(
            f"`tokenizer.vocab_size: {settings.vocab_size}` is more than the text yields: "
            f"{most[1]} is the largest vocabulary possible here."
        )
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return UserError(
            f"`tokenizer.vocab_size: {settings.vocab_size}` does not hold the characters of the text: "
            f"set more than {least[1]}, or lower `tokenizer.character_coverage`."
        )
    if "sentences_.empty()" in message:
        return UserError("There is no text to train the tokenizer on, only white space: add text.")
    return UserError(f"SentencePiece could not train the tokenizer: {message}")


class SentencePieceEngine:
    """Encodes columns with a SentencePiece model. lossless: whether the model was trained here."""

    def __init__(self, model: bytes, lossless: bool, cache: bool = True):
        import sentencepiece

        self.model = model
        self.lossless = lossless
        self.processor: Any = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size: int = self.processor.vocab_size()
        self.vocabulary: list[str] = self.processor.id_to_piece(list(range(self.vocab_size)))
        self.byte_ids = np.array([self.processor.piece_to_id(f"<0x{byte:02X}>") for byte in range(256)])
        self.pattern = pretoken_pattern(self.ordinary_pieces()) if lossless and cache else None
        self._encoder = ColumnEncoder(self.pattern, self._encode_texts) if self.pattern else None

    def ordinary_pieces(self) -> list[str]:
        """The pieces that represent text: neither control symbols nor bytes."""
        sp = self.processor
        return [
            piece
            for i, piece in enumerate(self.vocabulary)
            if not (sp.is_control(i) or sp.is_unknown(i) or sp.is_byte(i))
        ]

    def special_ids(self) -> dict[str, int]:
        sp = self.processor
        return {piece: i for i, piece in enumerate(self.vocabulary) if sp.is_control(i) or sp.is_unknown(i)}

    def encode(self, texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, concatenated, and the number of ids of each."""
        if self._encoder is not None:
            return self._encoder(texts)
        ids = self._encode_texts(texts.to_list())
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        return np.fromiter((i for text in ids for i in text), dtype=np.uint32, count=int(lengths.sum())), lengths

    def _encode_texts(self, texts: list[str]) -> list[list[int]]:
        if not self.lossless:
            return self.processor.encode(texts, num_threads=1)
        marked = [i for i, text in enumerate(texts) if SPACE in text]
        if not marked:
            return self.processor.encode(texts, num_threads=1)
        encoded = self.processor.encode(["" if SPACE in text else text for text in texts], num_threads=1)
        spelt = self.byte_ids[list(SPACE.encode())].tolist()
        for i in marked:
            first, *others = self.processor.encode(texts[i].split(SPACE), num_threads=1)
            encoded[i] = first + [token for part in others for token in (*spelt, *part)]
        return encoded

    def token_bytes(self) -> list[bytes]:
        """The UTF-8 bytes of each id; empty for special tokens."""
        sp = self.processor
        found = []
        for i, piece in enumerate(self.vocabulary):
            if sp.is_byte(i):
                found.append(bytes([int(piece[3:5], 16)]))
            elif sp.is_control(i) or sp.is_unknown(i):
                found.append(b"")
            else:
                found.append(piece.replace(SPACE, " ").encode())
        return found


def pretoken_pattern(pieces: list[str]) -> str | None:
    """The finest of PRETOKEN_PATTERNS that splits no token of the vocabulary; None if each splits one.

    Encoding by pre-tokens is then exact: neither merges nor the best path cross a boundary that no token crosses.
    """
    column = pl.Series(pieces, dtype=pl.String).str.replace_all(SPACE, " ", literal=True)
    for pattern in PRETOKEN_PATTERNS:
        if (column.str.count_matches(pattern) <= 1).all():
            return pattern
    return None


def drop_pieces(model: bytes, start: int, end: int) -> bytes:
    """The model without its pieces `start` to `end` (exclusive).

    A BPE model without its last merges is the model of a smaller vocabulary.
    """
    kept, piece = [], -1
    for number, field in fields(model):
        piece += number == 1  # ModelProto.pieces
        if number != 1 or not start <= piece < end:
            kept.append(field)
    return b"".join(kept)


def with_exact_scores(model: bytes) -> bytes:
    """The model with its scores rounded to multiples of 2^-10.

    Unigram often finds two equally good paths (24 spaces as 16 + 8 or as 8 + 16). Then the rounding of sums decides,
    which depends on all preceding text and on the precision: SentencePiece adds in 32 bits, Hugging Face in 64. Sums of
    such multiples are exact in both (in 32 bits, below 2^14, which no pre-token reaches).
    """
    parts = []
    for number, field in fields(model):
        if number == 1:  # ModelProto.pieces: 1 piece, 2 score, 3 type
            _, at = varint(field, 0)
            _, at = varint(field, at)
            inner = b"".join(_rounded(part) if tag == 2 else part for tag, part in fields(field[at:]))
            field = field[:at] + inner
        parts.append(field)
    return b"".join(parts)


def _rounded(field: bytes) -> bytes:
    (score,) = struct.unpack("<f", field[-4:])
    return field[:-4] + struct.pack("<f", round(score * 1024) / 1024)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message: (number, encoded field).

    Parsed here because the generated classes of SentencePiece need a newer protobuf than other packages allow.
    """
    at = 0
    while at < len(message):
        start = at
        key, at = varint(message, at)
        match key & 7:
            case 0:
                _, at = varint(message, at)
            case 1:
                at += 8
            case 2:
                size, at = varint(message, at)
                at += size
            case 5:
                at += 4
            case wire:
                raise ValueError(f"not a SentencePiece model: wire type {wire}")
        yield key >> 3, message[start:at]


def varint(message: bytes, at: int) -> tuple[int, int]:
    """A protobuf integer at `at`, and its end (Protocol Buffers, Encoding, "Base 128 Varints")."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
