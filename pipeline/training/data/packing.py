"""Packs conversations into rows of equal length: several to a row, each attending to itself, targets on answers only.

Packing without masks lets a conversation attend to the one before it; one conversation per row wastes most of the row
on padding, since most conversations are short. Here each conversation keeps its own positions and attention
(`documents`).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from model.config import IGNORED


@dataclass(frozen=True)
class Packed:
    """Packed rows [rows, context], and counts of the conversations."""

    tokens: np.ndarray  # int64
    targets: np.ndarray  # int64; IGNORED for tokens that are not trained on
    documents: np.ndarray  # int64: number of the conversation within the row; padding counts as one more
    counts: dict[str, int]

    @property
    def filled(self) -> float:
        """Share of the positions that are not padding."""
        return self.counts["tokens"] / max(1, self.tokens.size)


def pack(
    conversations: Sequence[tuple[np.ndarray, np.ndarray]], context: int, pad: int, empty: Container[int] = ()
) -> Packed:
    """Pack (ids, whether to learn them) by best-fit decreasing (Coffman et al. 1996: at most 11/9 of the optimum).

    A conversation longer than a row is truncated, and skipped if nothing to learn remains. Both are counted. empty:
    numbers of conversations whose slots stay empty: they keep their place, and hold padding that is not learned.
    """
    cut = left_out = 0
    pieces = []
    for number, (ids, learned) in enumerate(conversations):
        if len(ids) > context + 1:
            cut += 1
        ids, learned = ids[: context + 1], learned[: context + 1]
        if len(ids) < 2 or not learned[1:].any():
            left_out += 1
            continue
        shown, targets = ids[:-1], np.where(learned[1:], ids[1:], IGNORED)
        if number in empty:
            shown, targets = np.full_like(shown, pad), np.full_like(targets, IGNORED)
        pieces.append((shown, targets))
    lengths = np.array([len(inputs) for inputs, _ in pieces], dtype=np.int64)
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free places, row), sorted
    for index in np.argsort(-lengths, kind="stable").tolist():
        at = bisect_left(room, (int(lengths[index]), -1))
        if at == len(room):
            rows.append([])
            free, row = context, len(rows) - 1
        else:
            free, row = room.pop(at)
        rows[row].append(index)
        insort(room, (free - int(lengths[index]), row))
    tokens = np.full((len(rows), context), pad, dtype=np.int64)
    targets = np.full((len(rows), context), IGNORED, dtype=np.int64)
    documents = np.zeros((len(rows), context), dtype=np.int64)
    for row, members in enumerate(rows):
        at = 0
        for number, index in enumerate(members):
            inputs, next_tokens = pieces[index]
            end = at + len(inputs)
            tokens[row, at:end], targets[row, at:end], documents[row, at:end] = inputs, next_tokens, number
            at = end
        documents[row, at:] = len(members)
    counts = {
        "conversations": len(pieces), "cut_at_the_end": cut, "nothing_to_learn": left_out,
        "tokens": int(lengths.sum()), "learned_tokens": int((targets != IGNORED).sum()), "rows": len(rows),
    }  # fmt: skip
    return Packed(tokens, targets, documents, counts)
