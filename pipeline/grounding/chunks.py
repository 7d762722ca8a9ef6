"""Documents cut into chunks of whole sentences, each with the span of the document that it is.

Sentences are those of Korean and English text, and lines of code (`curation/duplicates/sentences.py`). A chunk takes as
many as fit; one that is half full ends with its paragraph. A sentence that does not fit is cut between words.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from pipeline.curation.duplicates.sentences import sentences_of

BYTES = 400  # of UTF-8 without white space: three or four sentences; docs/results/grounding.md compares sizes

Span = tuple[int, int, int]  # start and end in code points, and bytes without white space


def chunks_of(texts: pl.Series, code: np.ndarray, most: int = BYTES) -> pl.DataFrame:
    """The chunks of each text: `row` (index into texts), `start` and `end` (code points, end exclusive), and `text`.

    code: bool [texts], whether a text is code. most: bytes of a chunk, without white space.
    """
    found = sentences_of(texts, code)
    bounds = np.searchsorted(found.document, np.arange(len(texts) + 1))
    spans = list(zip(found.start.tolist(), found.end.tolist(), found.size.tolist(), strict=True))
    rows: list[tuple[int, int, int, str]] = []
    for row, text in enumerate(texts):
        for start, end in _packed(text or "", spans[bounds[row] : bounds[row + 1]], most):
            rows.append((row, start, end, text[start:end]))
    schema = {"row": pl.Int64, "start": pl.Int64, "end": pl.Int64, "text": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _packed(text: str, sentences: list[Span], most: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each chunk of a text."""
    start = end = -1
    size = 0
    for begin, stop, bytes_of in (piece for sentence in sentences for piece in _pieces(text, sentence, most)):
        ends_paragraph = size > most // 2 and text.count("\n", end, begin) > 1
        if end >= 0 and (size + bytes_of > most or ends_paragraph):
            yield start, end
            end, size = -1, 0
        if end < 0:
            start = begin
        end, size = stop, size + bytes_of
    if end >= 0:
        yield start, end


def _pieces(text: str, sentence: Span, most: int) -> Iterator[Span]:
    """A sentence as it is, or, if it is longer than a chunk, in pieces that end with a word where one ends."""
    start, end, size = sentence
    if size <= most:
        yield sentence
        return
    length = max(1, (end - start) * most // size)
    while start < end:
        stop = min(end, start + length)
        if stop < end:
            word = max(text.rfind(" ", start + length // 2, stop), text.rfind("\n", start + length // 2, stop))
            stop = word if word > start else stop
        piece = text[start:stop].rstrip()
        if piece:
            yield start, start + len(piece), len("".join(piece.split()).encode())
        start = stop
        while start < end and text[start].isspace():
            start += 1
