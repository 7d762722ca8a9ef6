"""Documents that say the same in other words: close in meaning as far as the mean of their words' vectors tells.

The rule is that of near-duplicates: documents have an order of precedence, and a later one is a twin of the first kept
document whose similarity (cosine) reaches the threshold. Candidates share the signs of some random projections
(Charikar 2002), enough of them that `RECALL` of the pairs at the threshold are found; each is then compared exactly.
So the index is a few columns of hashes, the result does not depend on its order, and no package is needed for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from pipeline.curation.duplicates import selection, vectors
from pipeline.curation.duplicates.vectors import Matrix
from pipeline.store.artifact import digest, file_digest

if TYPE_CHECKING:
    from pipeline.curation.duplicates.corpus import Corpus
    from pipeline.curation.duplicates.duplicate_settings import Semantic

RECALL = 0.98
MOST_TABLES = 96
SHORTEST = 5  # words; what is shorter says too little to be compared
COMPARED_AT_ONCE = 1 << 16


class Twins(NamedTuple):
    """For each document (its number in the order of precedence): the twin that stays, or -1, and the similarity."""

    keeper: np.ndarray
    similarity: np.ndarray


def twins(
    corpus: Corpus, settings: Semantic, left: np.ndarray, may_remove: np.ndarray, directory: Path
) -> tuple[Twins, Matrix]:
    """The twins among the documents `left` (numbers, in order of precedence), and the vectors of all documents.

    Raises UserError if the file of vectors cannot be read, or there is too little text to learn from.
    """
    own = np.flatnonzero(~corpus.foreign)
    parts, sample = _read(corpus, own, settings.learn_from)
    look_up = vectors.from_file(Path(settings.vectors)) if settings.vectors else vectors.learned(sample, directory)
    table = vectors.vectors_of(parts, len(corpus), look_up)
    short = corpus.words < SHORTEST
    table[short] = 0
    members = selection.buckets(bands(table[left], settings.threshold), np.where(short[left], -1, np.arange(len(left))))

    def similarity(one: np.ndarray, other: np.ndarray, _: np.ndarray, __: np.ndarray) -> np.ndarray:
        return cosines(table, left[one], left[other])

    chosen = selection.choose(
        members, len(left), similarity, settings.threshold, may_remove[left], ~corpus.foreign[left]
    )
    keeper, found = np.full(len(corpus), -1, np.int64), np.full(len(corpus), np.nan)
    gone = np.flatnonzero(chosen.keeper >= 0)
    keeper[left[gone]], found[left[gone]] = left[chosen.keeper[gone]], chosen.similarity[gone]
    return Twins(keeper, found), table


def settled(twins: Twins, table: Matrix, threshold: float, keeper: np.ndarray) -> np.ndarray:
    """Which twins can be removed: those for whose kept twin all documents can be removed that were removed for them.

    keeper: the documents for which others were removed before, or -1.
    """
    fits = twins.keeper >= 0
    followers = np.flatnonzero(keeper >= 0)
    followers = followers[fits[keeper[followers]]]
    far = cosines(table, twins.keeper[keeper[followers]], followers) < threshold
    fits[keeper[followers[far]]] = False
    return np.flatnonzero(fits)


def cosines(table: Matrix, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The cosines of pairs of rows, rounded so that the order of a sum decides nothing."""
    values = np.empty(len(one), np.float64)
    for at in range(0, len(one), COMPARED_AT_ONCE):
        here = slice(at, at + COMPARED_AT_ONCE)
        values[here] = np.einsum("ij,ij->i", table[one[here]], table[other[here]])
    return np.round(values, 4)


def _read(
    corpus: Corpus, numbers: np.ndarray, characters: int
) -> tuple[list[tuple[np.ndarray, pl.DataFrame]], list[str]]:
    """The counts of words of documents, fragment by fragment, and texts of some `characters` to learn from.

    The sample has texts of every fragment in the order of their ids, which are hashes.
    """
    parts, sample = [], []
    budget = characters / max(1, len(corpus.fragments))
    for places, texts in corpus.texts(numbers):
        parts.append((numbers[places], vectors.word_counts(texts)))
        sample += texts.filter(texts.str.len_chars().cum_sum() <= budget).to_list() or texts.head(1).to_list()
    return parts, sample


def shape_of_index(documents: int, threshold: float) -> tuple[int, int]:
    """(bits of a hash, hashes of a document) with which a pair at the threshold shares one with probability RECALL.

    Two vectors at an angle a have the same sign in a random projection with probability 1 - a / pi. As many bits as
    buckets of about eight documents take, but no more than MOST_TABLES hashes allow.
    """
    agree = 1 - math.acos(min(1.0, threshold)) / math.pi
    for bits in range(max(4, min(20, int(math.log2(max(2, documents))) - 3)), 3, -1):
        tables = math.ceil(math.log(1 - RECALL) / math.log(1 - agree**bits)) if agree < 1 else 1
        if tables <= MOST_TABLES:
            return bits, tables
    return 4, MOST_TABLES


def bands(table: Matrix, threshold: float) -> Iterator[np.ndarray]:
    """The hashes of all rows, one column at a time."""
    bits, tables = shape_of_index(len(table), threshold)
    draw = np.random.default_rng(1)
    places = np.uint64(1) << np.arange(bits, dtype=np.uint64)
    for _ in range(tables):
        signs = table @ draw.standard_normal((table.shape[1], bits)).astype(np.float32) > 0
        yield (signs * places).sum(axis=1, dtype=np.uint64)


def identity(settings: Semantic | None) -> dict[str, str]:
    """What the way to the vectors, and their file, add to the identity of decisions."""
    if settings is None:
        return {}
    if not settings.vectors:
        return {"semantic": vectors.VERSION}
    files = vectors.files_of(Path(settings.vectors))
    missing = [path for path in files if not path.is_file()]
    if missing:
        vectors.from_file(Path(settings.vectors))  # says what is wrong
    return {"semantic": vectors.VERSION, "semantic vectors": digest([file_digest(path) for path in files])}
