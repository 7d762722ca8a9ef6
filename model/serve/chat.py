"""A conversation in the terminal; answers are printed as they are generated.

The prompt is always the whole conversation; if it no longer fits into the context, the oldest turns are dropped.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

from model.serve.text import Reply, Sampling, TextModel, open_directory

HELP = "/reset starts a new conversation, /text on continues text instead of answering, /exit or Ctrl-D ends."


def chat(
    directory: str | Path,
    temperature: float = 0.8,
    seed: int | None = None,
    max_new: int = 512,
    plain: bool | None = None,
    read: Callable[[str], str] = input,
    out: TextIO | None = None,
) -> None:
    """Chat with the model in `directory` until the input ends.

    plain: continue the input instead of answering it (by default, if the tokenizer has no tokens for conversations).
    The same seed and questions give the same answers. Raises ValueError if there is no model.
    """
    out = out or sys.stdout
    text_model = open_directory(directory)
    sampling = Sampling(max_new, temperature, seed=secrets.randbits(31) if seed is None else seed)
    plain = not text_model.chats if plain is None else plain
    print(f"{text_model.network.parameters_count() / 1e6:.1f} M parameters. {HELP}", file=out)
    messages: list[dict[str, str]] = []
    while True:
        try:
            line = read("> " if plain else "you> ").strip()
        except (EOFError, KeyboardInterrupt):
            print(file=out)
            return
        if not line:
            continue
        if line in ("/exit", "/quit"):
            return
        if line == "/reset":
            messages = []
        elif line in ("/text on", "/text off"):
            plain = line == "/text on" or not text_model.chats
        elif line.startswith("/"):
            print(HELP, file=out)
        elif plain:
            _show(partial(text_model.continue_text, line, sampling), out)
        else:
            messages.append({"role": "user", "content": line})
            messages = _newest_turns(text_model, messages)
            answer = _show(partial(text_model.answer, messages, sampling), out)
            messages = [*messages, {"role": "assistant", "content": answer}] if answer is not None else messages[:-1]
        sampling = replace(sampling, seed=sampling.seed + 1)


def _show(start: Callable[[], Reply], out: TextIO) -> str | None:
    """Print a reply as it is generated and return it; None if there was an error. Ctrl-C ends only the reply."""
    pieces: list[str] = []
    try:
        reply = start()
    except ValueError as error:
        print(error, file=out)
        return None
    try:
        for piece in reply:
            pieces.append(piece)
            print(piece, end="", flush=True, file=out)
    except KeyboardInterrupt:
        reply.close()
    print(file=out)
    return "".join(pieces)


def _newest_turns(text_model: TextModel, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The newest turns that leave a quarter of the context for the answer, but at least the last turn."""
    most = text_model.network.config.context * 3 // 4
    while len(messages) > 1 and len(text_model.chat_ids(messages)) > most:
        messages = messages[1:]
    while len(messages) > 1 and messages[0]["role"] == "assistant":
        messages = messages[1:]
    return messages
