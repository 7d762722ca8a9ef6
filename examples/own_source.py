"""A source of your own: records out of a mailbox of support tickets, which no kind of source reads.

Copy this file beside your recipe and name it there:

    sources:
      - {name: tickets, kind: python, file: own_source.py, lang: en, license: own, mailbox: tickets.mbox, min_words: 5}

`name`, `lang`, `license`, `limit` and `weight` are keys of every source; `mailbox` and `min_words` are declared below,
and a mistake in them is shown with its line when the recipe is loaded. `slm sources check tickets` reads the first
records and shows what they are like.
"""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from pathlib import Path

from pydantic import Field

from pipeline import settings as blocks

HERE = Path(__file__).parent


class Settings(blocks.Settings):
    """Keys of this source in the recipe; typed and frozen, and unknown ones are refused."""

    mailbox: str = Field(description="the mailbox, relative to this file")
    min_words: int = Field(1, ge=0, description="leave out tickets of fewer words")


def records(settings: Settings) -> Iterator[dict]:
    """The documents. `text` is needed; `id`, `lang`, `license`, `url` and `meta` are optional."""
    with closing(mailbox.mbox(HERE / settings.mailbox, create=False)) as tickets:
        for ticket in tickets:
            text = body(ticket)
            if len(text.split()) >= settings.min_words:
                yield {"text": text, "id": ticket["Message-ID"], "meta": {"subject": ticket["Subject"]}}


def state(settings: Settings) -> str:
    """What is there now, without reading it: where this changes, the source is read again.

    Without this function, only a change of this file or of its settings counts.
    """
    found = (HERE / settings.mailbox).stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def body(ticket: Message) -> str:
    """The plain text of a message."""
    parts = [part for part in ticket.walk() if part.get_content_type() == "text/plain"]
    return "\n\n".join(part.get_payload(decode=True).decode(errors="replace").strip() for part in parts)
