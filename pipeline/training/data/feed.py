"""Batches for pretraining, as a pure function of (shards' manifest, settings, seed, step, rank, number of ranks).

Nothing but a cache is kept between batches. So a resumed run needs no loader state, the batch of a step is the same on
one rank and on eight, and the documents behind any step can be listed without training again.

    number of the sequence in the run -> component and number within it   (mixture.py)
    number within the component       -> pass, window, position           (stream.py)
    window                            -> row groups of the shards, read here
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from model.config import IGNORED
from pipeline.errors import UserError
from pipeline.settings import MAX_STEPS, MAX_TOKENS, Settings, Weight
from pipeline.training.data.mixture import Mixture
from pipeline.training.data.shard_reader import ShardReader, training_groups
from pipeline.training.data.stream import Group, Layout, Stream, WindowCache

if TYPE_CHECKING:
    import polars as pl

    from pipeline.store.artifact import Artifact
    from pipeline.training.slots import Slots

CACHE_BYTES = 96 * 2**20  # of cached windows, for a corpus of any size
WINDOWS_AT_ONCE = 3  # of a component: those that a block of its sequences may touch


class Phase(Settings):
    """Weights that apply from a step on."""

    step: int = Field(ge=0, le=MAX_STEPS, description="first step of the phase")
    source_weights: dict[str, Weight] = Field({}, description="by source; default 1, and 0 excludes a source")
    language_weights: dict[str, Weight] = Field({}, description="by language; multiplied by the weight of the source")


class FeedSettings(Settings):
    """How documents become batches."""

    packing: Literal["cut", "best_fit"] = Field(
        "cut",
        description="cut: documents are concatenated, and cut wherever a sequence ends (GPT-3); best_fit: documents "
        "that fit into a sequence are not cut (Ding et al. 2024), with less than 1 % of padding",
    )
    mask_documents: bool = Field(
        False, description="a token attends only to its own document, and positions restart in each (Llama 3, 3.2)"
    )
    source_weights: dict[str, Weight] = Field(
        {}, description="by source: how often its tokens are drawn; 2 = twice as often as their share of the text"
    )
    language_weights: dict[str, Weight] = Field(
        {}, description="by language: the same; multiplied by the weight of the source"
    )
    curriculum: list[Phase] = Field([], description="weights that replace those above from the given steps on")
    window_tokens: int = Field(
        2**20, ge=1, le=MAX_TOKENS, description="documents of a source and language are shuffled in windows of about this many tokens"
    )

    @model_validator(mode="after")
    def _phases_in_order(self) -> FeedSettings:
        steps = [phase.step for phase in self.curriculum]
        if steps != sorted(set(steps)):
            raise ValueError("curriculum: the steps of the phases must increase")
        for weights in (self.source_weights, self.language_weights, *(p.source_weights for p in self.curriculum)):
            if any(weight < 0 for weight in weights.values()):
                raise ValueError("a weight is negative; use 0 to exclude a source or language")
        return self


@dataclass(frozen=True)
class Batch:
    """Sequences of one rank. All arrays are [sequences, context]."""

    tokens: np.ndarray  # int64
    targets: np.ndarray  # int64: the next token; IGNORED for padding
    documents: np.ndarray | None  # int64: number of the document within its sequence; None without mask_documents
    positions: np.ndarray | None  # int64: position within the document; None without mask_documents
    empty: np.ndarray | None = None  # bool: positions of slots that are left empty; None where there are none at all


class Feed:
    """Reads the batches of a run (see the module's docstring).

    A micro-batch is `batch` sequences on each of `world` ranks; a step is `accumulation` micro-batches. The sequences of
    a step and their order depend only on the product batch x world x accumulation.
    """

    def __init__(
        self,
        shards: Artifact,
        settings: FeedSettings,
        seed: int,
        context: int,
        batch: int,
        rank: int = 0,
        world: int = 1,
        accumulation: int = 1,
    ):
        about = shards.facts["tokenizer"]
        self._settings, self._context = settings, context
        self._batch, self._rank, self._world = batch, rank, world
        self.step_sequences = batch * world * accumulation
        self._pad: int = about["pad"]
        self._dtype = np.dtype(shards.facts["dtype"])
        self._reader = ShardReader(shards)
        groups = training_groups(shards)
        if not groups:
            raise UserError("The token shards contain no training text: add text, or lower `shards.validation`.")
        self.components = sorted(groups)  # (source, language)
        place_bytes = self._dtype.itemsize if settings.packing == "cut" else 2 * self._dtype.itemsize + 1
        window = min(settings.window_tokens, CACHE_BYTES // (WINDOWS_AT_ONCE * place_bytes * len(groups)))
        start = about["document_start"]
        self._streams = [
            Stream("/".join(name), groups[name], context, settings.packing, window, seed, start, self._read)
            for name in self.components
        ]
        self._mixture = Mixture(self._phases(groups), seed)
        self._cache = WindowCache(CACHE_BYTES, WINDOWS_AT_ONCE * len(groups))
        self._lock = threading.Lock()

    def leave_empty(self, slots: Slots) -> None:
        """From now on, leave the slots of these documents empty: nothing of them but their length is in a batch."""
        self._reader.empty = slots
        self._cache = WindowCache(CACHE_BYTES, WINDOWS_AT_ONCE * len(self.components))
        for stream in self._streams:
            stream.empty_documents = self._reader.empty_documents

    def _phases(self, groups: dict[tuple[str, str], list[Group]]) -> list[tuple[int, np.ndarray]]:
        settings = self._settings
        phases = [(0, settings.source_weights, settings.language_weights)]
        phases += [(phase.step, phase.source_weights, phase.language_weights) for phase in settings.curriculum]
        size = np.array([sum(group.size for group in groups[name]) for name in self.components], dtype=np.float64)
        by_sequence = []
        for (step, sources, languages), following in zip(phases, [*phases[1:], (math.inf, {}, {})], strict=True):
            self._require_known(sources, 0, "source")
            self._require_known(languages, 1, "language")
            weight = np.array([sources.get(s, 1.0) * languages.get(lang, 1.0) for s, lang in self.components])
            if not (size * weight).any():
                raise UserError(f"From step {step} on, all weights of the training text are 0: raise one.")
            if following[0] > step:  # a phase from step 0 on replaces the weights outside the curriculum
                by_sequence.append((step * self.step_sequences, size * weight))
        return by_sequence

    def _require_known(self, weights: dict[str, float], part: int, kind: str) -> None:
        known = sorted({name[part] for name in self.components})
        for name in weights:
            if name not in known:
                raise UserError(
                    f"`pretraining.feed.{kind}_weights` names `{name}`, which has no training text: use one of "
                    f"{', '.join(known)}."
                )

    # -- batches -------------------------------------------------------------------------------------------------------

    def batch(self, number: int) -> Batch:
        """This rank's part of micro-batch `number` of the run (step x accumulation + micro-batch of the step)."""
        first = (number * self._world + self._rank) * self._batch
        shape = (self._batch, self._context)
        tokens = np.full(shape, self._pad, dtype=np.int64)
        targets = np.full(shape, IGNORED, dtype=np.int64)
        begins = np.zeros(shape, dtype=bool) if self._settings.mask_documents else None
        empty = np.zeros(shape, dtype=bool) if self._reader.empty is not None else None
        components, numbers = self._mixture.take(first, self._batch)
        with self._lock:
            for row, (component, sequence) in enumerate(zip(components.tolist(), numbers.tolist(), strict=True)):
                row_begins = None if begins is None else begins[row]
                row_empty = None if empty is None else empty[row]
                self._fill(self._streams[component], sequence, tokens[row], targets[row], row_begins, row_empty)
        if empty is not None:
            targets[empty] = IGNORED
        if begins is None:
            return Batch(tokens, targets, None, None, empty)
        begins[:, 0] = True
        columns = np.arange(self._context)
        documents = np.cumsum(begins, axis=1, dtype=np.int64) - 1
        positions = columns - np.maximum.accumulate(np.where(begins, columns, 0), axis=1)
        return Batch(tokens, targets, documents, positions, empty)

    def _fill(
        self,
        stream: Stream,
        sequence: int,
        tokens: np.ndarray,
        targets: np.ndarray,
        begins: np.ndarray | None,
        empty: np.ndarray | None,
    ) -> None:
        """Write one sequence into a row of the batch's arrays."""
        done = 0
        for number, nth, first, end in stream.parts(sequence):
            window = self._cache.get(stream, number, nth)
            if window.used is None or window.following is None or window.begins is None:  # packing: cut
                count = end - first
                tokens[done : done + count] = window.tokens[first:end]
                targets[done : done + count] = window.tokens[first + 1 : end + 1]
                if begins is not None:
                    low, high = np.searchsorted(window.start[:-1], (first, end))
                    begins[done + window.start[low:high] - first] = True
                if empty is not None and window.empty is not None:
                    empty[done : done + count] = window.empty[first:end]
                done += count
            else:
                used = int(window.used[first])
                tokens[:used] = window.tokens[first, :used]
                targets[:used] = window.following[first, :used]
                if begins is not None:
                    begins[:] = window.begins[first]
                if empty is not None and window.empty is not None:
                    empty[:] = window.empty[first]

    # -- the documents behind the batches ------------------------------------------------------------------------------

    def documents(self, step: int) -> list[str]:
        """Ids of the documents with tokens in a step's batch (over all ranks), each once, sorted; without empty slots."""
        components, numbers = self._mixture.take(step * self.step_sequences, self.step_sequences)
        doc_ids: set[str] = set()
        for component in np.unique(components).tolist():
            stream = self._streams[component]
            touched: dict[tuple[int, int], list[tuple[int, int]]] = {}
            for sequence in numbers[components == component].tolist():
                for number, window, first, end in stream.parts(sequence):
                    touched.setdefault((number, window), []).append((first, end))
            for (number, window), parts in touched.items():
                ids, rows = self._documents_in(stream, number, window, parts)
                doc_ids.update(ids.gather(rows).to_list())
        return sorted(doc_ids)

    def documents_before(self, step: int) -> Iterator[pl.DataFrame]:
        """Every document with tokens in a batch before `step`: doc_id, source, lang, passes; one frame per window.

        passes: how many times the model has been trained on the document, the last time perhaps on a part of it.
        """
        import polars as pl

        for component, sequences in enumerate(self._mixture.count(step * self.step_sequences).tolist()):
            stream = self._streams[component]
            source, lang = self.components[component]
            complete, begun = stream.begun(sequences)
            for window, groups in enumerate(stream.windows):
                ids, _ = self._reader.ids(groups)
                slots = stream.empty_documents(groups)
                passes = np.where(np.zeros(len(ids), bool) if slots is None else slots, 0, complete)
                for number, parts in begun.get(window, {}).items():
                    passes[self._documents_in(stream, number, window, parts)[1]] += 1
                frame = pl.DataFrame({"doc_id": ids, "passes": passes}).filter(pl.col("passes") > 0)
                if frame.height:
                    yield frame.select("doc_id", pl.lit(source).alias("source"), pl.lit(lang).alias("lang"), "passes")

    def _documents_in(
        self, stream: Stream, number: int, window: int, parts: list[tuple[int, int]]
    ) -> tuple[pl.Series, np.ndarray]:
        """Ids of a window's documents, and the rows of those in `parts` (first unit, end) on pass `number`.

        Slots that are left empty hold no document.
        """
        groups = stream.windows[window]
        ids, lengths = self._reader.ids(groups)
        rows = rows_in(stream.layout(number, window, lengths), parts)
        slots = stream.empty_documents(groups)
        return ids, rows if slots is None else rows[~slots[rows]]

    def passes(self, step: int) -> dict[str, float]:
        """How many passes over each source, in all its languages, were made before `step` (0.5: half of its tokens)."""
        totals: dict[str, list[float]] = {}
        for component, sequences in enumerate(self._mixture.count(step * self.step_sequences).tolist()):
            stream = self._streams[component]
            size = sum(group.size for window in stream.windows for group in window)
            total = totals.setdefault(self.components[component][0], [0.0, 0.0])
            total[0] += stream.passes(sequences) * size
            total[1] += size
        return {source: drawn / size for source, (drawn, size) in sorted(totals.items())}

    def packing_shares(self) -> dict[str, float]:
        """Shares that describe the packing.

        padding: share of padding in all sequences (exact). cut: share of tokens in documents that were cut although
        they fit into a sequence, measured on the first window of each component; only for `best_fit`.
        """
        if self._settings.packing == "cut":
            return {"padding": 0.0}
        positions = sum(stream.pass_units for stream in self._streams) * self._context
        size = sum(group.size for stream in self._streams for window in stream.windows for group in window)
        cut = seen = 0
        for stream in self._streams:
            _, lengths = self._reader.ids(stream.windows[0])
            layout = stream.layout(0, 0, lengths)
            cut, seen = cut + layout.cut_tokens, seen + int(layout.start[-1])
        return {"padding": 1 - size / positions, "cut": cut / seen}

    def _read(self, groups: list[Group]) -> tuple[np.ndarray, np.ndarray]:
        return self._reader.tokens(groups, self._dtype)


def rows_in(layout: Layout, parts: list[tuple[int, int]]) -> np.ndarray:
    """The rows (int64) of a window's documents with tokens in `parts` (first unit, end) of its layout."""
    touched = np.zeros(len(layout.order), dtype=bool)
    for first, end in parts:
        if first == end:
            continue
        if layout.place is None:
            low = int(np.searchsorted(layout.start, first, side="right")) - 1
            touched[low : int(np.searchsorted(layout.start[:-1], end))] = True
        else:
            where = layout.place[first:end]
            touched[np.searchsorted(layout.start, where[where >= 0], side="right") - 1] = True
    return layout.order[touched]
