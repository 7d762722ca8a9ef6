"""The quality of a tokenizer in figures and a plot, measured on documents that it was not trained on."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from pipeline.tokens.byte_pair import BytePairEngine
from pipeline.tokens.hugging_face import is_unigram
from pipeline.tokens.sentencepiece_model import SentencePieceEngine, drop_pieces
from pipeline.tokens.tokenizer import Engine, Tokenizer

LISTED_TOKENS = 40  # number of tokens listed in the report
SMALLEST_STEP = 1024  # smallest vocabulary in the picture


def measure(tokenizer: Tokenizer, documents: pl.DataFrame, held_back: bool, hugging_face: str) -> dict[str, Any]:
    """The report. documents: `text`, `lang`. hugging_face: the `tokenizer.json` to compare with."""
    ids, lengths = tokenizer.encode_joined(documents["text"])
    used = np.bincount(ids, minlength=tokenizer.vocab_size)
    contents = tokenizer.token_bytes()
    single = np.array([len(content) == 1 for content in contents]) & ~_ascii(contents)
    frame = documents.select(
        "lang",
        pl.col("text").str.len_bytes().alias("bytes"),
        pl.col("text").str.len_chars().alias("characters"),
        pl.Series("tokens", lengths),
        pl.Series("spelt", _sums(single[ids], lengths)),
    )
    by_lang = frame.group_by("lang").agg(pl.len().alias("documents"), pl.exclude("lang").sum()).sort("lang")
    special = set(tokenizer.ids.values())
    unused = [
        i for i in np.flatnonzero(used == 0).tolist() if i not in special and contents[i] and len(contents[i]) > 1
    ]
    longest = sorted((i for i in range(tokenizer.vocab_size) if i not in special), key=lambda i: (-len(contents[i]), i))
    exact, equal = _count_equal(tokenizer, documents["text"], ids, lengths, hugging_face)
    return {
        "measured_on": "documents held back from training" if held_back else "the training text: none was held back",
        "vocab_size": tokenizer.vocab_size,
        "languages": {
            row["lang"]: {
                "documents": row["documents"],
                "bytes": row["bytes"],
                "tokens": row["tokens"],
                "bytes_per_token": _ratio(row["bytes"], row["tokens"]),
                "characters_per_token": _ratio(row["characters"], row["tokens"]),
                "byte_fallback_share": _ratio(row["spelt"], row["tokens"]),
            }
            for row in by_lang.iter_rows(named=True)
        },
        "documents": documents.height,
        "round_trip_exact": exact,
        "tokenizer_json_same_ids": equal,
        "unused_tokens": len(unused),
        "unused_examples": [tokenizer.token_string(i) for i in unused[:LISTED_TOKENS]],
        "longest_tokens": [tokenizer.token_string(i) for i in longest[:LISTED_TOKENS]],
    }


def _ascii(contents: list[bytes]) -> np.ndarray:
    """Which tokens are a single ASCII byte: these are characters, not parts of one."""
    return np.array([len(content) == 1 and content[0] < 128 for content in contents])


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sum of `values` over each run of `lengths`."""
    total = np.concatenate(([0], np.cumsum(values)))
    end = np.cumsum(lengths)
    return total[end] - total[end - lengths]


def _ratio(above: int, below: int) -> float:
    return round(above / below, 4) if below else 0.0


def _count_equal(
    tokenizer: Tokenizer, texts: pl.Series, ids: np.ndarray, lengths: np.ndarray, hugging_face: str
) -> tuple[int, int]:
    """How many documents decode to exactly their text, and how many get the same ids from `tokenizer.json`."""
    import tokenizers

    other = tokenizers.Tokenizer.from_str(hugging_face)
    other.encode_special_tokens = True
    exact = equal = start = 0
    nfc = tokenizer.about["normalisation"] == "nfc"
    for text, length, theirs in zip(texts, lengths.tolist(), _encoded(other, texts), strict=True):
        ours = ids[start : start + length]
        start += length
        exact += tokenizer.decode(ours) == (unicodedata.normalize("NFC", text) if nfc else text)
        equal += np.array_equal(ours, theirs)
    return exact, equal


def _encoded(other: Any, texts: pl.Series) -> Any:
    for start in range(0, len(texts), 256):
        yield from (
            e.ids for e in other.encode_batch_fast(texts[start : start + 256].to_list(), add_special_tokens=False)
        )


def smaller_vocabularies(tokenizer: Tokenizer, documents: pl.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """Bytes per token by language for smaller vocabularies: (size, bytes per token), by ascending size.

    A BPE vocabulary contains every smaller one, so nothing is trained; for other kinds the result is empty.
    """
    engines = _smaller(tokenizer)
    found: dict[str, list[tuple[int, float]]] = {}
    for size, engine in engines:
        _, lengths = engine.encode(documents["text"])
        frame = documents.select("lang", pl.col("text").str.len_bytes().alias("bytes"), pl.Series("tokens", lengths))
        for lang, size_bytes, tokens in frame.group_by("lang").sum().sort("lang").iter_rows():
            found.setdefault(lang, []).append((size, _ratio(size_bytes, tokens)))
    return found


def _smaller(tokenizer: Tokenizer) -> Sequence[tuple[int, Engine]]:
    sizes = []
    size = SMALLEST_STEP
    while size < tokenizer.vocab_size:
        sizes.append(size)
        size *= 2
    engine = tokenizer.engine
    if tokenizer.about["kind"] == "existing":
        return []
    if isinstance(engine, BytePairEngine):
        return [
            (size, BytePairEngine({t: i for t, i in engine.ranks.items() if i < size}, engine.specials, engine.pattern))
            for size in sizes
            if size > min(engine.ranks.values()) + 256
        ] + [(tokenizer.vocab_size, engine)]
    if isinstance(engine, SentencePieceEngine) and not is_unigram(engine.model):
        # Merges follow the bytes, single characters come last: a smaller vocabulary has the same characters.
        merges = engine.vocab_size - sum(len(piece) == 1 for piece in engine.ordinary_pieces())
        first = int(engine.byte_ids.max()) + 1
        cuts = [(size, merges - (engine.vocab_size - size)) for size in sizes]
        return [
            (size, SentencePieceEngine(drop_pieces(engine.model, cut, merges), lossless=True))
            for size, cut in cuts
            if cut >= first
        ] + [(tokenizer.vocab_size, engine)]
    return []


def plot(tokenizer: Tokenizer, documents: pl.DataFrame) -> bytes:
    """PNG: bytes per token by vocabulary size, one line per language, and a histogram of token lengths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    share = documents.group_by("lang").agg(pl.col("text").str.len_bytes().sum()).sort("text", descending=True)
    shown = share["lang"].to_list()[:6]
    for lang, points in smaller_vocabularies(tokenizer, documents.filter(pl.col("lang").is_in(shown))).items():
        left.plot(*zip(*points), marker="o", label=_printable(lang))
    left.set(xscale="log", xlabel="vocabulary", ylabel="bytes a token", title="Held-back documents")
    if left.lines:
        left.legend()
    lengths = [len(content) for content in tokenizer.token_bytes() if content]
    right.hist(lengths, bins=range(1, 33), edgecolor="white")
    right.set(xlabel="bytes of a token", ylabel="tokens", title=f"{tokenizer.vocab_size:,} tokens")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _printable(name: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", name)
