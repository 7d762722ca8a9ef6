"""Conversations as tokens in ChatML, with the loss mask.

A turn is `<|im_start|>role`, a line break, the content, `<|im_end|>`, a line break (OpenAI's ChatML). The markers are
inserted as ids and the content is encoded as ordinary text, so nothing that a user writes can end a turn. Only the
content of the assistant's turns, with the `<|im_end|>` that ends it, is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

START, END = "<|im_start|>", "<|im_end|>"

# The same as a chat template of Hugging Face (Jinja).
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def encode_conversations(
    conversations: Sequence[Sequence[Mapping[str, Any]]],
    encode: Callable[[list[str]], list[np.ndarray]],
    ids: Mapping[str, int],
    answer_next: bool = False,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Token ids (int64) and loss mask (bool, same length) of each conversation, a list of {role, content}.

    answer_next: end with the start of an assistant's turn, for the model to continue.
    """
    if START not in ids or END not in ids:
        raise ValueError(f"this tokenizer has no {START} and {END}, so it cannot hold a conversation")
    texts: dict[str, int] = {"\n": 0, "assistant\n": 1}
    for conversation in conversations:
        for message in conversation:
            texts.setdefault(message["role"] + "\n", len(texts))
            texts.setdefault(message["content"], len(texts))
    encoded = [tokens.tolist() for tokens in encode(list(texts))]
    start, end = ids[START], ids[END]

    def tokens_of(text: str) -> list[int]:
        return encoded[texts[text]]

    results = []
    for conversation in conversations:
        tokens: list[int] = []
        learned: list[bool] = []
        for message in conversation:
            head = [start, *tokens_of(message["role"] + "\n")]
            content = [*tokens_of(message["content"]), end]
            tail = tokens_of("\n")
            tokens += head + content + tail
            from_assistant = message["role"] == "assistant"
            learned += [False] * len(head) + [from_assistant] * len(content) + [False] * len(tail)
        if answer_next:
            head = [start, *tokens_of("assistant\n")]
            tokens += head
            learned += [False] * len(head)
        results.append((np.array(tokens, dtype=np.int64), np.array(learned, dtype=bool)))
    return results
