"""Sentences of many documents at once, as runs of words, with their positions and hashes.

A sentence ends with a word, so the last bytes of each word (words.py), and whether the next word is on another line,
decide where sentences end. English and Korean both end a sentence with `.`, `!`, `?`, `…` or `。` before white space,
possibly followed by a closing quote or bracket; a line break ends a sentence unless the line was only wrapped: its
next word would not have fitted within the longest line of the paragraph. A full stop does not end it after
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
# Columns of the longest line of a paragraph that was wrapped by a program or a person.
_WRAPPED = (40, 130)
_BULLETS = b"-*+"
_PROGRAM = b";{}[(<>=&|\\"  # a line that ends with one of these is no prose
_OPENINGS = [b"#", b"|", b">", b"=", b"<", b"```", b"~~~", b"..", b":", "•".encode(), "·".encode(), "■".encode()]


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
    # bool: a whole line that could be a sentence, inside of a sentence that goes on over lines (see `spare_lines`)
    spare: np.ndarray

    def where(self, chosen: np.ndarray) -> Sentences:
        """The sentences at which `chosen` is true."""
        return Sentences(*(column[chosen] for column in self))


def sentences_of(texts: pl.Series, code: np.ndarray, spare_lines: bool = False) -> Sentences:
    """The sentences of each text; `code` says which texts are code.

    spare_lines: after those of each block of texts, lines that read as a sentence within a wrapped paragraph. Somebody
    may have put boilerplate there, so such a line counts if other documents have it as a sentence of its own.
    """
    parts = [
        _of_block(data, offsets, code[first:end], first, spare_lines) for first, end, data, offsets in blocks(texts)
    ]
    if not parts:
        nothing = np.zeros(0, np.int64)
        empty = [nothing.astype(kind) for kind in (np.uint64, bool, bool)]
        return Sentences(*[nothing] * 7, *empty)
    return Sentences(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _of_block(
    data: np.ndarray, offsets: np.ndarray, code: np.ndarray, first_document: int, spare_lines: bool
) -> Sentences:
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
    points = code_points(data)
    wrapped = _wrapped(data, words, points, line, (document, in_code, opens_line, last_in_line)) & ~full_stop
    last = np.flatnonzero((last_in_line & ~wrapped) | (full_stop & ~in_code))
    first = np.concatenate([[0], last[:-1] + 1])[: len(last)]
    spare = np.zeros(len(first), bool)
    if spare_lines:
        lines = _spare_lines(data, words, wrapped, last_in_line, full_stop)
        first, last = np.concatenate([first, lines[0]]), np.concatenate([last, lines[1]])
        spare = np.concatenate([spare, np.ones(len(lines[0]), bool)])
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
    zero = points[offsets[owner]]
    return Sentences(
        owner + first_document, points[starts] - zero, points[stops] - zero, points[after] - zero,
        lengths[last + 1] - lengths[first], letters[stops] - letters[starts], last + 1 - first,
        run_hashes(words.hashes, first, last + 1), comment, spare,
    )  # fmt: skip


def _spare_lines(
    data: np.ndarray, words: Words, wrapped: np.ndarray, last_in_line: np.ndarray, full_stop: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(first, last) words of the lines that follow a wrapped one and read as one whole sentence."""
    line_last = np.flatnonzero(last_in_line)
    first = np.flatnonzero(wrapped) + 1
    last = line_last[np.searchsorted(line_last, first)] if len(first) else first
    stops = np.concatenate([[0], np.cumsum(full_stop)])
    lead = data[words.starts[first]]
    begins = ((lead - np.uint8(65)) < 26) | (lead >= 0x80)
    whole = begins & full_stop[last] & (stops[last] == stops[first])
    return first[whole], last[whole]


def _fenced(data: np.ndarray, words: Words, document: np.ndarray, opens_line: np.ndarray) -> np.ndarray:
    """Which words are in a block between Markdown's fences; the opening fence belongs to the block."""
    lines = np.flatnonzero(opens_line)
    fences = np.zeros(len(opens_line), np.int64)
    fences[lines] = _begins(data, words.starts[lines], [b"```", b"~~~"])
    before = np.cumsum(fences)  # fences up to the word
    first = np.concatenate([[0], np.cumsum(words.counts)])[:-1][document]  # first word of its document
    return (before - before[first] + fences[first]) % 2 == 1


def _wrapped(
    data: np.ndarray, words: Words, points: np.ndarray, line: np.ndarray, of_words: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Which words end a line that goes on in the next one.

    points: code points before each byte. line: the line of each word. of_words: for each word, its document, whether it
    is in code, and whether it opens or ends a line.
    """
    document, in_code, opens_line, last_in_line = of_words
    first, last = np.flatnonzero(opens_line), np.flatnonzero(last_in_line)
    result = np.zeros(len(opens_line), bool)
    if len(first) < 2:
        return result
    width = points[words.ends[last]] - points[words.starts[first]]
    goes_on = (line[first[1:]] == line[last[:-1]] + 1) & (document[first[1:]] == document[first[:-1]])
    paragraphs = np.flatnonzero(np.concatenate([[True], ~goes_on]))
    widest = np.maximum.reduceat(width, paragraphs)
    widest = np.repeat(widest, np.diff(np.concatenate([paragraphs, [len(first)]])))[:-1]
    room = width[:-1] + 1 + points[words.ends[first[1:]]] - points[words.starts[first[1:]]]
    goes_on &= (room > widest) & (widest >= _WRAPPED[0]) & (widest <= _WRAPPED[1])
    goes_on &= ~in_code[first[1:]] & ~in_code[last[:-1]]
    some = np.flatnonzero(goes_on)
    if some.size:
        opening = _opens(data, words, first[some + 1])
        opening |= _begins(data, words.starts[first[some]], _OPENINGS[:5])
        opening |= np.isin(data[words.ends[last[some]] - 1], np.frombuffer(_PROGRAM, np.uint8))
        result[last[some[~opening]]] = True
    return result


def _opens(data: np.ndarray, words: Words, places: np.ndarray) -> np.ndarray:
    """Which of the words at `places`, the first ones of their lines, open an item of a list, a heading, a table."""
    starts, lengths = words.starts[places], words.ends[places] - words.starts[places]
    opening = _begins(data, starts, _OPENINGS)
    opening |= (lengths == 1) & np.isin(data[starts], np.frombuffer(_BULLETS, np.uint8))
    digits = (data[starts] - np.uint8(48)) < 10
    stops = data[words.ends[places] - 1]
    return opening | (digits & (lengths <= 4) & ((stops == ord(".")) | (stops == ord(")"))))


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
    last = np.zeros(256, bool)
    last[[character[-1] for character in characters]] = True
    possible = np.flatnonzero((stops > starts) & last[data[np.maximum(stops - 1, 0)]])
    for character in characters:
        same = stops[possible] - starts[possible] >= len(character)
        for place, byte in enumerate(reversed(character), 1):
            same &= data[np.maximum(stops[possible] - place, 0)] == byte
        lengths[possible[same]] = len(character)
        possible = possible[~same]
    return lengths


def _begins(data: np.ndarray, starts: np.ndarray, prefixes: list[bytes]) -> np.ndarray:
    """At which positions one of the prefixes begins."""
    result = np.zeros(len(starts), bool)
    first = np.zeros(256, bool)
    first[[prefix[0] for prefix in prefixes]] = True
    possible = np.flatnonzero(first[data[starts]])
    begins = starts[possible]
    for prefix in prefixes:
        fits = begins + len(prefix) <= data.size
        same = fits.copy()
        for place, byte in enumerate(prefix):
            same[fits] &= data[begins[fits] + place] == byte
        result[possible[same]] = True
    return result
