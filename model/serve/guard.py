"""What every request passes before it is read: its id, its key, the limits, and a line in the log.

The log holds who asked for what, when, how long it took, and how many tokens it was; never a word of a prompt, an
answer, an address that does not exist, a made-up method, or an error's message.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
import traceback
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.serve.keys import Keys
from model.serve.limits import Limits, Refused, Turns, stopping
from model.serve.metrics import Metrics
from model.serve.requests import refusal, refused
from model.serve.web import FILES

LOG = logging.getLogger("slm.serve")
RECORD = "slm.record"  # where a request's record is in its scope
PUBLIC = ("/health", "/openapi.json", *FILES)  # need no key, and are answered while the server stops
PATHS = (
    *PUBLIC, "/metrics", "/page/about", "/page/judgements", "/v1/models", "/v1/completions", "/v1/chat/completions",
    "/v1/embeddings", "/v1/trace",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE")
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
LEFT = 499  # in the log: the client left before it was answered (nginx's number)


@dataclass
class Record:
    """What the log says of a request."""

    id: str
    method: str
    path: str
    key: str = "-"
    status: int = LEFT
    prompt_tokens: int = 0
    tokens: int = 0
    finish: str = "-"


class Left(Exception):
    """The client has gone before its request was complete."""


class Guard:
    """The outermost application. It reads the whole body of a request, within limits, before the inner one sees it."""

    def __init__(self, app: ASGIApp, keys: Keys, limits: Limits, turns: Turns, metrics: Metrics | None = None) -> None:
        self.app, self.keys, self.limits, self.turns, self.metrics = app, keys, limits, turns, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        record = Record(
            request_id(headers.get(b"x-request-id")),
            scope["method"] if scope["method"] in METHODS else "other",
            scope["path"] if scope["path"] in PATHS else "other",
        )
        scope[RECORD] = record
        started, answered = time.monotonic(), False

        async def named(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered, record.status = True, message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", record.id.encode())]}
            await send(message)

        try:
            try:
                self._admit(scope, headers, record)
                await self.app(scope, await self._read(headers, receive), named)
            except Refused as error:
                await refused(error)(scope, receive, named)
            except Left:
                pass
            except Exception as error:
                failed(record, error)
                if answered:  # too late for a status: the connection breaks off
                    raise ConnectionAbortedError("an answer broke off") from None
                await refusal(500, f"request {record.id} failed: the server's log has it.")(scope, receive, named)
        finally:
            seconds = time.monotonic() - started
            if self.metrics is not None:
                self.metrics.count(record, seconds)
            LOG.info(
                "%s key=%s %s %s %d %.3fs prompt=%d tokens=%d finish=%s",
                record.id, record.key, record.method, record.path, record.status, seconds,
                record.prompt_tokens, record.tokens, record.finish,
            )  # fmt: skip

    def _admit(self, scope: Scope, headers: dict[bytes, str], record: Record) -> None:
        """Raises Refused for a request that is not to be read at all."""
        if scope["path"] in PUBLIC:
            return
        if self.turns.stopping:
            raise stopping()
        name = self.keys.name_of(headers.get(b"authorization"))
        if name is None:
            raise Refused(401, "the API key is missing or wrong: send it as `Authorization: Bearer KEY`.")
        record.key = name
        if scope["method"] == "POST":
            self.turns.ask(name)

    async def _read(self, headers: dict[bytes, str], receive: Receive) -> Receive:
        """A `receive` that has the whole body. Raises Refused if that is too long or too slow, Left without its end."""
        length = headers.get(b"content-length", "0")
        parts: list[bytes] = []
        size = int(length) if length.isascii() and length.isdigit() else 0
        more = size <= self.limits.bytes
        try:
            async with asyncio.timeout(self.limits.body):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Left
                    parts.append(message.get("body", b""))
                    size = sum(map(len, parts))
                    more = message.get("more_body", False) and size <= self.limits.bytes
        except TimeoutError:
            raise Refused(408, f"the request was not complete within {self.limits.body:g} seconds.") from None
        if size > self.limits.bytes:
            raise Refused(413, f"the request is longer than {self.limits.bytes:,} bytes.")
        whole: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        return again


def request_id(given: str | None) -> str:
    """The client's id of a request if it is one, or else a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


def failed(record: Record, error: BaseException) -> None:
    """Log where something failed, without the error's message, which may quote what somebody wrote."""
    places = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)]
    LOG.error("%s %s in %s", record.id, type(error).__name__, " < ".join(reversed(places[-5:])))
