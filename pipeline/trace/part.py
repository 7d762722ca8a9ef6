"""A part of the index: the documents of one table as tokens, and the places of all tokens in the order of what follows.

A file without a head, since the manifest has its counts, so that it is used as it lies on disk (memory-mapped):

    suffixes  uint32 [tokens]          places in `low`, sorted by what follows there; none of an end
    starts    uint32 [documents + 1]   where each document begins in `low`; one behind the last
    rows      uint32 [documents]       the row of each document in its table
    low       uint16 [tokens + documents]   the token ids, and after each document the id that ends it
    high      uint8  [tokens + documents]   their higher bits, only where the vocabulary has more than 65,536 tokens

So a token takes 6 bytes (7 with a large vocabulary), and a document 8 bytes and those of its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.files import whole
from pipeline.errors import UserError
from pipeline.trace.suffixes import Sorter

MOST_TOKENS = 2**30  # of a part: what libdivsufsort counts in 32 bits, at two bytes a token
LARGEST_ID = 2**24 - 1


@dataclass(frozen=True)
class Part:
    """A part of the index (see above), as arrays on disk or in memory."""

    suffixes: np.ndarray
    starts: np.ndarray
    rows: np.ndarray
    low: np.ndarray
    high: np.ndarray | None
    end: int  # the id after each document

    def tokens(self, places: np.ndarray | slice) -> np.ndarray:
        """The ids at some places, int64, of the places' shape."""
        low = self.low[places].astype(np.int64)
        return low if self.high is None else low | self.high[places].astype(np.int64) << 16

    def documents_at(self, places: np.ndarray) -> np.ndarray:
        """The number within the part of the document that each place is in, int64."""
        return np.searchsorted(self.starts, places, side="right") - 1


def write_part(
    tokens: np.ndarray, lengths: np.ndarray, rows: np.ndarray, end: int, sort: Sorter, path: Path
) -> dict[str, Any]:
    """Write the part of some documents; returns its counts, which `open_part` needs.

    tokens: of all documents, one after another. lengths: how many each has. rows: where each stands in its table. end:
    an id that occurs in no document. Takes some 40 bytes of memory a token, twice as many where ids need more than 16
    bits.
    """
    count = len(tokens) + len(lengths)
    if count > MOST_TOKENS:
        raise UserError(
            f"{path.name} would have {count:,} tokens, and a part of the index has at most {MOST_TOKENS:,}."
        )
    largest = max(int(tokens.max(initial=0)), end)
    if largest > LARGEST_ID:
        raise UserError(f"The token id {largest:,} is too large for the index: it holds ids up to {LARGEST_ID:,}.")
    dtype = np.dtype(np.uint16 if largest < 2**16 else np.uint32)
    starts = np.concatenate(([0], np.cumsum(lengths + 1))).astype(np.uint32)
    text = np.full(count, end, dtype)
    inside = np.ones(count, dtype=bool)
    inside[starts[1:] - 1] = False
    text[inside] = tokens
    order = sort(text)
    suffixes = order[inside[order]]
    with whole(path) as unfinished, open(unfinished, "wb") as file:
        suffixes.astype("<u4").tofile(file)
        starts.astype("<u4").tofile(file)
        rows.astype("<u4").tofile(file)
        (text & 0xFFFF).astype("<u2").tofile(file)
        if dtype.itemsize > 2:
            (text >> 16).astype("u1").tofile(file)
    return {"tokens": len(tokens), "documents": len(lengths), "wide": dtype.itemsize > 2, "end": end}


def open_part(path: Path, counts: dict[str, Any]) -> Part:
    """The part at `path`, of which only what is looked at is read. counts: what `write_part` returned."""
    tokens, documents = counts["tokens"], counts["documents"]
    kinds = [("<u4", tokens), ("<u4", documents + 1), ("<u4", documents), ("<u2", tokens + documents)]
    kinds += [("u1", tokens + documents)] if counts["wide"] else []
    size = sum(np.dtype(kind).itemsize * length for kind, length in kinds)
    content = np.memmap(path, np.uint8, "r", shape=(size,)) if size else np.zeros(0, np.uint8)
    arrays: list[np.ndarray] = []
    at = 0
    for kind, length in kinds:
        taken = np.dtype(kind).itemsize * length
        arrays.append(np.asarray(content[at : at + taken]).view(kind))
        at += taken
    suffixes, starts, rows, low = arrays[:4]
    return Part(suffixes, starts, rows, low, arrays[4] if counts["wide"] else None, counts["end"])
