"""A conversation as token ids, in ChatML: the one form for training, evaluation, chat, the server and the export.

A turn is `<|im_start|>role`, a line break, the content without white space around it, `<|im_end|>`, a line break
(OpenAI's ChatML). Nothing stands before the first turn: in training each conversation is a document of its own, whose
first token, at position 0, is `<|im_start|>`. The markers are inserted as ids and the content is encoded as ordinary
text, so nothing that a user writes can end a turn. Only the content of the assistant's turns, with the `<|im_end|>`
that ends it, is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

START, END = "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")

# The same as a chat template of Hugging Face (Jinja). `generation` marks what the assistant says, for the mask of
# `apply_chat_template(..., return_assistant_tokens_mask=True)`.
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] | trim + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}"
    "{{ message['content'] | trim + '<|im_end|>' }}"
    "{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

Encode = Callable[[list[str]], Sequence[Sequence[int] | np.ndarray]]  # ids of each text, without special tokens


def encode_conversations(
    conversations: Sequence[Sequence[Mapping[str, Any]]],
    encode: Encode,
    ids: Mapping[str, int],
    answer_next: bool = False,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Token ids (int64) and loss mask (bool, same length) of each conversation, a list of {role, content}.

    ids: of the special tokens, by name. answer_next: end with the start of an assistant's turn, for the model to
    continue. Raises ValueError for a tokenizer without the markers and for an unknown role.
    """
    if START not in ids or END not in ids:
        raise ValueError(f"this tokenizer has no {START} and {END}, so it cannot hold a conversation.")
    start, end = ids[START], ids[END]
    heads = {role: _ids(encode, [f"{role}\n"])[0] for role in ROLES}
    (line_break,) = _ids(encode, ["\n"])
    contents = _contents(conversations, encode, heads)
    results = []
    for conversation in conversations:
        tokens: list[int] = []
        learned: list[bool] = []
        for message in conversation:
            head = [start, *heads[message["role"]]]
            content = [*contents[message["role"], message["content"].strip()], end]
            tokens += head + content + line_break
            from_assistant = message["role"] == "assistant"
            learned += [False] * len(head) + [from_assistant] * len(content) + [False] * len(line_break)
        if answer_next:
            head = [start, *heads["assistant"]]
            tokens += head
            learned += [False] * len(head)
        results.append((np.array(tokens, dtype=np.int64), np.array(learned, dtype=bool)))
    return results


def _contents(
    conversations: Iterable[Sequence[Mapping[str, Any]]], encode: Encode, heads: Mapping[str, list[int]]
) -> dict[tuple[str, str], list[int]]:
    """Ids of what is said, by (role, content).

    Encoded behind the role's line, as in the rendered template, where it matters what stands before a text: some
    tokenizers put a space before each. Where a token would span the line break, by itself, so that an answer starts
    with a token of its own, as it does when the model is asked.
    """
    wanted: dict[tuple[str, str], None] = {}
    for conversation in conversations:
        for message in conversation:
            if message["role"] not in heads:
                raise ValueError(f"unknown role {message['role']!r}: use one of {', '.join(ROLES)}.")
            wanted[message["role"], message["content"].strip()] = None
    together = _ids(encode, [f"{role}\n{content}" for role, content in wanted])
    found = {}
    for (role, content), tokens in zip(wanted, together, strict=True):
        head = heads[role]
        if tokens[: len(head)] == head:
            found[role, content] = tokens[len(head) :]
    apart = [key for key in wanted if key not in found]
    return found | dict(zip(apart, _ids(encode, [content for _, content in apart]), strict=True))


def _ids(encode: Encode, texts: list[str]) -> list[list[int]]:
    return [list(map(int, tokens)) for tokens in encode(texts)] if texts else []
