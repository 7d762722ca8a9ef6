"""The endless stream of one component's sequences: the documents of one source and language, pass after pass.

Row groups of the shards are grouped into fixed windows. Each pass shuffles the order of the windows and the order of
the documents in each window. The number of sequences in a window follows from its counts of tokens and documents alone,
so locating the n-th sequence is arithmetic, and only its window has to be read.

Consecutive sequences of the stream are pieces of the same document, and a batch of them teaches little, so they are
dealt out: the sequences of a pass form blocks of about a window, and within a block neighbours are issued far apart
(`dealt`). Which sequence is issued as the n-th is arithmetic too.

In the stream each document is preceded by `<eos>`, which is thus also the token after its last one.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.training.data.mixture import key_of, shuffled

DOCUMENTS_AT_ONCE = 512  # copied per NumPy operation
Packing = Literal["cut", "best_fit"]


@dataclass(frozen=True)
class Group:
    """A row group of a shard, as the manifest describes it; the counts omit rows that are excluded from training."""

    fragment: str
    number: int
    documents: int
    tokens: int
    left_out: tuple[int, ...] = ()  # rows of the group that are excluded from training

    @property
    def size(self) -> int:
        """Tokens in the stream."""
        return self.tokens + self.documents


@dataclass(frozen=True)
class Layout:
    """Where the documents of a window lie in its stretch of the stream, on one pass.

    order: the documents, as rows of the window's groups, in the order of the pass. start: where each begins (its
    `<eos>`); one value more than there are documents, the last being the end. place (best fit only) [rows, context]:
    the index into the stretch for each position of each sequence, -1 for padding.
    """

    order: np.ndarray
    start: np.ndarray
    place: np.ndarray | None = None
    cut_tokens: int = 0  # best fit: tokens of documents that were cut although they are no longer than a sequence


@dataclass
class Window:
    """The contents of a window, on one pass.

    For `cut`: the stretch (each document after an `<eos>`, and an `<eos>` at the end) and where documents begin in it.
    For `best_fit`: the sequences [rows, context]: tokens, the token that follows each, where a document or a piece of
    one begins, and how many positions of each row are used.
    """

    start: np.ndarray
    tokens: np.ndarray
    following: np.ndarray | None = None
    begins: np.ndarray | None = None
    used: np.ndarray | None = None
    empty: np.ndarray | None = None  # bool, as `tokens`: positions of slots that are left empty; None: there are none

    @property
    def nbytes(self) -> int:
        parts = (self.start, self.tokens, self.following, self.begins, self.used, self.empty)
        return sum(part.nbytes for part in parts if part is not None)


class Stream:
    """The sequences of one component (see the module's docstring).

    `read(groups)` returns the concatenated tokens and the lengths of the groups' documents. `empty_documents(groups)`
    says which of these documents are empty slots, bool [documents], or None: each keeps its place and its length, and
    every one of its positions, that of its `<eos>` too, holds an `<eos>` that predicts nothing.
    """

    def __init__(
        self,
        name: str,
        groups: list[Group],
        context: int,
        packing: Packing,
        window_tokens: int,
        seed: int,
        separator: int,
        read: Callable[[list[Group]], tuple[np.ndarray, np.ndarray]],
    ):
        self._block = max(1, window_tokens // context)  # sequences among which neighbours are dealt out
        self._dealt: tuple[tuple[int, int], np.ndarray] | None = None
        self.name, self.context, self.packing = name, context, packing
        self._seed, self._separator, self._read = seed, separator, read
        self.windows = list(windows_of(groups, window_tokens, key_of("windows", seed, name)))
        sizes = np.array([sum(group.size for group in window) for window in self.windows], dtype=np.int64)
        # Positions are counted in units: tokens for `cut`, sequences for `best_fit`.
        self._units = sizes if packing == "cut" else -(-sizes // context)
        self.pass_units = int(self._units.sum())
        self._step = context if packing == "cut" else 1
        self._latest: tuple[int, np.ndarray, np.ndarray] | None = None
        self.empty_documents: Callable[[list[Group]], np.ndarray | None] = lambda groups: None

    def passes(self, sequences: int) -> float:
        """How many passes over the component `sequences` of its sequences are."""
        return sequences * self._step / self.pass_units

    def parts(self, nth: int) -> Iterator[tuple[int, int, int, int]]:
        """Where the n-th sequence lies: (pass, window, first unit, end) for each window that it touches, in order.

        Units are tokens for `cut`, and sequences of the window for `best_fit`.
        """
        low, order = self._block_of(nth)
        return self._parts_of(low + int(order[nth - low]))

    def _block_of(self, nth: int) -> tuple[int, np.ndarray]:
        """The block that the n-th sequence is in: its first number, and the order in which its sequences are given."""
        number = nth * self._step // self.pass_units
        block, low, count = self._bounds(number, nth)
        if self._dealt is None or self._dealt[0] != (number, block):
            self._dealt = (number, block), dealt(count, key_of("rows", self._seed, self.name, number, block))
        return low, self._dealt[1]

    def _bounds(self, number: int, nth: int) -> tuple[int, int, int]:
        """The block of pass `number` that the n-th sequence is in: its number, its first sequence, how many it has.

        A block is a window for `best_fit`, which lays its rows out by how many documents they hold: a part of a window
        would have rows of one kind alone. For `cut`, where sequences cross the ends of windows, it is as large as one.
        """
        if self.packing == "best_fit":
            order, begin = self._order(number)
            at = int(np.searchsorted(begin, nth - number * self.pass_units, side="right")) - 1
            return at, number * self.pass_units + int(begin[at]), int(self._units[order[at]])
        first, after = (-(-of * self.pass_units // self._step) for of in (number, number + 1))
        blocks = max(1, round((after - first) / self._block))
        size = -(-(after - first) // blocks)
        block = (nth - first) // size
        low = first + block * size
        return block, low, min(low + size, after) - low

    def _parts_of(self, sequence: int) -> Iterator[tuple[int, int, int, int]]:
        """`parts` of a sequence by its place in the stream."""
        at, missing = sequence * self._step, self._step
        while missing:
            number, offset = divmod(at, self.pass_units)
            order, begin = self._order(number)
            nth = int(np.searchsorted(begin, offset, side="right")) - 1
            window = int(order[nth])
            first = offset - int(begin[nth])
            end = min(first + missing, int(self._units[window]))
            yield number, window, first, end
            at += end - first
            missing -= end - first

    def _order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The windows in the order of a pass, and the unit at which each of them begins."""
        if self._latest is None or self._latest[0] != number:
            order = shuffled(len(self.windows), key_of("pass", self._seed, self.name, number))
            units = self._units[order]
            self._latest = number, order, np.cumsum(units) - units
        return self._latest[1], self._latest[2]

    def begun(self, sequences: int) -> tuple[int, dict[int, dict[int, list[tuple[int, int]]]]]:
        """What the first `sequences` sequences used: (complete passes, window -> pass -> [(first unit, end)])."""
        low, order = self._block_of(sequences)
        number, offset = divmod(low * self._step, self.pass_units)
        taken: dict[int, dict[int, list[tuple[int, int]]]] = {}
        windows, begin = self._order(number)
        for window, first in zip(windows.tolist(), begin.tolist(), strict=True):
            if first < offset:
                end = min(offset - first, int(self._units[window]))
                taken.setdefault(window, {}).setdefault(number, []).append((0, end))
        for sequence in np.sort(order[: sequences - low]).tolist():
            for of_pass, window, first, end in self._parts_of(low + sequence):
                taken.setdefault(window, {}).setdefault(of_pass, []).append((first, end))
        return number, taken

    def layout(self, number: int, window: int, lengths: np.ndarray) -> Layout:
        """The layout of a window on pass `number`. lengths: tokens of its documents, in the order of the groups."""
        order = shuffled(len(lengths), key_of("documents", self._seed, self.name, number, window))
        start = np.concatenate(([0], np.cumsum(lengths[order] + 1)))
        if self.packing == "cut":
            return Layout(order, start)
        place, cut_tokens = best_fit(start, self.context)
        return Layout(order, start, place, cut_tokens)

    def load(self, number: int, window: int) -> Window:
        """Read a window and put its documents in the order of pass `number`."""
        tokens, lengths = self._read(self.windows[window])
        layout = self.layout(number, window, lengths)
        stretch = in_order(tokens, lengths, layout, self._separator)
        slots = self.empty_documents(self.windows[window])
        empty = None
        if slots is not None:
            empty = np.append(np.repeat(slots[layout.order], np.diff(layout.start)), False)
            stretch[empty] = self._separator
        if layout.place is None:
            return Window(layout.start, stretch, empty=empty)
        place = layout.place
        begins = np.ones(place.shape, dtype=bool)
        begins[:, 1:] = place[:, 1:] != place[:, :-1] + 1
        first = np.zeros(len(stretch), dtype=bool)
        first[layout.start] = True
        begins |= first[place]
        used = (place >= 0).sum(axis=1)
        # Padding comes last in a row and counts as a document of its own.
        begins &= np.arange(self.context) <= used[:, None]
        slots_of_rows = None if empty is None else empty[place]
        return Window(layout.start, stretch[place], stretch[place + 1], begins, used, slots_of_rows)


def in_order(tokens: np.ndarray, lengths: np.ndarray, layout: Layout, separator: int) -> np.ndarray:
    """The stretch of a window: its documents in the order of the pass, each after a separator, and one at the end."""
    stretch = np.full(int(layout.start[-1]) + 1, separator, dtype=tokens.dtype)
    source = np.cumsum(lengths) - lengths
    ordered = lengths[layout.order]
    # Each document is copied from `source` in `tokens` to the position after its separator in the stretch. Only a few
    # documents at a time, since the indices take many times the memory of the tokens.
    for low in range(0, len(ordered), DOCUMENTS_AT_ONCE):
        part = ordered[low : low + DOCUMENTS_AT_ONCE]
        index = np.arange(int(part.sum())) - np.repeat(np.cumsum(part) - part, part)
        target = index + np.repeat(layout.start[low : low + len(part)] + 1, part)
        index += np.repeat(source[layout.order[low : low + len(part)]], part)
        stretch[target] = tokens[index]
    return stretch


def windows_of(groups: list[Group], window_tokens: int, key: int) -> Iterator[list[Group]]:
    """The groups in a shuffled order, in windows of about `window_tokens` tokens."""
    window: list[Group] = []
    size = 0
    for index in shuffled(len(groups), key).tolist():
        if window and size + groups[index].size > window_tokens:
            yield window
            window, size = [], 0
        window.append(groups[index])
        size += groups[index].size
    if window:
        yield window


def best_fit(start: np.ndarray, context: int) -> tuple[np.ndarray, int]:
    """Pack documents into rows of `context`, cutting few, in no more rows than `cut` would need.

    start: where each document begins in the stretch, and the end. Returns `place` [rows, context] (see Layout) and
    the number of tokens in documents that were cut although they fit into a row.

    Documents longer than a row are split into full rows and a rest. Then best-fit decreasing: each piece, the longest
    first, goes into the row with the least room that suffices (Ding et al. 2024, "Fewer Truncations Improve Language
    Modeling"). Unlike there, the number of rows is fixed beforehand (it must follow from the manifest), so the pieces
    that find no room are cut to fill the gaps. Pieces of equal length are placed at once: the loops run over lengths.
    """
    size = int(start[-1])
    rows = -(-size // context)
    begin, length = start[:-1], np.diff(start)
    full_rows = length // context
    nth_of_document = np.arange(int(full_rows.sum())) - np.repeat(np.cumsum(full_rows) - full_rows, full_rows)
    first_of_piece = np.repeat(begin, full_rows) + context * nth_of_document
    rest = length - full_rows * context
    has_rest = rest > 0
    piece_at = (begin + full_rows * context)[has_rest]
    piece_length = rest[has_rest]
    short = (full_rows == 0)[has_rest]

    full = len(first_of_piece)
    room = Room(context, range(full, rows))
    fill = np.zeros(rows, dtype=np.int64)
    fill[:full] = context
    target_row = np.full(len(piece_at), -1, dtype=np.int64)
    target_at = np.zeros(len(piece_at), dtype=np.int64)
    by_length = np.argsort(-piece_length, kind="stable")
    edges = np.flatnonzero(np.diff(piece_length[by_length])) + 1
    for pieces in np.split(by_length, edges):
        if len(pieces):
            _place(pieces, int(piece_length[pieces[0]]), room, fill, target_row, target_at)

    place = np.full((rows, context), -1, dtype=np.int32)
    place[:full] = first_of_piece[:, None] + np.arange(context)
    flat = place.reshape(-1)
    fits = target_row >= 0
    _copy_ranges(flat, (target_row * context + target_at)[fits], piece_at[fits], piece_length[fits])
    # Pieces that found no room are cut to fill the remaining gaps, in order.
    cut = ~fits
    if cut.any():
        tokens = np.repeat(piece_at[cut] - (np.cumsum(piece_length[cut]) - piece_length[cut]), piece_length[cut])
        tokens += np.arange(len(tokens))
        flat[np.flatnonzero(flat < 0)[: len(tokens)]] = tokens
    return place, int(piece_length[cut & short].sum())


def dealt(count: int, key: int) -> np.ndarray:
    """The numbers below `count` in an order in which neighbours lie far apart (int64).

    They are dealt like cards to about sqrt(count) hands, and the hands are laid down one after another, each in an order
    that `key` decides: no two numbers of a hand are closer than the number of hands. Neighbouring hands are laid down a
    golden section apart, so that numbers that differ by 1 are more than a third of the order apart.
    """
    hands = max(1, math.isqrt(count))
    stride = next(s for s in range(max(1, round(hands * 0.618034)), hands + 1) if math.gcd(s, hands) == 1)
    number = np.arange(count)
    turn = (number % hands * stride + key % hands) % hands
    place_in_hand = np.empty(count, dtype=np.int64)
    place_in_hand[shuffled(count, key)] = number
    return np.lexsort((place_in_hand, turn))


class Room:
    """Rows by the number of free positions in them."""

    def __init__(self, context: int, rows: Iterable[int]):
        self._rows = {context: list(rows)}
        self._sizes = [context] if self._rows[context] else []  # the keys, sorted

    def take(self, length: int, most: Callable[[int], int]) -> tuple[int, np.ndarray]:
        """(free positions, rows): at most `most(free)` rows with the least room for `length`; (0, none) if none."""
        at = bisect_left(self._sizes, length)
        if at == len(self._sizes):
            return 0, np.zeros(0, dtype=np.int64)
        free = self._sizes[at]
        rows = self._rows[free]
        taken = np.array(rows[: most(free)], dtype=np.int64)
        del rows[: len(taken)]
        if not rows:
            del self._rows[free], self._sizes[at]
        return free, taken

    def give(self, free: int, rows: np.ndarray) -> None:
        if free and len(rows):
            if free not in self._rows:
                insort(self._sizes, free)
                self._rows[free] = []
            self._rows[free].extend(rows.tolist())


def _place(pieces: np.ndarray, length: int, room: Room, fill: np.ndarray, row: np.ndarray, at: np.ndarray) -> None:
    """Assign pieces of one length to the rows with the least room that suffices; -1 if there is none."""
    done = 0
    while done < len(pieces):
        missing = len(pieces) - done
        free, rows = room.take(length, lambda free, missing=missing: -(-missing // (free // length)))  # type: ignore[misc]
        if not free:
            return
        per_row = free // length
        placed = pieces[done : done + len(rows) * per_row]
        nth = np.arange(len(placed))
        row[placed] = rows[nth // per_row]
        at[placed] = fill[rows[nth // per_row]] + nth % per_row * length
        full, rest = divmod(len(placed), per_row)
        fill[rows[:full]] += per_row * length
        fill[rows[full:]] += rest * length
        room.give(free - per_row * length, rows[:full])
        room.give(free - rest * length, rows[full:])
        done += len(placed)


def _copy_ranges(flat: np.ndarray, target: np.ndarray, source: np.ndarray, length: np.ndarray) -> None:
    """flat[target + i] = source + i for i < length, for all pieces at once."""
    offset = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
    flat[np.repeat(target, length) + offset] = np.repeat(source, length) + offset


class WindowCache:
    """The most recently used windows, by stream, pass and window, up to a number of bytes and of windows."""

    def __init__(self, most_bytes: int, most_windows: int):
        self._most_bytes, self._most_windows = most_bytes, most_windows
        self._windows: OrderedDict[tuple[str, int, int], Window] = OrderedDict()
        self._bytes = 0

    def get(self, stream: Stream, number: int, window: int) -> Window:
        key = (stream.name, number, window)
        cached = self._windows.get(key)
        if cached is None:
            cached = stream.load(number, window)
            self._windows[key] = cached
            self._bytes += cached.nbytes
            while len(self._windows) > 1 and (
                self._bytes > self._most_bytes or len(self._windows) > self._most_windows
            ):
                _, old = self._windows.popitem(last=False)
                self._bytes -= old.nbytes
        self._windows.move_to_end(key)
        return cached
