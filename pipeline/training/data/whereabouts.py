"""In which steps a passage of a document was in the batch: the feed, asked the other way round.

    tokens of a document -> units of its window, on each pass -> sequences of the component -> of the run -> steps

Like the batches, the answer is arithmetic. On each pass only the window of the document is laid out.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.store.artifact import Artifact
from pipeline.training.data.feed import Feed, FeedSettings, rows_in
from pipeline.training.data.stream import Group, Layout, Stream

LAYOUTS_KEPT = 16  # a window on a pass: 8 bytes a document, with best fit 4 bytes a token


class TracedFeed(Feed):
    """A feed that can be asked when it gave out what."""

    def __init__(self, shards: Artifact, settings: FeedSettings, *given: Any) -> None:
        super().__init__(shards, settings, *given)
        self._rows_before = {name: _rows_before(shards.entry(name)) for name in shards.fragments}
        self._layout = lru_cache(LAYOUTS_KEPT)(self._layout_of)
        self._lengths = lru_cache(LAYOUTS_KEPT)(self._lengths_of)

    def steps_with(self, fragment: str, row: int, first: int, end: int, before: int) -> list[int]:
        """The steps below `before` (from 0) whose batch has a token of `first` to `end` of a document, sorted.

        fragment, row: where the document stands in the shards. Empty for one that is not trained on, for one whose slot
        is left empty, and for no token.
        """
        place = self._place(fragment, row) if first < end else None
        return self._steps(*place, (first, end), before) if place else []

    def passes_of(self, fragment: str, row: int, before: int) -> int:
        """How many times a document was trained on in the steps below `before`, the last time perhaps on a part of it.

        fragment, row: where the document stands in the shards. As `documents_before` counts it, for one document.
        """
        place = self._place(fragment, row)
        if place is None:
            return 0
        component, window, document = place
        stream = self._streams[component]
        complete, begun = stream.begun(int(self._mixture.count(before * self.step_sequences)[component]))
        parts_by_pass = begun.get(window, {}).items()
        return complete + sum(
            document in rows_in(self._layout(stream.name, number, window)[0], parts) for number, parts in parts_by_pass
        )

    def split_and_length(self, fragment: str, row: int) -> tuple[str, int]:
        """The split of a document, and how many tokens it has."""
        number = int(np.searchsorted(self._rows_before[fragment], row, side="right")) - 1
        split, _, rows, tokens, _ = self._reader.entry(fragment)["facts"]["groups"][number]
        group = Group(fragment, number, rows, tokens)
        return split, int(self._reader.ids([group])[1][row - int(self._rows_before[fragment][number])])

    def _place(self, fragment: str, row: int) -> tuple[int, int, int] | None:
        """A document's component, its window there, and its number in the window; None if it is not trained on."""
        if self._reader.empty is not None and (fragment, row) in self._reader.empty.places:
            return None
        group_number = int(np.searchsorted(self._rows_before[fragment], row, side="right")) - 1
        row -= int(self._rows_before[fragment][group_number])
        for component, stream in enumerate(self._streams):
            for window, groups in enumerate(stream.windows):
                for group in groups:
                    if (group.fragment, group.number) == (fragment, group_number) and row not in group.left_out:
                        document = _documents_before(groups, group) + row - sum(out < row for out in group.left_out)
                        return component, window, document
        return None

    def _steps(self, component: int, window: int, document: int, part: tuple[int, int], before: int) -> list[int]:
        stream = self._streams[component]
        given = int(self._mixture.count(before * self.step_sequences)[component])  # sequences of it, in these steps
        passes = math.ceil(stream.passes(given))
        # A block that a pass ends in is dealt out as a whole, so the next pass may be begun.
        sequences = {
            nth
            for number in range(passes + 1)
            for nth in self._sequences(stream, number, window, document, part)
            if nth < given
        }
        return sorted({self._number(component, nth) // self.step_sequences for nth in sequences})

    def _sequences(self, stream: Stream, number: int, window: int, document: int, part: tuple[int, int]) -> list[int]:
        """Numbers within the component of the sequences that have the tokens on pass `number`."""
        layout, at = self._layout(stream.name, number, window)
        begin = int(layout.start[at[document]]) + 1  # behind the token that begins a document
        low, high = begin + part[0], begin + part[1]
        order, first_unit = stream._order(number)
        offset = number * stream.pass_units + int(first_unit[np.flatnonzero(order == window)[0]])
        if layout.place is None:
            sequences = list(range((offset + low) // stream.context, (offset + high - 1) // stream.context + 1))
        else:
            rows = np.flatnonzero(((layout.place >= low) & (layout.place < high)).any(axis=1))
            sequences = [offset + row for row in rows.tolist()]
        return [_issued(stream, sequence) for sequence in sequences]

    def _layout_of(self, name: str, number: int, window: int) -> tuple[Layout, np.ndarray]:
        """The layout of a window on a pass, and the place in it of each document of the window's groups."""
        stream = next(stream for stream in self._streams if stream.name == name)
        layout = stream.layout(number, window, self._lengths(name, window))
        at = np.empty(len(layout.order), np.int64)
        at[layout.order] = np.arange(len(layout.order))
        return layout, at

    def _lengths_of(self, name: str, window: int) -> np.ndarray:
        stream = next(stream for stream in self._streams if stream.name == name)
        return self._reader.ids(stream.windows[window])[1]

    def _number(self, component: int, nth: int) -> int:
        """The number within the run of the n-th sequence of a component."""
        low, high = nth, 2 * nth + 2
        while self._mixture.count(high)[component] <= nth:
            low, high = high, 2 * high
        while low < high:  # the last number up to which the component gave `nth` sequences
            middle = (low + high + 1) // 2
            if self._mixture.count(middle)[component] <= nth:
                low = middle
            else:
                high = middle - 1
        return low


def _issued(stream: Stream, sequence: int) -> int:
    """As which sequence of the component that one is given out which lies at `sequence` in the stream."""
    low, order = stream._block_of(sequence)
    return low + int(np.flatnonzero(order == sequence - low)[0])


def _rows_before(entry: dict[str, Any]) -> np.ndarray:
    """The first row of each row group of a fragment of the shards, int64."""
    rows = [group[2] for group in entry["facts"]["groups"]]
    return np.cumsum([0, *rows])[:-1]


def _documents_before(groups: list[Group], group: Group) -> int:
    return sum(one.documents for one in groups[: groups.index(group)])
