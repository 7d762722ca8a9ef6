"""A conversation in the terminal; answers are printed as they are generated.

The prompt is always the whole conversation; if it no longer fits into the context, the oldest turns are dropped, but
never the system's, which says how to answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

from model.serve.text import Reply, ReplyOptions, TextModel, open_directory

HELP = "/reset starts a new conversation, /text on continues text instead of answering, /exit or Ctrl-D ends."


def chat(
    model: str | Path | TextModel,
    options: ReplyOptions,
    system: str = "",
    read: Callable[[str], str] = input,
    out: TextIO | None = None,
    after: Callable[[str], None] | None = None,
) -> None:
    """Chat with a model, or the one in a directory, until the input ends.

    system: the system's turn, before the conversation. A model that was not taught to answer continues the input. Each
    reply uses the next seed, so that the same first seed and questions give the same answers. after: called with each
    reply once it is complete. Raises ValueError if there is no model.
    """
    out = out or sys.stdout
    text_model = model if isinstance(model, TextModel) else open_directory(model)
    plain = not text_model.answers
    print(f"{text_model.network.parameters_count() / 1e6:.1f} M parameters. {HELP}", file=out)
    start: list[Mapping[str, str]] = [{"role": "system", "content": system}] if system.strip() else []
    messages = start
    while True:
        try:
            line = read("> " if plain else "you> ").strip()
        except (EOFError, KeyboardInterrupt):
            print(file=out)
            return
        answer = None
        if not line:
            continue
        if line in ("/exit", "/quit"):
            return
        if line == "/reset":
            messages = start
        elif line in ("/text on", "/text off"):
            plain = line == "/text on" or not text_model.chats
        elif line.startswith("/"):
            print(HELP, file=out)
        elif plain:
            answer = _show(partial(text_model.continue_text, line, options), out)
        else:
            messages = text_model.newest_turns([*messages, {"role": "user", "content": line}])
            answer = _show(partial(text_model.answer, messages, options), out)
            messages = [*messages, {"role": "assistant", "content": answer}] if answer is not None else messages[:-1]
        if after is not None and answer:
            after(answer)
        options = replace(options, sampling=replace(options.sampling, seed=(options.sampling.seed + 1) % 2**63))


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
