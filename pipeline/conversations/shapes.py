"""Conversations and preferences in the shapes that people keep them in, brought to one.

The one idea: a row is either understood completely or refused with a named reason that is counted. Nothing is guessed
at, so a set that is half malformed shows up as such instead of training a model on empty answers.

Understood: `messages` (or ShareGPT's `conversations`, with `from`/`value`, or `chat_rounds`), ChatML in one `text`,
`instruction` + `input` + `output` (Alpaca), `instruction` + `context` + `response` (Dolly), `question`/`answer`,
`prompt`/`completion`, `problem`/`solution`; calls of tools become text (`model/tool_calls.py`). For preferences
`prompt`, `chosen`, `rejected` (strings or lists of messages, as TRL writes them), and for a rated answer any
conversation with a `label`: thumb up or down.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import polars as pl
import xxhash

from model.conversation import END, START
from model.tool_calls import with_tools
from pipeline.ingest.records import SKIPPED

MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
CONVERSATION: dict[str, Any] = {"id": pl.String, "messages": MESSAGES, "source": pl.String, "lang": pl.String}
PREFERENCE: dict[str, Any] = {
    "id": pl.String,
    "prompt": MESSAGES,
    "chosen": pl.String,
    "rejected": pl.String,
    "source": pl.String,
    "lang": pl.String,
}

RATED = "rated"  # start of the names of tables with answers that were rated by themselves
RATING: dict[str, Any] = {
    "id": pl.String,
    "prompt": MESSAGES,
    "answer": pl.String,
    "desirable": pl.Boolean,
    "source": pl.String,
    "lang": pl.String,
}

# What the reader of rows leaves out and counts.
UNREAD = ("malformed", "invalid_encoding", "too_long", "unknown_format", "unsafe_name")

REASONS = {
    "not_json": "the line is not JSON, or no JSON object",
    "unknown_shape": "none of the known groups of columns is there",
    "not_text": "a turn's text is missing or is no string",
    "empty_turn": "a turn is empty or white space only",
    "unknown_role": "a role that is neither system, user nor assistant (nor one of their usual other names)",
    "wrong_order": "turns do not alternate user, assistant (after at most one system turn)",
    "no_answer": "the conversation does not end with the assistant, or the prompt not with the user",
    "chosen_equals_rejected": "both answers are the same: nothing can be learned from the pair",
    "bad_tools": "tools are no list, or a call of one has no name or arguments that are no JSON",
    "undecided": "people did not agree which answer is better, or too few of them judged it",
    "unknown_label": "the label of a rated answer is neither true nor false, up nor down, 1 nor 0",
    "duplicate": "the same row is there already, in this source or an earlier one",
    "over_limit": "beyond the source's limit",
    **{reason: SKIPPED[reason] for reason in UNREAD},
}

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "instruction": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
}


LABELS = {"true": True, "up": True, "1": True, "false": False, "down": False, "0": False}


class Malformed(Exception):
    """A row that is refused; its text is one of REASONS."""


def conversation(row: dict | None) -> list[dict]:
    """The row's messages, checked: an optional system turn, then user and assistant in turn, ending with the assistant.

    Raises Malformed with one of REASONS.
    """
    if row is None:
        raise Malformed("not_json")
    turns = row.get("messages") or row.get("conversations") or row.get("chat_rounds") or chatml(row.get("text"))
    prompt, completion = row.get("prompt"), row.get("completion")
    if turns is None and isinstance(prompt, list) and isinstance(completion, list):  # as TRL writes them
        turns = [*prompt, *completion]
    if turns is None:
        ask, answer = (
            _first(row, "instruction", "question", "prompt", "problem"),
            _first(row, "output", "response", "answer", "completion", "solution"),
        )
        if ask is None or answer is None:
            raise Malformed("unknown_shape")
        further = _first(row, "input", "context")  # Alpaca's name, and Dolly's
        if isinstance(further, str) and further.strip():
            ask = f"{ask}\n\n{further}"
        turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
        if isinstance(row.get("system"), str) and row["system"].strip():
            turns.insert(0, {"role": "system", "content": row["system"]})
    messages = checked(plain(turns, row.get("tools")))
    if messages[-1]["role"] != "assistant":
        raise Malformed("no_answer")
    return messages


def chatml(text: Any) -> list[dict] | None:
    """The turns of a conversation that is written out in ChatML; None if this is none."""
    if not isinstance(text, str) or not text.lstrip().startswith(START):
        return None
    turns = []
    for part in text.split(START)[1:]:
        role, _, said = part.partition("\n")
        content, end, _ = said.partition(END)
        if not end:
            raise Malformed("not_text")
        turns.append({"role": role.strip(), "content": content})
    return turns


def plain(turns: Any, tools: Any) -> Any:
    """The turns with tools, their calls and what they returned as text; others as they are. Raises Malformed."""
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return turns
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError:
            raise Malformed("bad_tools") from None
    if tools is not None and not isinstance(tools, list):
        raise Malformed("bad_tools")
    try:
        return with_tools(turns, tools or ())
    except (ValueError, TypeError, AttributeError):
        raise Malformed("bad_tools") from None


def preference(row: dict | None) -> tuple[list[dict], str, str]:
    """(prompt messages that end with the user, chosen answer, rejected answer).

    Raises Malformed with one of REASONS.
    """
    if row is None:
        raise Malformed("not_json")
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if chosen is None or rejected is None:
        raise Malformed("unknown_shape")
    prompt = _first(row, "prompt", "instruction", "question")
    if prompt is None and isinstance(chosen, list):  # TRL: both lists share all turns but the last
        prompt = chosen[:-1]
    if prompt is None:
        raise Malformed("unknown_shape")
    if isinstance(prompt, str):
        if isinstance(row.get("input"), str) and row["input"].strip():
            prompt = f"{prompt}\n\n{row['input']}"
        prompt = [{"role": "user", "content": prompt}]
    messages = checked(prompt)
    if messages[-1]["role"] != "user":
        raise Malformed("no_answer")
    answers = []
    for answer in (chosen, rejected):
        if isinstance(answer, list):
            last = answer[-1] if answer and isinstance(answer[-1], dict) else {}
            answer = last.get("content", last.get("value"))
        if not isinstance(answer, str):
            raise Malformed("not_text")
        if not answer.strip():
            raise Malformed("empty_turn")
        answers.append(answer.strip())
    if fold(answers[0]) == fold(answers[1]):
        raise Malformed("chosen_equals_rejected")
    return messages, answers[0], answers[1]


def rating(row: dict) -> tuple[list[dict], str, bool]:
    """(prompt messages that end with the user, the answer, whether it is a good one) of a row with a `label`.

    Raises Malformed with one of REASONS.
    """
    desirable = LABELS.get(str(row["label"]).strip().lower())
    *before, last = conversation(row)
    if desirable is None:
        raise Malformed("unknown_label")
    return before, last["content"], desirable


def checked(turns: Any) -> list[dict]:
    """Turns as `{"role", "content"}` with known roles, text stripped, in an order that a chat template can hold."""
    if not isinstance(turns, list) or not turns or not all(isinstance(t, dict) for t in turns):
        raise Malformed("unknown_shape")
    messages = []
    for turn in turns:
        role = ROLES.get(str(turn.get("role") or turn.get("from")).lower())
        content = turn["content"] if turn.get("content") is not None else turn.get("value")
        if role is None:
            raise Malformed("unknown_role")
        if not isinstance(content, str):
            raise Malformed("not_text")
        if not content.strip():
            raise Malformed("empty_turn")
        messages.append({"role": role, "content": content.strip()})
    spoken = messages[1:] if messages[0]["role"] == "system" else messages
    if not spoken or any(m["role"] != ("user", "assistant")[i % 2] for i, m in enumerate(spoken)):
        raise Malformed("wrong_order")
    return messages


def _first(row: dict, *names: str) -> Any:
    return next((row[n] for n in names if row.get(n) is not None), None)


def fold(text: str) -> str:
    """The text as compared: NFC, case folded, white space folded."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def identity(*parts: Any) -> str:
    """32 hex digits of the parts' content: a row's id, the same wherever and whenever it is read."""
    said = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return xxhash.xxh3_128_hexdigest(said.encode("utf-8", "surrogatepass"))


def is_held_back(messages: list[dict], share: float) -> bool:
    """Whether a conversation belongs to the held-back part: by the hash of its first user turn as folded.

    So all conversations that open with the same question are on the same side, whatever set they come from, and a
    question stays on its side when sets are added.
    """
    first = next(m["content"] for m in messages if m["role"] == "user")
    return xxhash.xxh3_64_intdigest(fold(first).encode("utf-8", "surrogatepass")) < share * 2**64
