"""The forms in which OpenAI's API writes choices and log probabilities, of a chat and of a completion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.choosing import Choice

if TYPE_CHECKING:
    from model.serve.answer import Wish

Shown = Callable[[Sequence[Choice]], Any]  # log probabilities of tokens, in the form of the kind of request


@dataclass(frozen=True)
class Piece:
    """A piece of one of an answer's texts, with the tokens that it ends with; `finish`: why there are no more."""

    index: int
    text: str
    choices: tuple[Choice, ...] = ()
    finish: str | None = None


def shown_by(wish: Wish) -> Shown:
    """How log probabilities are shown for a request: not at all, or as `chat_log_probabilities` and its like do."""
    spelt = wish.model.bytes_of
    if wish.likeliest is None:
        return lambda choices: None
    if wish.chat:
        return lambda choices: chat_log_probabilities(choices, spelt)
    return lambda choices: completion_log_probabilities(choices, spelt)


def chat_log_probabilities(choices: Sequence[Choice], bytes_of: Sequence[bytes]) -> dict[str, Any]:
    def of(token: int, log_probability: float) -> dict[str, Any]:
        spelt = bytes_of[token]
        return {"token": spelt.decode("utf-8", "replace"), "logprob": log_probability, "bytes": list(spelt)}

    content = [
        of(choice.token, choice.log_probability) | {"top_logprobs": [of(*likely) for likely in choice.likeliest]}
        for choice in choices
    ]
    return {"content": content, "refusal": None}


def completion_log_probabilities(choices: Sequence[Choice], bytes_of: Sequence[bytes]) -> dict[str, Any]:
    """Tokens that spell the same (parts of characters) are one entry of `top_logprobs`, with the likelier's value."""
    spelt = [bytes_of[choice.token].decode("utf-8", "replace") for choice in choices]
    top = []
    for choice in choices:
        entries: dict[str, float] = {}
        for token, log_probability in choice.likeliest:
            entries.setdefault(bytes_of[token].decode("utf-8", "replace"), log_probability)
        top.append(entries)
    starts = [sum(map(len, spelt[:number])) for number in range(len(spelt))]
    return {
        "tokens": spelt,
        "token_logprobs": [choice.log_probability for choice in choices],
        "top_logprobs": top,
        "text_offset": starts,
    }


def opening(index: int) -> dict[str, Any]:
    """The first event of a text of a chat."""
    return _choice(index, {"delta": {"role": "assistant", "content": ""}}, None, None)


def empty(index: int, chat: bool) -> dict[str, Any]:
    """A choice of an event that adds no text."""
    return _choice(index, {"delta": {}} if chat else {"text": ""}, None, None)


def parts(piece: Piece, chat: bool, shown: Shown) -> Iterable[dict[str, Any]]:
    """The choices of the events that a piece becomes: its text, and why it was the last one."""
    log_probabilities = shown(piece.choices)
    if piece.text or (log_probabilities and piece.choices):
        content = {"delta": {"content": piece.text}} if chat else {"text": piece.text}
        yield _choice(piece.index, content, None, log_probabilities)
    if piece.finish:
        yield _choice(piece.index, {"delta": {}} if chat else {"text": ""}, piece.finish, None)


def whole(pieces: Sequence[Piece], chat: bool, shown: Shown) -> list[dict[str, Any]]:
    """All texts of an answer, by their numbers."""
    found = []
    for index in sorted({piece.index for piece in pieces}):
        own = [piece for piece in pieces if piece.index == index]
        text = "".join(piece.text for piece in own)
        content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choices = [choice for piece in own for choice in piece.choices]
        found.append(_choice(index, content, own[-1].finish, shown(choices)))
    return found


def _choice(index: int, content: dict[str, Any], finish: str | None, log_probabilities: Any) -> dict[str, Any]:
    return {"index": index, **content, "finish_reason": finish, "logprobs": log_probabilities}
