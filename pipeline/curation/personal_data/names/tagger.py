"""Finds names in texts: a linear chain over hashed features (features.py), decoded by Viterbi.

Weights are whole numbers, so all sums are exact and a text has the same names on every machine and in every batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.curation.personal_data.names.features import ROWS, rows_of
from pipeline.curation.personal_data.names.text import HANGUL, Ints, Tokens, tokens_of
from pipeline.curation.personal_data.names.words import Usual
from pipeline.errors import UserError

SHIPPED = Path(__file__).with_name("coefficients.npz")
OUTSIDE, BEGIN, INSIDE = range(3)
UNIT = 48  # steps of a weight to one of log-probability
IMPOSSIBLE = -(1 << 20)
BATCH = 1 << 18  # code points read at once: features take about 200 bytes a code point
LENGTHS = (8, 16, 32, 64, 160)  # segments are decoded together with others of up to this length


@dataclass(frozen=True)
class Tagger:
    """weights: [ROWS, 2], for BEGIN and INSIDE against OUTSIDE; moves: [3, 3], from one tag to the next; `first`: [3];
    lean: [2], what is added where a name may begin, at Latin words and at Hangul; usual: how plain text writes words.
    """

    weights: NDArray[np.int8]
    moves: NDArray[np.int32]
    first: NDArray[np.int32]
    lean: NDArray[np.int32]
    usual: Usual

    def save(self, path: Path) -> None:
        """Write the file that `load` reads."""
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                weights=self.weights,
                moves=self.moves,
                first=self.first,
                lean=self.lean,
                lowercase=self.usual.lowercase,
                stems=self.usual.stems,
                levels=self.usual.levels,
            )


@lru_cache(maxsize=2)
def load(path: Path = SHIPPED) -> Tagger:
    """The tagger of a file. Raises UserError if the file is missing or is something else."""
    try:
        with np.load(path) as file:
            parts = dict(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} (curation.personal_data.names) is no file that `slm names teach` wrote: name another, or say "
            "`names: true` for the one that is part of this project."
        ) from error
    if "lean" not in parts or parts["weights"].shape != (ROWS, 2):
        raise UserError(f"{path} was written by another version of this project: run `slm names teach` again.")
    usual = Usual(parts["lowercase"], parts["stems"], parts["levels"])
    return Tagger(parts["weights"], parts["moves"], parts["first"], parts["lean"], usual)


def find(texts: pl.Series, tagger: Tagger) -> pl.DataFrame:
    """Names in each text: `row` (index into texts), `start`, `end` (code points). Null counts as an empty text."""
    rows: list[Ints] = []
    for first, batch in _batches(texts):
        tokens = tokens_of(batch)
        starts, ends = spans_of(tokens, tags_of(tokens, tagger))
        text = tokens.text[starts]
        offset = tokens.offsets[text]
        rows.append(np.stack([text + first, tokens.start[starts] - offset, tokens.end[ends] - offset], axis=1))
    found = np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64)
    return pl.DataFrame(
        {"row": pl.Series(found[:, 0], dtype=pl.UInt32), "start": found[:, 1], "end": found[:, 2]},
        schema_overrides={"start": pl.Int64, "end": pl.Int64},
    )


def _batches(texts: pl.Series) -> Iterator[tuple[int, list[str]]]:
    """Texts of BATCH code points together, or one that is longer, with the index of the first."""
    batch: list[str] = []
    size = first = 0
    for number, text in enumerate(texts.fill_null("")):
        if batch and size + len(text) > BATCH:
            yield first, batch
            batch, size, first = [], 0, number
        batch.append(text)
        size += len(text)
    if batch:
        yield first, batch


def tags_of(tokens: Tokens, tagger: Tagger) -> NDArray[np.int8]:
    """The tag of each token: the best sequence of each segment, where a name begins with BEGIN."""
    scores = scores_of(tokens, tagger)
    first = np.flatnonzero(np.diff(tokens.segment, prepend=-1))
    lengths = np.diff(np.append(first, len(scores)))
    tags = np.zeros(len(scores), dtype=np.int8)
    # A segment in which nothing speaks for a name beyond what moves between tags may give needs no search.
    possible = np.abs(tagger.moves) < -IMPOSSIBLE // 2
    some = np.maximum.reduceat(scores[:, 1:].max(axis=1), first) > -int(np.abs(tagger.moves[possible]).sum())
    low = 0
    for high in LENGTHS:
        chosen = np.flatnonzero(some & (lengths > low) & (lengths <= high))
        low = high
        if len(chosen):
            _decode(scores, first[chosen], lengths[chosen], tagger, tags)
    return tags


def scores_of(tokens: Tokens, tagger: Tagger) -> NDArray[np.int32]:
    """What speaks for each tag at each token: [tokens, 3]; OUTSIDE is 0."""
    rows = rows_of(tokens, tagger.usual)
    scores = np.zeros((len(rows), 3), dtype=np.int32)
    for feature in range(rows.shape[1]):
        scores[:, 1:] += tagger.weights[rows[:, feature]]
    scores[:, BEGIN] += tagger.lean[(tokens.kind == HANGUL).astype(np.int64)]
    return scores


def _decode(scores: NDArray[np.int32], first: Ints, lengths: Ints, tagger: Tagger, tags: NDArray[np.int8]) -> None:
    """Viterbi over all given segments at once; writes into `tags`."""
    longest = int(lengths.max())
    places = np.minimum(first[:, None] + np.arange(longest), (first + lengths - 1)[:, None])
    inside = np.arange(longest) < lengths[:, None]
    best = scores[first] + tagger.first
    back = np.zeros((longest, len(first), 3), dtype=np.int8)
    for step in range(1, longest):
        ways = best[:, :, None] + tagger.moves  # [segments, from, to]
        back[step] = ways.argmax(axis=1)
        # Behind its end, a segment stays as it is.
        back[step][~inside[:, step]] = np.arange(3)
        best = np.where(inside[:, step, None], ways.max(axis=1) + scores[places[:, step]], best)
    tag = best.argmax(axis=1)
    for step in range(longest - 1, -1, -1):
        here = inside[:, step]
        tags[places[here, step]] = tag[here]
        tag = back[step, np.arange(len(first)), tag]


def spans_of(tokens: Tokens, tags: NDArray[np.int8]) -> tuple[Ints, Ints]:
    """The first and the last token of each name. A name ends with its segment."""
    starts = np.flatnonzero(tags == BEGIN)
    goes_on = np.zeros(len(tags), dtype=bool)
    goes_on[1:] = (tags[1:] == INSIDE) & (tokens.segment[1:] == tokens.segment[:-1])
    stops = np.flatnonzero(~np.append(goes_on[1:], False))
    return starts, stops[np.searchsorted(stops, starts)]


def labelled(texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]) -> tuple[Tokens, NDArray[np.int8]]:
    """Tokens of texts, and the tags that the given names (start, end) have."""
    tokens = tokens_of(texts)
    tags = np.zeros(len(tokens.start), dtype=np.int8)
    for text, names in enumerate(spans):
        for start, end in names:
            low, high = tokens.offsets[text] + start, tokens.offsets[text] + end
            first, last = np.searchsorted(tokens.end, low, side="right"), np.searchsorted(tokens.start, high)
            tags[first:last] = INSIDE
            tags[first] = BEGIN
    return tokens, tags
