"""Where each token of a batch comes from: its row among what teachers say of the shards.

What teachers say is kept by fragment of the shards, in rows in the order of the fragment's training documents: one for
each token of a document and one for its end, so a document of n tokens has n + 1 rows. A second feed, over the same
shards with the same settings, deals out the numbers of rows in place of tokens. So every way of packing, weighting and
shuffling has its rows without knowing of teachers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model.config import IGNORED
from pipeline.store.artifact import Artifact
from pipeline.training.data.feed import Feed, FeedSettings
from pipeline.training.data.shard_reader import TRAIN, ShardReader, kept_rows
from pipeline.training.data.stream import Group

FIRST = 2**40  # the number of the first row, in place of a token: no token has such an id
NO_ROW = -1


def rows_of(entry: dict[str, Any]) -> int:
    """Rows of a fragment, from its entry in the manifest of the shards."""
    return sum(rows + tokens for split, _, rows, tokens, _ in entry["facts"]["groups"] if split == TRAIN)


def starts(shards: Artifact) -> dict[str, int]:
    """The number of the first row of each fragment among those of all fragments."""
    found, first = {}, 0
    for fragment in shards.fragments:
        found[fragment] = first
        first += rows_of(shards.entry(fragment))
    return found


class OriginReader(ShardReader):
    """Reads the numbers of rows, in place of tokens."""

    def __init__(self, shards: Artifact) -> None:
        super().__init__(shards)
        self._first: dict[tuple[str, int], int] = {}
        for fragment, first in starts(shards).items():
            for number, (split, _, rows, tokens, _) in enumerate(shards.entry(fragment)["facts"]["groups"]):
                if split == TRAIN:
                    self._first[fragment, number] = first
                    first += rows + tokens

    def tokens(self, groups: list[Group], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """FIRST plus the row of each token of the groups' documents (int64), and the length of each document."""
        origins, lengths = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for group in groups:
            length = np.diff(self._column(group, "tokens").offsets.to_numpy()).astype(np.int64)
            document = np.arange(len(length))
            row = np.arange(int(length.sum())) + np.repeat(document, length) + self._first[group.fragment, group.number]
            if group.left_out:
                kept = kept_rows(group, len(length))
                row, length = row[np.repeat(kept, length)], length[kept]
            origins.append(row + FIRST)
            lengths.append(length)
        return np.concatenate(origins), np.concatenate(lengths)


class OriginFeed(Feed):
    """Deals out what a `Feed` of the same arguments deals out, as numbers of rows."""

    def __init__(self, shards: Artifact, settings: FeedSettings, *given: Any) -> None:
        super().__init__(shards, settings, *given)
        self._reader = OriginReader(shards)

    def rows(self, number: int) -> np.ndarray:
        """The row of each target of a micro-batch, int64 [sequences, context]; NO_ROW where there is none.

        The end of a document has the row after that of its last token.
        """
        batch = self.batch(number)
        row = np.where(batch.targets >= FIRST, batch.targets - FIRST, NO_ROW)
        ends = (batch.targets < FIRST) & (batch.targets != IGNORED) & (batch.tokens >= FIRST)
        return np.where(ends, batch.tokens - FIRST + 1, row)
