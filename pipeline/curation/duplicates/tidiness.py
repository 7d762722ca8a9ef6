"""Which of several near-copies is the cleaner one: less markup, fewer repeated lines, then the longer.

By length alone, a copy inside of a page's navigation stays and the text itself goes. Repeated lines are those that a
document has twice, and those at its start and end (EDGE of each) that other documents have there too: headers, menus,
footers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.text.words import Words, run_hashes

EDGE = 4  # lines at the start, and at the end, of a document that are compared with other documents'
FREQUENT = 10  # a line at the edge of more documents than this is repeated; a cluster of copies is smaller
FEWEST_WORDS = 3  # of a line that counts as repeated within a document; a closing brace does not
TAGS_PER_WORD = 64  # fineness of the scale of markup: doubling steps from one tag in so many words


class Tidiness(NamedTuple):
    """One row per document."""

    tags: np.ndarray  # uint32
    repeated: np.ndarray  # uint32, words in lines that occurred before in the document
    edges: np.ndarray  # uint32 (documents, 2 * EDGE), hashes of the first and last lines; 0: there is none

    def where(self, rows: np.ndarray) -> Tidiness:
        return Tidiness(*(column[rows] for column in self))


def empty(documents: int) -> Tidiness:
    """The figures of documents without any."""
    return Tidiness(
        np.zeros(documents, np.uint32), np.zeros(documents, np.uint32),
        np.zeros((documents, 2 * EDGE), np.uint32),
    )  # fmt: skip


def join(parts: list[Tidiness]) -> Tidiness:
    return Tidiness(*(np.concatenate(column) for column in zip(*parts, strict=True))) if parts else empty(0)


def tidiness_of(data: np.ndarray, offsets: np.ndarray, words: Words) -> Tidiness:
    """The figures of a block of documents, whose `words` are known."""
    documents = len(words.counts)
    found = empty(documents)
    opening = np.flatnonzero(data[:-1] == ord("<")) if data.size else np.zeros(0, np.int64)
    following = data[opening + 1] | np.uint8(32)
    tags = opening[((following - np.uint8(97)) < 26) | (following == ord("/"))]
    found.tags[:] = np.diff(np.searchsorted(tags, offsets))
    if not len(words.starts):
        return found
    bounds = np.concatenate([[0], np.cumsum(words.counts)])
    # A line begins with the first word after a line's end, and with the first word of a document.
    after_ends = np.searchsorted(words.starts, np.flatnonzero(data == 10))
    begins = np.zeros(len(words.starts) + 1, bool)
    begins[after_ends] = begins[bounds] = True
    first = np.flatnonzero(begins[:-1])
    size = np.diff(np.concatenate([first, [len(words.starts)]]))
    hashes = run_hashes(words.hashes, first, first + size)
    lines = np.searchsorted(first, bounds)  # the lines of document i are lines[i]:lines[i + 1]
    owner = np.repeat(np.arange(documents), np.diff(lines))
    again = (size >= FEWEST_WORDS) & _occurred_before(hashes, owner)
    found.repeated[:] = np.bincount(owner[again], weights=size[again], minlength=documents)
    number, count = np.arange(len(first)) - lines[owner], np.diff(lines)[owner]
    for place, chosen in (
        (number, number < EDGE),
        (2 * EDGE - (count - number), (count - number <= EDGE) & (number >= EDGE)),
    ):
        at = np.flatnonzero(chosen)
        found.edges[owner[at], place[at]] = (hashes[at] >> np.uint64(32)) | np.uint64(1)
    return found


def _occurred_before(hashes: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """For each line, whether its document has the same one before it."""
    keys = hashes ^ (owner.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    order = np.argsort(keys, kind="stable")
    result = np.zeros(len(keys), bool)
    result[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return result


def frequent_lines(edges: np.ndarray) -> np.ndarray:
    """The lines at the edges of more than FREQUENT documents. edges: hashes, sorted; 0: there is none."""
    common = np.unique(edges[FREQUENT:][edges[FREQUENT:] == edges[:-FREQUENT]])
    return common[common > 0]


def ranks(figures: Tidiness, words: np.ndarray, common: np.ndarray) -> np.ndarray:
    """How far each document comes after a clean one: uint16, smaller is better.

    words: of each document. common: the lines that `frequent_lines` finds among all documents.

    8 bits of markup (doubling steps of tags per word), then 8 of repetition: lines at its edges that other documents
    have at theirs, and the sixteenths of its words that are in lines it repeats itself.
    """
    frequent = np.zeros(len(words), np.int64)
    for column in figures.edges.T if len(common) else ():
        frequent += common[np.minimum(np.searchsorted(common, column), len(common) - 1)] == column
    tags_per_word = TAGS_PER_WORD * figures.tags / np.maximum(words, 1)
    markup = np.where(figures.tags > 0, 1 + np.floor(np.log2(1 + tags_per_word)), 0).clip(0, 255)
    repetition = frequent + 16 * figures.repeated // np.maximum(words, 1)
    return markup.astype(np.uint16) << np.uint16(8) | np.minimum(repetition, 255).astype(np.uint16)
