"""Answers that are JSON: which tokens may follow, by the library llguidance (the extra `serve`).

A JSON schema becomes a grammar over the tokenizer's bytes, and before each token those that would leave it are masked.
So an answer that ends by itself is valid; one that `max_tokens` cuts off may be no whole JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from model.choosing import Grammar

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

    from model.serve.text import TextModel

_TOKENIZERS: WeakKeyDictionary[TextModel, Any] = WeakKeyDictionary()


class Json:
    """One answer that is being written, as `Grammar` wants it."""

    def __init__(self, matcher: LLMatcher) -> None:
        self.matcher = matcher

    def masked(self, logits: Tensor) -> Tensor:
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, bitorder="little")[: len(logits)].astype(bool)
        if not allowed.any():
            raise ValueError("the grammar of the answer allows no token: simplify the schema.")
        return logits.masked_fill(torch.from_numpy(~allowed), -torch.inf)

    def take(self, token: int) -> bool:
        if not self.matcher.consume_token(token):
            raise ValueError("the grammar of the answer came to no end: simplify the schema.")
        return bool(self.matcher.is_stopped())


def json_of(model: TextModel, schema: Mapping[str, Any]) -> Callable[[], Grammar]:
    """What makes the grammar of an answer that keeps to a JSON schema.

    Raises ValueError for a schema that the library does not know, and where it is not installed.
    """
    try:
        from llguidance import LLMatcher
    except ImportError:
        raise ValueError(
            "`response_format` needs a package that is not installed here: start the server after"
            " `pip install -e '.[serve]'`."
        ) from None
    # White space only as in `json.dumps`: small models would fill their answers with it.
    grammar = LLMatcher.grammar_from_json_schema(dict(schema), overrides={"whitespace_flexible": False})
    tokenizer = _tokenizer(model)
    failed, messages = LLMatcher.validate_grammar_with_warnings(grammar, tokenizer)
    if failed:
        reason = " ".join(str(messages[0]).split())[:300].rstrip(".")
        raise ValueError(f"the schema of `response_format` is not supported: {reason}.")
    matcher = LLMatcher(tokenizer, grammar, log_level=0)
    return lambda: Json(matcher.deep_copy())


def _tokenizer(model: TextModel) -> LLTokenizer:
    """The tokenizer as the library wants it, made once for a model."""
    from llguidance import LLTokenizer, TokenizerWrapper

    if not model.stop_ids:
        raise ValueError("`response_format` needs a model with a token that ends a text, which this one has not.")
    if model not in _TOKENIZERS:
        _TOKENIZERS[model] = LLTokenizer(
            TokenizerWrapper(_Spelt(model)), n_vocab=len(model.bytes_of), eos_token=sorted(model.stop_ids)
        )
    return _TOKENIZERS[model]


class _Spelt:
    """The bytes of all tokens; those without any (special ones) get names that no text spells."""

    def __init__(self, model: TextModel) -> None:
        self.bos_token_id = None
        self.eos_token_id = min(model.stop_ids)
        special = [token for token, spelt in enumerate(model.bytes_of) if not spelt]
        self.special_token_ids = sorted({*special, *model.stop_ids})
        self.tokens = [spelt or f"<special {token}>".encode() for token, spelt in enumerate(model.bytes_of)]
        self._encode = model.encode

    def __call__(self, text: bytes | str) -> list[int]:
        return self._encode(text if isinstance(text, str) else text.decode("utf-8", "replace"))
