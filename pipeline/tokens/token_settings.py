"""The settings of the tokenizer and the token shards."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from model.config import MAX_VOCABULARY
from pipeline.settings import Settings, Weight

# Ids 0 to 5 of every tokenizer trained here, whatever its kind; reserved tokens and the 256 bytes follow.
SPECIALS = ("<pad>", "<unk>", "<bos>", "<eos>", "<|im_start|>", "<|im_end|>")


class TokenizerSettings(Settings):
    """How text becomes tokens: with a tokenizer trained on the curated documents or with an existing one."""

    kind: Literal["sentencepiece", "bpe", "existing"] = Field(
        "sentencepiece",
        description="sentencepiece: SentencePiece with byte fallback; bpe: byte-level BPE, trained in Rust and encoded "
        "by tiktoken (about a tenth fewer tokens); existing: a tokenizer from a file",
    )
    vocab_size: int = Field(
        32_000,
        ge=0,
        le=MAX_VOCABULARY,
        description="number of tokens with the special ones (Llama 2: 32,000); existing: 0 or its size; at most 2^20 "
        "(XLM-V, Liang et al. 2023: a million)",
    )
    algorithm: Literal["bpe", "unigram"] = Field(
        "bpe",
        description="sentencepiece only: bpe (Llama 1 and 2) or unigram (T5), which trains 40 times as long",
    )
    character_coverage: float = Field(
        0.9995,
        gt=0,
        le=1,
        description="sentencepiece only: share of characters that get a token of their own; rarer "
        "ones are encoded as bytes (SentencePiece's advice for languages with many characters)",
    )
    normalisation: Literal["none", "nfc"] = Field(
        "none",
        description="none: decoding gives back exactly the text; nfc: text is composed first, so that decomposed "
        "Korean (from a Mac) gets the same tokens, and decoding gives the composed text",
    )
    digits: int = Field(
        0,
        ge=0,
        le=3,
        description="most digits in one token; 0: 1 for sentencepiece (Llama), 3 for bpe (GPT-4)",
    )
    reserved: int = Field(
        10, ge=0, le=1000, description="unused special tokens `<|reserved_0|>`..., for later fine-tuning"
    )
    source_weights: dict[str, Weight] = Field(
        {},
        description="by source: how often its documents count in the training sample; default 1, 0 leaves it out",
    )
    language_weights: dict[str, Weight] = Field(
        {}, description="the same by language; {ko: 1.5} gives Korean words a larger part of the vocabulary"
    )
    sample_bytes: int = Field(
        256 * 2**20,
        ge=1,
        le=2**40,
        description="most text to train on; more changes the vocabulary little and costs memory",
    )
    held_back: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="share of the documents, chosen by hash, that only the report reads; the validation documents "
        "of the shards are chosen by the same hash",
    )
    frozen: bool = Field(
        False,
        description="true: once made, the tokenizer stays the same whatever changes in the data or in this block, so "
        "that training can continue on new text",
    )
    path: str | None = Field(
        None,
        description="existing: a SentencePiece model, a `tokenizer.json` or a tiktoken file, recognised by its content",
    )
    pattern: str | None = Field(
        None,
        description="bpe: how to split text, if not by the default: llama-bpe, qwen2 or gpt-2, which llama.cpp knows, "
        "so that the model can be exported to GGUF, or a regular expression; existing: that of a tiktoken file",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TokenizerSettings:
        if self.kind == "existing" and not self.path:
            raise ValueError(
                "`kind: existing` needs `path`: a SentencePiece model, a tokenizer.json or a tiktoken file"
            )
        if self.kind != "existing" and self.path:
            raise ValueError("`path` is only read with `kind: existing`")
        if self.kind == "sentencepiece" and self.digits > 1:
            raise ValueError("sentencepiece makes each digit a token: leave `digits` at 0 or 1, or use `kind: bpe`")
        floor = self.fixed + 1
        if self.kind != "existing" and self.vocab_size < floor:
            raise ValueError(f"vocab_size has to be at least {floor}, for the special tokens, 256 bytes and one more")
        if any(weight < 0 for weight in (*self.source_weights.values(), *self.language_weights.values())):
            raise ValueError("a weight is negative: use 0 to leave a source or language out")
        return self

    @property
    def special_tokens(self) -> list[str]:
        """All special tokens of a trained tokenizer in the order of their ids, from 0."""
        return [*SPECIALS, *(f"<|reserved_{number}|>" for number in range(self.reserved))]

    @property
    def fixed(self) -> int:
        """The number of tokens that every vocabulary has before training: special tokens and bytes."""
        return len(SPECIALS) + self.reserved + 256


class ShardSettings(Settings):
    """Documents as token ids in Parquet."""

    validation: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="share of the documents, chosen by hash, that are kept for validation (nanoGPT: 0.05 %; "
        "small corpora need more to measure anything)",
    )
    row_group_tokens: int = Field(
        2**20,
        ge=1024,
        le=2**30,
        description="tokens in a row group, the unit of reading and shuffling (a million take about 2 MB)",
    )
    near_duplicate: float = Field(
        0.7,
        gt=0,
        le=1,
        description="a training document that is this similar (Jaccard of 8-grams of tokens) to a validation "
        "document is left out of training",
    )
