"""Modified Kneser-Ney language models, counted with numpy and written as ARPA for kenlm to read.

An n-gram is a number. The n-grams of a text are pairs of (n-1)-grams at adjacent positions, so one sort of pairs
numbers the next order and gives each n-gram its context and its suffix, which is all that smoothing needs.

After Chen and Goodman 1998, and Heafield et al. 2013 for interpolated unigrams and counts at the start of a sentence.
Counts and held-out perplexity equal those of `lmplz`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.store.tables import write_whole

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
# The discounts of lmplz for texts too small to estimate them (its --discount_fallback).
FALLBACK = np.array([0.0, 0.5, 1.0, 1.5])
DECIMALS = 6
BLANK = r"[\s\x00-\x1f]+"  # what kenlm treats, or may treat, as the end of a word


@dataclass(frozen=True)
class _Order:
    """All n-grams of one length, one entry each."""

    at: np.ndarray  # a position in the text where it occurs
    times: np.ndarray  # how often it occurs in the text
    context: np.ndarray  # number of its first n-1 words among the (n-1)-grams
    suffix: np.ndarray  # number of its last n-1 words
    kept: np.ndarray  # whether it is written; the mass of the others goes to shorter n-grams


def train(texts: pl.Series, order: int, path: Path, prune: int = 1) -> dict[str, int]:
    """Train on texts of words separated by spaces, each from `<s>` to `</s>`, and write an ARPA file to `path`.

    order: longest n-gram, at least 2 (kenlm's wheels read up to 6). prune: n-grams of three and more words that occur
    at most this often are not written. Returns the number of n-grams by length. Raises ValueError if there is no text.
    """
    words, tokens, inside = _numbered(texts)
    if not len(tokens):
        raise ValueError("there is no text to train a language model on")
    orders = _count(tokens, inside, order, prune)
    starts_with_s = [tokens[one.at] == 1 for one in orders]
    probability: np.ndarray = np.zeros(0)
    sections, backoffs = [], []
    for n, one in enumerate(orders, 1):
        counts = one.times
        if n < len(orders):  # number of distinct words before it; nothing precedes <s>
            before = np.bincount(orders[n].suffix, minlength=len(counts))
            counts = np.where(starts_with_s[n - 1], one.times, before)
        if n == 1:
            probability, _ = _unigrams(counts, starts_with_s[0])
        else:
            probability, left = _interpolated(counts, one, probability)
            backoffs.append(left)
        sections.append(probability)
    _write(path, words, tokens, orders, sections, backoffs)
    return {str(n): int(one.kept.sum()) for n, one in enumerate(orders, 1)}


def _numbered(texts: pl.Series) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    """The vocabulary, the text as numbers (0 `<unk>`, 1 `<s>`, 2 `</s>`), and the number of each token's sentence."""
    wrapped = texts.drop_nulls().str.replace_all(BLANK, " ").str.strip_chars()
    wrapped = wrapped.str.replace_many([START, END], [UNKNOWN, UNKNOWN])
    wrapped = wrapped.filter(wrapped.str.len_bytes() > 0)
    flat = (START + " " + wrapped + " " + END).str.split(" ").explode(empty_as_null=False, keep_nulls=False)
    flat = flat.filter(flat.str.len_bytes() > 0)
    vocabulary = flat.unique().sort()
    words = pl.concat([pl.Series([UNKNOWN, START, END]), vocabulary.filter(~vocabulary.is_in([UNKNOWN, START, END]))])
    numbers = pl.DataFrame({"word": words, "number": np.arange(len(words))})
    tokens = (
        flat.alias("word").to_frame().join(numbers, on="word", how="left", maintain_order="left")["number"].to_numpy()
    )
    return words, tokens, np.cumsum(tokens == 1)


def _count(tokens: np.ndarray, sentence: np.ndarray, order: int, prune: int) -> list[_Order]:
    """The n-grams of each length. The number of an n-gram of length 1 is that of its word."""
    size = int(tokens.max()) + 1
    first = np.zeros(size, np.int64)
    first[tokens[::-1]] = np.arange(len(tokens))[::-1]
    times = np.bincount(tokens, minlength=size)
    none = np.zeros(size, np.int64)
    orders = [_Order(first, times, none, none, np.ones(size, bool))]
    numbers = tokens  # of the n-gram that starts at each place
    for n in range(2, order + 1):
        places = np.arange(len(tokens) - n + 1)
        places = places[sentence[places] == sentence[places + n - 1]]
        if not len(places):
            break
        shorter = len(orders[-1].times)
        pairs = numbers[places] * shorter + numbers[places + 1]
        unique, at, inverse, times = np.unique(pairs, return_index=True, return_inverse=True, return_counts=True)
        kept = (times > prune) if n > 2 else np.ones(len(unique), bool)
        orders.append(_Order(places[at], times, unique // shorter, unique % shorter, kept))
        longer = np.zeros(len(tokens), np.int64)
        longer[places] = inverse
        numbers = longer
    return orders


def _discounts(counts: np.ndarray) -> np.ndarray:
    """The discounts of counts of 0, 1, 2, and 3 or more (Chen and Goodman 1998, equation 17)."""
    n = np.bincount(np.minimum(counts, 5), minlength=5).astype(np.float64)
    if (n[1:5] == 0).any():
        return FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    off = np.array([0.0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))])
    return off if (off[1:] > 0).all() and (off[1:] <= (1, 2, 3)).all() else FALLBACK


def _unigrams(counts: np.ndarray, is_start: np.ndarray) -> tuple[np.ndarray, float]:
    """Probability of each word, interpolated with a uniform one over all words but `<s>`; `<unk>` has only the
    latter."""
    counts = np.where(is_start, 0, counts)
    counts[:2] = 0
    off = _discounts(counts[counts > 0])[np.minimum(counts, 3)]
    total = counts.sum()
    left = off.sum() / total
    probability = (counts - off) / total + left / (len(counts) - 1)
    probability[1] = 0.0
    return probability, left


def _interpolated(counts: np.ndarray, order: _Order, shorter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each n-gram's last word, and for each context the mass that it leaves to shorter n-grams."""
    off = _discounts(counts)[np.minimum(counts, 3)]
    size = len(shorter)
    total = np.maximum(np.bincount(order.context, weights=counts, minlength=size), 1e-12)
    own = (counts - off) / total[order.context]
    left = 1 - np.bincount(order.context, weights=own * order.kept, minlength=size)
    left = np.clip(left, 1e-7, 1.0)
    return own + left[order.context] * shorter[order.suffix], left


def _write(
    path: Path,
    words: pl.Series,
    tokens: np.ndarray,
    orders: list[_Order],
    sections: list[np.ndarray],
    backoffs: list[np.ndarray],
) -> None:
    header = "".join(f"ngram {n}={int(one.kept.sum())}\n" for n, one in enumerate(orders, 1))
    parts = [f"\\data\\\n{header}".encode()]
    for n, (one, probability) in enumerate(zip(orders, sections, strict=True), 1):
        at, likely = (one.at[one.kept], probability[one.kept]) if n > 1 else (None, probability)
        with np.errstate(divide="ignore"):
            log = np.where(likely > 0, np.log10(likely), -99.0)
        columns = {"log": _decimal(log)}
        if at is None:
            columns["gram"] = words
        else:
            each = [words.gather(tokens[at + step]) for step in range(n)]
            columns["gram"] = (
                pl.DataFrame(each, schema=[str(i) for i in range(n)])
                .select(pl.concat_str(pl.all(), separator=" "))
                .to_series()
            )
        if n < len(orders):
            columns["backoff"] = _decimal(np.log10(backoffs[n - 1][one.kept]))
        body = pl.DataFrame(columns).write_csv(separator="\t", include_header=False, quote_style="never")
        parts.append(f"\n\\{n}-grams:\n{body}".encode())
    write_whole(path, b"".join([*parts, b"\n\\end\\\n"]))


def _decimal(values: np.ndarray) -> pl.Series:
    """Values rounded and as text: the last bits of a logarithm differ between processors, these decimals do not."""
    return pl.Series(np.round(values, DECIMALS) + 0.0).cast(pl.String)
