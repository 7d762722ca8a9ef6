"""The index opened: the chunks that answer a question, by words (BM25), by vectors, or by both.

BM25 as Robertson and Zaragoza 2009 ("The probabilistic relevance framework", section 3.4) have it, with the weight of
every term in every chunk computed when the index is opened: a question costs one addition for each chunk that holds one
of its terms. Both orders are joined by their ranks (Cormack, Clarke and Büttcher 2009, "Reciprocal rank fusion").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from model.serve.grounding import Found, Passage
from pipeline.curation.duplicates.vectors import Common, Matrix, common_of, of_length_one
from pipeline.errors import UserError
from pipeline.grounding.embedding import Embedder
from pipeline.grounding.index import COLUMNS, vectors_of, vectors_table
from pipeline.grounding.terms import terms_of_text
from pipeline.store.artifact import Artifact

K1, B = 1.2, 0.75  # of BM25; the paper's usual values
RANKS = 60  # of reciprocal rank fusion; the paper's value
DEPTH = 100  # ranks of each order that are joined
# Certainty from which an answer is taken to be in the documents: chosen on one half of the questions of
# docs/results/grounding.md, which has what it does to the other half.
THRESHOLD = 0.48
By = Literal["words", "vectors", "both"]


@dataclass(frozen=True)
class Hit:
    """A chunk that was found. score: in the measure of the search; share: of the question's weight that it holds."""

    chunk: int
    score: float
    share: float


class Index:
    """Chunks (a table with COLUMNS) with their terms, and vectors [chunks, dimensions] if there are any."""

    def __init__(self, chunks: pl.DataFrame, vectors: Matrix | None = None, embedder: Embedder | None = None) -> None:
        self.chunks = chunks.drop("terms", "counts")
        self.embedder = embedder
        sizes = chunks["terms"].list.len().fill_null(0).to_numpy()
        terms = chunks["terms"].explode(empty_as_null=False, keep_nulls=False).to_numpy()
        counts = chunks["counts"].explode(empty_as_null=False, keep_nulls=False).to_numpy().astype(np.float32)
        chunk = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        order = np.argsort(terms, kind="stable")
        self.terms, starts = np.unique(terms[order], return_index=True)
        self.starts = np.append(starts, len(order))
        self.places = chunk[order]
        held = np.diff(self.starts)
        self.rarity = np.log1p((len(sizes) - held + 0.5) / (held + 0.5)).astype(np.float32)
        length = np.bincount(chunk, counts, minlength=len(sizes)).astype(np.float32)
        relative = (1 - B + B * length / max(1.0, float(length.mean()) if len(length) else 1.0))[self.places]
        counts = counts[order]
        self.weights = np.repeat(self.rarity, held) * counts * (K1 + 1) / (counts + K1 * relative)
        self.common: Common | None = None
        self.vectors: Matrix | None = None
        if vectors is not None:
            known = np.any(vectors, axis=1)
            self.common = common_of(vectors[known])
            self.vectors = self._comparable(vectors.astype(np.float32))
            self.vectors[~known] = 0

    def _comparable(self, vectors: Matrix) -> Matrix:
        return of_length_one(self.common.without(vectors) if self.common is not None else vectors)

    @cached_property
    def rarest(self) -> float:
        """What a term weighs that is in no chunk."""
        return math.log1p((len(self.chunks) + 0.5) / 0.5)

    def search(self, question: str, most: int = 5, by: By | None = None) -> list[Hit]:
        """The best chunks for a question, best first. by: default both, if there are vectors. Ties: the earlier chunk.

        Raises ValueError for a search by vectors in an index without them.
        """
        by = by or ("words" if self.vectors is None else "both")
        terms = terms_of_text(question)
        if by == "words":
            ranked = self._by_words(terms, most)
        elif by == "vectors":
            ranked = self._by_vectors(question, most)
        else:
            ranked = joined([self._by_words(terms, DEPTH), self._by_vectors(question, DEPTH)], most)
        shares = self._shares(terms, [chunk for chunk, _ in ranked])
        return [Hit(chunk, score, share) for (chunk, score), share in zip(ranked, shares, strict=True)]

    def _known(self, terms: np.ndarray) -> np.ndarray:
        """The numbers of those terms that are in the index."""
        at = np.minimum(np.searchsorted(self.terms, terms), max(0, len(self.terms) - 1))
        return at[self.terms[at] == terms] if len(self.terms) else at[:0]

    def _by_words(self, terms: np.ndarray, most: int) -> list[tuple[int, float]]:
        scores = np.zeros(len(self.chunks), np.float32)
        for term in self._known(terms):
            here = slice(self.starts[term], self.starts[term + 1])
            scores[self.places[here]] += self.weights[here]
        return best(scores, most)

    def _by_vectors(self, question: str, most: int) -> list[tuple[int, float]]:
        if self.vectors is None or self.embedder is None:
            raise ValueError("this index has no vectors: make it with `--vectors`.")
        (vector,) = self.embedder.embed([question])
        if not np.any(vector):
            return []
        return best(self.vectors @ self._comparable(vector[None])[0], most)

    def _shares(self, terms: np.ndarray, chunks: Sequence[int]) -> list[float]:
        """Of what the terms of a question weigh in all, the share that each chunk holds."""
        known = self._known(terms)
        total = float(self.rarity[known].sum()) + (len(terms) - len(known)) * self.rarest
        held = np.zeros(len(chunks))
        for term in known:
            places = self.places[self.starts[term] : self.starts[term + 1]]
            at = np.minimum(np.searchsorted(places, chunks), len(places) - 1)
            held += (places[at] == chunks) * self.rarity[term]
        return [float(value) / total if total else 0.0 for value in held]

    def found(self, question: str, most: int = 3) -> Found:
        """The passages for a question, and how certain it is that they answer it: the server's `Look`."""
        hits = self.search(question, most)
        certainty = max((hit.share for hit in hits), default=0.0)
        return Found(tuple(self.passage(hit) for hit in hits), round(certainty, 3), THRESHOLD)

    def passage(self, hit: Hit) -> Passage:
        row = self.chunks.row(hit.chunk, named=True)
        return Passage(
            row["doc_id"], row["source"], row["source_id"], row["url"], row["start"], row["end"], row["text"],
            round(hit.score, 4),
        )  # fmt: skip


def best(scores: np.ndarray, most: int) -> list[tuple[int, float]]:
    """(number, score) of the highest scores above 0, highest first; of equal ones, the lower number first."""
    chosen = np.argpartition(-scores, most)[:most] if len(scores) > most else np.arange(len(scores))
    if len(scores) > most:  # of those that equal the last one, the first ones
        least = scores[chosen].min()
        chosen = np.concatenate([np.flatnonzero(scores > least), np.flatnonzero(scores == least)[:most]])
    chosen = chosen[np.lexsort((chosen, -scores[chosen]))][:most]
    return [(int(number), float(scores[number])) for number in chosen if scores[number] > 0]


def joined(orders: Sequence[Sequence[tuple[int, float]]], most: int) -> list[tuple[int, float]]:
    """Several orders as one: each gives its member of rank r (from 1) 1 / (RANKS + r)."""
    scores: dict[int, float] = {}
    for order in orders:
        for rank, (chunk, _) in enumerate(order, 1):
            scores[chunk] = scores.get(chunk, 0.0) + 1 / (RANKS + rank)
    return sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:most]


def opened(artifact: Artifact, embedder: Embedder | None = None) -> Index:
    """The index of an artifact. embedder: the one that it was made with; None: only words are looked up.

    Raises UserError for another one.
    """
    if embedder is not None and artifact.manifest["made_of"]["settings"]["vectors"] != embedder.identity:
        raise UserError(
            "The index was made without these vectors: run `slm ground` with the same `--vectors`, or leave it out."
        )
    chunks = pl.concat(pl.read_parquet(artifact.table(name), columns=list(COLUMNS)) for name in artifact.fragments)
    if embedder is None:
        return Index(chunks)
    parts = [vectors_of(artifact.table(vectors_table(name))) for name in artifact.fragments]
    return Index(chunks, np.concatenate(parts), embedder)
