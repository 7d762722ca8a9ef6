"""A vector for each text: the weighted mean of fixed vectors of its words.

Arora, Liang and Ma 2017 ("A simple but tough-to-beat baseline for sentence embeddings"): a word weighs a / (a + p), p
being its share of all words, and what all texts have in common is taken out. That is their mean and the first principal
components, as Mu and Viswanath 2018 ("All-but-the-top") take them out of vectors of words. The vectors of the words are
learned from the texts themselves, or come from a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.errors import UserError

Matrix = NDArray[np.float32]
# The vectors [words, dimensions] of words.
Lookup = Callable[[Sequence[str]], Matrix]

WORD = r"[\p{L}\p{M}]+|\p{N}+"
# 2: the mean of all texts is taken out too, and a component for every 100 dimensions, where it was one.
VERSION = "2"
RARE = 1e-3  # `a` of the paper; it was best from 1e-3 to 1e-4
COMMON = 100  # dimensions for each principal component that is taken out (Mu and Viswanath, section 4)
SAMPLED = 20_000  # texts from which these are computed
# fastText learns from parts of words too, which carry Korean, where a word has many endings. One thread, so that the
# same texts give the same vectors.
LEARNING = {
    "model": "skipgram", "dim": 100, "epoch": 3, "minCount": 3, "minn": 2, "maxn": 5, "bucket": 200_000, "thread": 1,
    "verbose": 0,
}  # fmt: skip


def word_counts(texts: pl.Series) -> pl.DataFrame:
    """How often each word is in each text: `row`, `word`, `count`; sorted, so that sums have one order."""
    words = texts.fill_null("").str.to_lowercase().str.extract_all(WORD)
    frame = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.Int64, eager=True), "word": words})
    exploded = frame.explode("word", empty_as_null=True).drop_nulls("word")
    return exploded.group_by("row", "word").agg(count=pl.len().cast(pl.Float64)).sort("row", "word")


def count_matrix(counts: pl.DataFrame, places: pl.DataFrame, texts: int) -> Any:
    """How often each word is in each text, sparse fp32 [texts, words].

    counts: as `word_counts` returns them. places: `word` and `place`, its column.
    """
    from scipy.sparse import csr_matrix

    placed = counts.join(places, on="word", how="left", maintain_order="left")
    at = (placed["row"].to_numpy(), placed["place"].to_numpy())
    return csr_matrix((placed["count"].to_numpy(), at), shape=(texts, places.height), dtype=np.float32)


def vectors_of(parts: Sequence[tuple[NDArray[np.int64], pl.DataFrame]], total: int, look_up: Lookup) -> Matrix:
    """[total, dimensions], of length 1; texts without a known word get zeros.

    parts: for some of the texts, their numbers and `word_counts`.
    """
    shares = pl.concat([counts for _, counts in parts]).group_by("word").agg(pl.col("count").sum()).sort("word")
    known = look_up(shares["word"].to_list())
    weights = RARE / (RARE + shares["count"].to_numpy() / max(1.0, float(shares["count"].sum())))
    weighted = (known * weights[:, None]).astype(np.float32)
    result = np.zeros((total, known.shape[1]), np.float32)
    places = shares.select("word", place=pl.int_range(pl.len(), dtype=pl.Int64))
    for numbers, counts in parts:
        result[numbers] = count_matrix(counts, places, len(numbers)) @ weighted
    return of_length_one(_without_common(of_length_one(result)))


class Common(NamedTuple):
    """What all vectors have in common: their mean, and the directions [dimensions, few] in which they differ most."""

    mean: Matrix
    directions: Matrix

    def without(self, vectors: Matrix) -> Matrix:
        """The vectors [n, dimensions] without it."""
        return self.without_directions(vectors - self.mean)

    def without_directions(self, left: Matrix) -> Matrix:
        return np.asarray(left - (left @ self.directions) @ self.directions.T, np.float32)


def common_of(vectors: Matrix) -> Common | None:
    """What the vectors, none of which is zeros, have in common; None if they are too few to say."""
    components = round(vectors.shape[1] / COMMON)
    sample = vectors[:: -(-len(vectors) // SAMPLED) or 1].astype(np.float64)
    if len(sample) <= 2 * (components + 1):
        return None
    mean = sample.mean(axis=0)
    _, directions = np.linalg.eigh((sample - mean).T @ (sample - mean))
    common = directions[:, directions.shape[1] - components :].astype(np.float32)
    return Common(mean.astype(np.float32), common)


def _without_common(vectors: Matrix) -> Matrix:
    """The vectors without what all of them have in common; zeros stay zeros."""
    known = np.flatnonzero(np.any(vectors, axis=1))
    common = common_of(vectors[known])
    if common is None:
        return vectors
    left = np.zeros_like(vectors)
    left[known] = vectors[known] - common.mean
    return common.without_directions(left)


def of_length_one(vectors: Matrix) -> Matrix:
    """The vectors [n, dimensions] scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), 0).astype(np.float32)


def learned(texts: Sequence[str], directory: Path) -> Lookup:
    """Vectors that fastText learns from `texts`, a line each."""
    import fasttext

    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt", dir=directory) as file:
        lower = pl.Series(texts, dtype=pl.String).str.to_lowercase().str.extract_all(WORD).list.join(" ")
        file.writelines(f"{line}\n" for line in lower)
        file.flush()
        try:
            model = fasttext.train_unsupervised(file.name, **LEARNING)
        except ValueError as error:
            raise UserError(
                "`curation.duplicates.semantic` has too little text to learn vectors of words from: name a file with "
                "`vectors`, or leave `semantic` out."
            ) from error
    return _fasttext_look_up(model)


def from_file(path: Path) -> Lookup:
    """Vectors of a fastText model (`.bin`, `.ftz`), or of a folder in the layout of model2vec.

    Raises UserError if there is neither.
    """
    folder = path if path.is_dir() else path.parent
    if path.suffix in (".bin", ".ftz") and path.is_file():
        import fasttext

        return _fasttext_look_up(fasttext.load_model(str(path)))
    if path.is_dir() and all((folder / name).is_file() for name in ("model.safetensors", "tokenizer.json")):
        return _model2vec_look_up(folder)
    raise UserError(
        f"{path} (curation.duplicates.semantic.vectors) is neither a fastText model (.bin) nor a folder with "
        "model.safetensors and tokenizer.json: correct the path."
    )


def files_of(path: Path) -> list[Path]:
    """The files whose content decides what `from_file` returns."""
    return [path / "model.safetensors", path / "tokenizer.json"] if path.is_dir() else [path]


def _fasttext_look_up(model: Any) -> Lookup:
    return lambda words: np.stack([model.get_word_vector(word) for word in words]).astype(np.float32)


def _model2vec_look_up(folder: Path) -> Lookup:
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tensors = load_file(folder / "model.safetensors")
    table = tensors.get("embeddings", next(iter(tensors.values()))).astype(np.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def look_up(words: Sequence[str]) -> Matrix:
        found = np.zeros((len(words), table.shape[1]), np.float32)
        for place, coded in enumerate(tokenizer.encode_batch(list(words), add_special_tokens=False)):
            ids = [token for token in coded.ids if token < len(table)]
            if ids:
                found[place] = table[ids].mean(axis=0)
        return found

    return look_up
