"""A conversation in the terminal: each answer appears as it is made.

The one idea: the whole conversation is the prompt each time, and when it no longer fits, the oldest turns go, but never
the system's, which says how to answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

from model.serve.text import Reply, Speaker, Wanted, open_directory

HELP = "/reset starts afresh, /text on lets the model continue text instead of answering, /exit or Ctrl-D ends."


def chat(
    directory: str | Path,
    wanted: Wanted,
    system: str = "",
    plain: bool | None = None,
    read: Callable[[str], str] = input,
    out: TextIO | None = None,
) -> None:
    """Talk to the model in `directory` until the input ends.

    `system`: what the model is told before the conversation. `plain`: continue what is written instead of answering it
    (default: if the tokenizer knows no conversations). Each answer takes the next seed, so that the same first seed and
    the same questions give the same answers. Raises ValueError if there is no model.
    """
    out = out or sys.stdout
    speaker = open_directory(directory)
    plain = not speaker.chats if plain is None else plain
    print(f"{speaker.model.parameters_count() / 1e6:.1f} M parameters. {HELP}", file=out)
    told = [{"role": "system", "content": system}] if system.strip() else []
    messages = told
    while True:
        try:
            said = read("> " if plain else "you> ").strip()
        except (EOFError, KeyboardInterrupt):
            print(file=out)
            return
        if not said:
            continue
        if said in ("/exit", "/quit"):
            return
        if said == "/reset":
            messages = told
        elif said in ("/text on", "/text off"):
            plain = said == "/text on" or not speaker.chats
        elif said.startswith("/"):
            print(HELP, file=out)
        elif plain:
            _show(partial(speaker.continue_text, said, wanted), out)
        else:
            messages = _that_fit(speaker, [*messages, {"role": "user", "content": said}])
            made = _show(partial(speaker.answer, messages, wanted), out)
            messages = [*messages, {"role": "assistant", "content": made}] if made is not None else messages[:-1]
        wanted = replace(wanted, sampling=replace(wanted.sampling, seed=(wanted.sampling.seed + 1) % 2**63))


def _show(start: Callable[[], Reply], out: TextIO) -> str | None:
    """Print a reply as it comes and return it, or None if there was none. Ctrl-C ends the reply alone."""
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


def _that_fit(speaker: Speaker, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The system's turn and the newest others, as many as leave a quarter of the context for the answer.

    The last turn always stays, and the first after the system's is a user's.
    """
    most = speaker.model.config.context * 3 // 4
    told = [message for message in messages if message["role"] == "system"]
    turns = messages[len(told) :]
    while len(turns) > 1 and (turns[0]["role"] == "assistant" or len(speaker.chat_ids([*told, *turns])) > most):
        turns = turns[1:]
    return [*told, *turns]
