"""Sentences of many documents at once, as runs of words, with their positions and hashes.

A sentence ends with a word, so the last bytes of each word (words.py), and whether the next word is on another line,
decide where sentences end. English and Korean both end a sentence with `.`, `!`, `?`, `…` or `。` before white space,
possibly followed by a closing quote or bracket; a line break always ends a sentence. A full stop does not end it after
an initial or an abbreviation of one or two letters ("U.S.", "Dr.", "p."), nor before a lower-case letter. In code the
unit is the line.

A sentence's hash is computed from the hashes of its words, so white space inside it does not matter, while case and
punctuation do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from pipeline.text.words import Words, blocks, code_points, run_hashes, words_of

_CLOSING = [b'"', b"'", b")", b"]", "”".encode(), "’".encode(), "」".encode(), "』".encode(), "»".encode()]
_ENDING = [b".", b"!", b"?", "…".encode(), "。".encode(), "！".encode(), "？".encode()]
# How a comment line begins; any other line of code is part of the program.
_COMMENT = [b"#", b"//", b"/*", b"* ", b"-- ", b";;", b"<!--"]
_NOT_COMMENT = [b"#!", b"#include", b"#define", b"#if", b"#el", b"#end", b"#pragma", b"#undef", b"#["]


_SENTENCE_WORDS = 4


class Sentences(NamedTuple):
    """One value per sentence, in the order of the text."""

    document: np.ndarray  # int64
    start: np.ndarray  # int64, code points of the text
    end: np.ndarray  # int64, exclusive
    after: np.ndarray  # int64: where a cut ends so that no blank or empty line remains
    size: np.ndarray  # int64, bytes without white space
    letters: np.ndarray  # int64, bytes of letters; all non-ASCII bytes count as letters
    words: np.ndarray  # int64
    hash: np.ndarray  # uint64
    # bool: in code, whether it is a comment (between Markdown's fences, also what reads as a sentence); elsewhere true.
    comment: np.ndarray


def sentences_of(texts: pl.Series, code: np.ndarray) -> Sentences:
    """The sentences of each text; `code` says which texts are code."""
    parts = [_of_block(data, offsets, code[first:end], first) for first, end, data, offsets in blocks(texts)]
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Sentences(
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing.astype(np.uint64),
            nothing.astype(bool),
        )
    return Sentences(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _of_block(data: np.ndarray, offsets: np.ndarray, code: np.ndarray, first_document: int) -> Sentences:
    words = words_of(data, offsets)
    document = np.repeat(np.arange(len(words.counts)), words.counts)
    line_ends = np.flatnonzero(data == 10)
    line = np.searchsorted(line_ends, words.starts)  # number of lines of the block that end before the word
    total = len(words.starts)
    last_in_line = np.ones(total, bool)
    last_in_line[:-1] = (line[1:] != line[:-1]) | (document[1:] != document[:-1])
    opens_line = np.ones(total, bool)
    opens_line[1:] = last_in_line[:-1]
    in_code = code[document] | _fenced(data, words, document, opens_line)
    full_stop = _sentence_ends(data, words.starts, words.ends, last_in_line)
    ends = last_in_line | (full_stop & ~in_code)
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])[: len(last)]
    owner = document[first] if total else first
    starts, stops = words.starts[first], words.ends[last]
    # Cut up to the next word of the line; a whole line is cut with its line break.
    after = stops.copy()
    inner = np.flatnonzero(~last_in_line[last])
    after[inner] = words.starts[last[inner] + 1]
    whole = np.flatnonzero(last_in_line[last] & opens_line[first])
    if line_ends.size:
        next_end = np.searchsorted(line_ends, stops[whole])
        place = line_ends[np.minimum(next_end, line_ends.size - 1)] + 1
        usable = (next_end < line_ends.size) & (place <= offsets[owner[whole] + 1])
        after[whole[usable]] = place[usable]
    lengths = np.concatenate([[0], np.cumsum(words.ends - words.starts)])
    comment = ~in_code[first]
    lines_of_code = np.flatnonzero(~comment)
    begin = starts[lines_of_code]
    comment[lines_of_code] = _begins(data, begin, _COMMENT) & ~_begins(data, begin, _NOT_COMMENT)
    # In a page, a line set as code that reads as a sentence counts as one: few languages end lines with full stops.
    comment |= ~code[owner] & full_stop[last] & (last + 1 - first >= _SENTENCE_WORDS)
    is_letter = _is_letter(data)
    is_letter |= data >= 0x80
    letters = np.concatenate([[0], np.cumsum(is_letter)])
    points = code_points(data)
    zero = points[offsets[owner]]
    return Sentences(
        owner + first_document, points[starts] - zero, points[stops] - zero, points[after] - zero,
        lengths[last + 1] - lengths[first], letters[stops] - letters[starts], last + 1 - first,
        run_hashes(words.hashes, first, last + 1), comment,
    )  # fmt: skip


def _fenced(data: np.ndarray, words: Words, document: np.ndarray, opens_line: np.ndarray) -> np.ndarray:
    """Which words are in a block between Markdown's fences; the opening fence belongs to the block."""
    lines = np.flatnonzero(opens_line)
    fences = np.zeros(len(opens_line), np.int64)
    fences[lines] = _begins(data, words.starts[lines], [b"```", b"~~~"])
    before = np.cumsum(fences)  # fences up to the word
    first = np.concatenate([[0], np.cumsum(words.counts)])[:-1][document]  # first word of its document
    return (before - before[first] + fences[first]) % 2 == 1


def _sentence_ends(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, last_in_line: np.ndarray) -> np.ndarray:
    """Which words end a sentence by their last characters."""
    stop = ends.copy()
    for _ in range(2):  # of `."` and `.")`
        stop -= _length_of(data, starts, stop, _CLOSING)
    mark = _length_of(data, starts, stop, _ENDING)
    result = mark > 0
    dots = np.flatnonzero(result & (data[np.maximum(stop - 1, 0)] == ord(".")))
    before = stop[dots] - 1 - starts[dots]  # bytes before the full stop
    letter = _is_letter(data[starts[dots]])
    inner = _holds_dot(data, starts[dots], before)
    upper = (data[starts[dots]] >= 65) & (data[starts[dots]] <= 90)
    abbreviation = letter & ((before == 1) | ((before == 2) & upper) | (inner & (before <= 5)))
    following = np.minimum(dots + 1, len(starts) - 1)
    small = (data[starts[following]] >= 97) & (data[starts[following]] <= 122) & ~last_in_line[dots]
    result[dots[abbreviation | small]] = False
    return result


def _is_letter(values: np.ndarray) -> np.ndarray:
    return ((values | 32) >= 97) & ((values | 32) <= 122)


def _holds_dot(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Whether there is a full stop among the first five bytes of each word."""
    found = np.zeros(len(starts), bool)
    for place in range(1, 5):
        inside = lengths > place
        found[inside] |= data[starts[inside] + place] == ord(".")
    return found


def _length_of(data: np.ndarray, starts: np.ndarray, stops: np.ndarray, characters: list[bytes]) -> np.ndarray:
    """The length in bytes of the one of `characters` that each span ends with; 0 if it ends with none."""
    lengths = np.zeros(len(stops), np.int64)
    for character in characters:
        candidates = np.flatnonzero((lengths == 0) & (stops - starts >= len(character)))
        same = np.ones(len(candidates), bool)
        for place, byte in enumerate(reversed(character), 1):
            same &= data[stops[candidates] - place] == byte
        lengths[candidates[same]] = len(character)
    return lengths


def _begins(data: np.ndarray, starts: np.ndarray, prefixes: list[bytes]) -> np.ndarray:
    """At which positions one of the prefixes begins."""
    result = np.zeros(len(starts), bool)
    for prefix in prefixes:
        fits = starts + len(prefix) <= data.size
        same = fits.copy()
        for place, byte in enumerate(prefix):
            same[fits] &= data[starts[fits] + place] == byte
        result |= same
    return result
