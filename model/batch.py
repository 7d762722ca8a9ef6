"""Continuous batching: texts of one network join and leave a running batch at any step.

`Batch.advance` reads one piece of one prompt that waits, then gives each text one token, so that a long prompt does not
stop those who are being answered. Each text has the tokens that it has alone (`decoding_together.py`). A prompt that
several texts continue is read once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.choosing import Choice, Chooser
from model.decoding import Arranged, Decoding, arranged_for_many
from model.decoding_together import step
from model.generate import PIECE, check_prompt
from model.transformer import Cache, Transformer


@dataclass(eq=False)
class Text:
    """A text in the making, and whom to tell of it.

    most: tokens, of which the context may allow fewer. take: is given each token, and returns whether to go on. end: is
    called once, after the last token, with what went wrong or None. stopped: is asked before each step.
    """

    chooser: Chooser
    most: int
    take: Callable[[Choice], bool]
    end: Callable[[Exception | None], None]
    stopped: Callable[[], bool] = lambda: False


@dataclass(eq=False)
class _Reading:
    """A prompt that is being read, for all texts that continue it."""

    prompt: list[int]
    texts: list[Text]
    cache: Cache


@dataclass(eq=False)
class _Row:
    """A text whose prompt is read."""

    text: Text
    decoding: Decoding
    token: int
    left: int  # tokens that may still come


@dataclass(eq=False)
class Batch:
    """The texts of one network. Only one thread at a time may call it.

    Raises ValueError for a network that is not a finished one in fp32 or bf16 on a CPU.
    """

    network: Transformer
    arranged: Arranged = field(init=False)
    reading: deque[_Reading] = field(default_factory=deque)
    rows: list[_Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arranged = arranged_for_many(self.network.eval())

    def add(self, prompt: Sequence[int], texts: Sequence[Text]) -> None:
        """Texts that continue a prompt. Raises ValueError as `check_prompt` does."""
        check_prompt(self.network.config, len(prompt))
        cache = Cache(self.network.config, 1, len(prompt), dtype=self.network.output_weight.dtype)
        self.reading.append(_Reading(list(map(int, prompt)), list(texts), cache))

    @property
    def busy(self) -> bool:
        return bool(self.reading or self.rows)

    @torch.inference_mode()
    def advance(self) -> None:
        """One piece of the first prompt that waits, and one token of each text."""
        self._leave()
        if self.reading:
            self._read()
        if self.rows:
            logits = step([row.decoding for row in self.rows], [row.token for row in self.rows])
            self.rows = [row for row, scores in zip(self.rows, logits, strict=True) if self._chosen(row, scores)]

    def fail(self, error: Exception) -> None:
        """End all texts with an error."""
        texts = [text for reading in self.reading for text in reading.texts] + [row.text for row in self.rows]
        self.reading.clear()
        self.rows = []
        for text in texts:
            text.end(error)

    def _leave(self) -> None:
        """Let those go who were stopped."""
        for row in self.rows:
            if row.text.stopped():
                row.text.end(None)
        self.rows = [row for row in self.rows if not row.text.stopped()]
        for reading in list(self.reading):
            for text in [text for text in reading.texts if text.stopped()]:
                reading.texts.remove(text)
                text.end(None)
            if not reading.texts:
                self.reading.remove(reading)

    def _read(self) -> None:
        reading = self.reading[0]
        piece = reading.prompt[reading.cache.length :][:PIECE]
        with torch.autocast("cpu", enabled=False):
            hidden = self.network.hidden(torch.tensor([piece]), cache=reading.cache)
        if reading.cache.length < len(reading.prompt):
            return
        self.reading.popleft()
        logits = self.network.logits(hidden[0, -1]).float()
        for text in reading.texts:
            room = min(self.network.config.context, len(reading.prompt) + text.most)
            row = _Row(text, Decoding(self.arranged, reading.cache, room), 0, room - len(reading.prompt))
            if self._chosen(row, logits):
                self.rows.append(row)

    def _chosen(self, row: _Row, logits: Tensor) -> bool:
        """Whether the text goes on after the token that its logits [vocab_size] give."""
        try:
            choice = row.text.chooser.choose(logits) if row.left > 0 else None
            if choice is not None:
                row.left -= 1
                row.token = choice.token
                if row.text.take(choice) and row.left and not row.text.chooser.complete:
                    return True
        except Exception as error:  # of this text alone, such as logits that are not numbers
            row.text.end(error)
            return False
        row.text.end(None)
        return False
