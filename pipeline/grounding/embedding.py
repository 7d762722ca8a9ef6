"""Vectors of chunks: what a model of this project makes of them, or the mean of fixed vectors of their words.

A chunk's vector depends on the chunk and the model alone, so that it can be remembered. What all vectors have in common
is taken out when they are compared (`search.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from pipeline.curation.duplicates import vectors
from pipeline.curation.duplicates.vectors import Matrix
from pipeline.errors import UserError
from pipeline.store.artifact import digest, file_digest

if TYPE_CHECKING:
    from model.serve.text import TextModel


@dataclass(frozen=True)
class Embedder:
    """Makes vectors [texts, dimensions] of texts; a text that it can say nothing of gets zeros.

    identity: changes with the vectors.
    """

    identity: str
    embed: Callable[[Sequence[str]], Matrix]


def embedder_of(place: Path) -> Embedder:
    """Of a model's folder, of vectors of words in the layout of model2vec, or of a fastText model (`.bin`).

    Raises UserError if there is none of them at `place`.
    """
    if (place / "config.json").is_file() and (place / "tokenizer.json").is_file() and _is_model(place):
        from model.serve.text import open_directory

        try:
            model = open_directory(place)
        except ValueError as error:
            raise UserError(str(error)) from error
        identity = digest([file_digest(place / name) for name in ("model.safetensors", "tokenizer.json")])
        return Embedder(f"states {identity}", lambda texts: pooled(model, texts))
    look_up = vectors.from_file(place)
    identity = digest([file_digest(path) for path in vectors.files_of(place)])
    return Embedder(f"words {identity}", lambda texts: mean_of_words(look_up, texts))


def _is_model(folder: Path) -> bool:
    """Whether the folder is a network's: that of vectors of words has a config.json, too."""
    from model.export import read_config

    try:
        read_config(folder)
    except (ValueError, KeyError):
        return False
    return True


def pooled(model: TextModel, texts: Sequence[str]) -> Matrix:
    """The mean of the network's last hidden states over each text's tokens, [texts, width].

    A text that is longer than the context counts up to there. Each is read alone, so that its vector has the same bits
    whatever the others are.
    """
    import torch

    before, network = model.before_document, model.network
    room = network.config.context - len(before)
    found = np.zeros((len(texts), network.config.width), np.float32)
    with torch.inference_mode():
        for number, text in enumerate(texts):
            ids = model.encode(text)[:room]
            if ids:
                hidden = network.hidden(torch.tensor([[*before, *ids]]))[0, len(before) :]
                found[number] = hidden.float().mean(0).numpy()
    return found


def mean_of_words(look_up: vectors.Lookup, texts: Sequence[str]) -> Matrix:
    """The mean of the vectors of each text's words, [texts, dimensions]."""
    counts = vectors.word_counts(pl.Series(texts, dtype=pl.String))
    words = counts.select(pl.col("word").unique(maintain_order=True))
    if not words.height:  # a table needs one word to say how long vectors are
        words = pl.DataFrame({"word": ["a"]})
    table = look_up(words["word"].to_list())
    matrix = vectors.count_matrix(counts, words.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64)), len(texts))
    total = np.maximum(np.asarray(matrix.sum(axis=1)), 1)
    return np.asarray(matrix @ table / total, np.float32)
