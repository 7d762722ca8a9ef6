"""Answers from documents: what the server asks of an index, what the model is given, and what an answer is taken from.

The server knows no index. It is given a function that finds passages for a question and says how certain it is that
they hold the answer. Below the threshold the model is not asked at all: a small one would make something up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.serve.text import TextModel

NOT_THERE = {"ko": "문서에 없는 내용입니다.", "en": "This is not in the documents."}
INSTRUCTION = {
    "ko": "다음 글에 있는 내용으로만 대답하세요.",
    "en": "Answer only from the following passages.",
}
END = re.compile(r"[.!?。…]+[\"')\]”’」』]*(?=\s|$)|\n|$")  # of a sentence
GRAM = 4  # characters
FEWEST = 6  # grams of a sentence that can be told from others
CITED = 0.5  # share of a sentence's grams that are in the passage it is taken from
SHORTEST = 40  # characters of a passage that is cut to fit


@dataclass(frozen=True)
class Passage:
    """A span of a document: `start` and `end` in code points, end exclusive. name: of the document at its source."""

    document: str
    source: str
    name: str
    url: str | None
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True)
class Found:
    """Passages for a question, best first.

    certainty: from 0 to 1, that they hold the answer. threshold: from which certainty on they are taken to.
    """

    passages: tuple[Passage, ...]
    certainty: float
    threshold: float


Look = Callable[[str, int], Found]  # a question and how many passages are wanted


@dataclass(frozen=True)
class Grounds:
    """What an answer is made from. said: the answer itself, where the documents have none."""

    passages: tuple[Passage, ...]
    certainty: float
    said: str | None = None

    def sources(self) -> list[dict[str, Any]]:
        """The passages as a response shows them."""
        return [
            {"number": number, **{name: getattr(passage, name) for name in passage.__dataclass_fields__}}
            for number, passage in enumerate(self.passages, 1)
        ]


def grounded(
    model: TextModel, messages: Sequence[Mapping[str, str]], found: Found, threshold: float | None, shorten: bool
) -> tuple[list[Mapping[str, str]], Grounds]:
    """A conversation with passages before it, and what of them it holds.

    threshold: in place of the index's own. shorten: whether earlier turns may be left out. Raises ValueError if the
    conversation leaves no room for a passage.
    """
    question = messages[-1]["content"]
    least = found.threshold if threshold is None else threshold
    if not found.passages or found.certainty < least:
        return list(messages), Grounds((), found.certainty, NOT_THERE[language_of(question)])
    system = list(messages[:1]) if messages[0]["role"] == "system" else []
    tries = [list(messages), *([[*system, messages[-1]]] if shorten and len(messages) > len(system) + 1 else [])]
    most = model.network.config.context * 3 // 4
    for turns in tries:
        for passages in _shorter(found.passages):
            given = with_passages(turns, [passage.text for passage in passages])
            if len(model.chat_ids(given)) <= most:
                return given, Grounds(tuple(passages), found.certainty)
    raise ValueError(
        f"the conversation leaves no room for a passage in the model's context of {model.network.config.context}"
        " tokens: begin a new one."
    )


def _shorter(passages: Sequence[Passage]) -> Iterable[Sequence[Passage]]:
    """All passages, then fewer of them, then the beginning of the first."""
    for count in range(len(passages), 0, -1):
        yield passages[:count]
    first = passages[0]
    size = len(first.text) // 2
    while size >= SHORTEST:
        yield [Passage(**{**vars(first), "text": first.text[:size], "end": first.start + size})]
        size //= 2


def with_passages(messages: Sequence[Mapping[str, str]], passages: Sequence[str]) -> list[Mapping[str, str]]:
    """The conversation with numbered passages at the end of the system's turn."""
    said = messages[0]["content"] if messages[0]["role"] == "system" else ""
    rest = messages[1:] if messages[0]["role"] == "system" else messages
    numbered = (f"[{number}] {' '.join(text.split())}" for number, text in enumerate(passages, 1))
    parts = [said, INSTRUCTION[language_of(messages[-1]["content"])], *numbered]
    return [{"role": "system", "content": "\n".join(part for part in parts if part.strip())}, *rest]


def language_of(text: str) -> str:
    """ko if there are as many Hangul syllables as other letters; otherwise en."""
    letters = [letter for letter in text if letter.isalpha()]
    hangul = sum("\uac00" <= letter <= "\ud7a3" for letter in letters)
    return "ko" if letters and 2 * hangul >= len(letters) else "en"


def citations(answer: str, passages: Sequence[Passage]) -> list[dict[str, Any]]:
    """For each sentence of an answer that is taken from a passage: where it is, and the span of the document.

    A sentence counts as taken from the sentence of a passage that holds most of its runs of four letters, if that is
    at least CITED of them. This is measured, not said by the model, so it holds for models that never learned to cite.
    """
    held = [
        (number, passage, passage.start + start, passage.start + end, _grams(passage.text[start:end]))
        for number, passage in enumerate(passages, 1)
        for start, end in sentences(passage.text)
    ]
    found = []
    for start, end in sentences(answer):
        grams = _grams(answer[start:end])
        if len(grams) < FEWEST or not held:
            continue
        share, number, passage, first, last = max(
            ((len(grams & known) / len(grams), -number, passage, first, last)
             for number, passage, first, last, known in held),
            key=lambda one: one[:2],
        )  # fmt: skip
        if share >= CITED:
            about = {"source": -number, "document": passage.document, "document_start": first, "document_end": last}
            found.append({"start": start, "end": end, **about, "share": round(share, 2)})
    return found


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence of a short text, in code points, without the white space around it."""
    found, first = [], 0
    for match in END.finditer(text):
        said = text[first : match.end()]
        if said.strip():
            start = first + len(said) - len(said.lstrip())
            found.append((start, start + len(said.strip())))
        first = match.end()
    return found


def _grams(text: str) -> set[str]:
    letters = "".join(letter for letter in text.lower() if letter.isalnum())
    return {letters[place : place + GRAM] for place in range(len(letters) - GRAM + 1)}
