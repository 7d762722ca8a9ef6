"""Continuous batching: texts of one network join and leave a running batch at any step.

`Batch.advance` reads one piece of one prompt that waits, then gives each text one token, so that a long prompt does not
stop those who are being answered. Each text has the tokens that it has alone (`decoding_together.py`). A prompt that
several texts continue is read once.

A text that repeats what it holds, such as an answer that quotes its question, takes several tokens in one step: those
that followed the same words before are guessed, and computed beside the next token (prompt lookup decoding, Saxena
2023). A guess counts only where it is the token that is chosen anyway, so the tokens are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from model.choosing import Choice, Chooser
from model.decoding_together import Together
from model.generate import PIECE, check_prompt
from model.llama import attached
from model.transformer import Transformer

SAME = 3  # tokens that have to be the same as before for a guess
GUESSES = 4  # tokens in a step, beside the next one
FEW = 4  # texts up to which guessing pays: with more, a step is no longer as long as reading the weights


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


class InMemory(Protocol):
    """The tokens of a text that were computed. `length` may be set back."""

    length: int


class Computes(Protocol):
    """What computes logits for a batch: torch (`Together`) or llama.cpp (`llama.Llama`)."""

    def fits(self, texts: int) -> bool:
        """Whether there is room for so many more texts. Raises ValueError where there never is."""

    def begin(self, tokens: int) -> Any:
        """A prompt of so many tokens, of which none is read."""

    def read(self, prompt: Any, piece: Sequence[int]) -> Tensor:
        """Logits [vocab_size] of what follows a prompt that is extended by a piece of it."""

    def continued(self, prompt: Any, room: int) -> Any:
        """A text that goes on from a prompt. room: for how many tokens in all."""

    def step(self, texts: Sequence[Any], runs: Sequence[Sequence[int]]) -> Tensor:
        """Logits [tokens, vocab_size] of what follows each token of each text's run; each is extended by its run."""


@dataclass(eq=False)
class _Reading:
    """A prompt that is being read, for all texts that continue it."""

    prompt: list[int]
    texts: list[Text]
    cache: InMemory | None = None  # once it has room


class _Row:
    """A text whose prompt is read."""

    def __init__(self, text: Text, decoding: InMemory, prompt: Sequence[int], left: int) -> None:
        self.text, self.decoding = text, decoding
        self.left = left  # tokens that may still come
        self.ids: list[int] = []
        self.before: dict[tuple[int, ...], int] = {}  # where the text went on after so many tokens
        for token in prompt:
            self.append(token)

    def append(self, token: int) -> None:
        if len(self.ids) >= SAME:
            self.before[tuple(self.ids[-SAME:])] = len(self.ids)
        self.ids.append(token)

    def run(self, guesses: int) -> list[int]:
        """The tokens of the next step: the last one chosen, and guesses of what follows."""
        start = self.before.get(tuple(self.ids[-SAME:])) if guesses else None
        guessed: list[int] = []
        while start is not None and len(guessed) < min(guesses, self.left - 1):
            at = start + len(guessed)  # a guess may repeat a guess, where a text goes round in a short circle
            guessed.append(self.ids[at] if at < len(self.ids) else guessed[at - len(self.ids)])
        return [self.ids[-1], *guessed]


@dataclass(eq=False)
class Batch:
    """The texts of one network. Only one thread at a time may call it.

    Raises ValueError for a network that is not a finished one in fp32 or bf16 on a CPU.
    """

    network: Transformer
    computes: Computes = field(init=False)
    reading: deque[_Reading] = field(default_factory=deque)
    rows: list[_Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.computes = attached(self.network) or Together(self.network)

    def add(self, prompt: Sequence[int], texts: Sequence[Text]) -> None:
        """Texts that continue a prompt. Raises ValueError as `check_prompt` does."""
        check_prompt(self.network.config, len(prompt))
        self.computes.fits(len(texts) + 1)
        self.reading.append(_Reading(list(map(int, prompt)), list(texts)))

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
            guesses = GUESSES if len(self.rows) <= FEW else 0
            runs = [row.run(guesses) for row in self.rows]
            found = self.computes.step([row.decoding for row in self.rows], runs)
            logits = found.split([len(run) for run in runs])
            self.rows = [row for row, *found in zip(self.rows, runs, logits, strict=True) if self._goes_on(row, *found)]

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
        if reading.cache is None:
            if not self.computes.fits(len(reading.texts) + 1):
                return  # until other texts have come to their end
            reading.cache = self.computes.begin(len(reading.prompt))
        logits = self.computes.read(reading.cache, reading.prompt[reading.cache.length :][:PIECE])
        if reading.cache.length < len(reading.prompt):
            return
        self.reading.popleft()
        for text in reading.texts:
            room = min(self.network.config.context, len(reading.prompt) + text.most)
            decoding = self.computes.continued(reading.cache, room)
            row = _Row(text, decoding, reading.prompt, room - len(reading.prompt))
            if self._chosen(row, logits):
                self.rows.append(row)

    def _goes_on(self, row: _Row, run: list[int], logits: Tensor) -> bool:
        """Whether the text goes on after the tokens that its logits [run, vocab_size] give, as far as guesses held."""
        start = row.decoding.length - len(run)
        for number, scores in enumerate(logits):
            if not self._chosen(row, scores):
                return False
            if number + 1 < len(run) and row.ids[-1] != run[number + 1]:
                row.decoding.length = start + number + 1  # what follows was a wrong guess
                return True
        return True

    def _chosen(self, row: _Row, logits: Tensor) -> bool:
        """Whether the text goes on after the token that its logits [vocab_size] give."""
        try:
            choice = row.text.chooser.choose(logits) if row.left > 0 else None
            if choice is not None:
                row.left -= 1
                row.append(choice.token)
                if row.text.take(choice) and row.left and not row.text.chooser.complete:
                    return True
        except Exception as error:  # of this text alone, such as logits that are not numbers
            row.text.end(error)
            return False
        row.text.end(None)
        return False
