"""uvicorn's connections and server, with the limits that it does not have: slow headers, slow readers, a clean stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from model.serve.limits import Limits, Turns

FLUSHED = 5  # seconds for what is written when nothing is generated any more


class Connection(H11Protocol):
    """A connection that is closed if its headers, or its reader, take too long."""

    def __init__(self, *given: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*given, **named)
        self.limits = limits
        self.timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start("headers", self.limits.headers)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:  # the headers of a request are not complete
            self._start("headers", self.limits.headers)
        else:
            self._cancel("headers")
        if self.conn.their_state is not h11.SEND_BODY:
            self._cancel("rest")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # refused before all of it was read
            self._start("rest", self.limits.body)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start("reader", self.limits.reading)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel("reader")

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._start("reader", self.limits.reading)  # of the end of the last answer, which is still to be written

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for name in list(self.timers):
            self._cancel(name)

    def _start(self, name: str, seconds: float) -> None:
        if name not in self.timers:
            self.timers[name] = self.loop.call_later(seconds, self.transport.abort)

    def _cancel(self, name: str) -> None:
        if timer := self.timers.pop(name, None):
            timer.cancel()


class Server(uvicorn.Server):
    """When it is to stop: answers under way are finished, all other requests get 503, then it closes."""

    def __init__(self, config: uvicorn.Config, turns: Turns) -> None:
        super().__init__(config)
        self.turns = turns

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.turns.stop()
        loop = asyncio.get_running_loop()
        until = loop.time() + self.turns.limits.stopping
        while self.turns.places and loop.time() < until and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def listening(host: str, port: int) -> socket.socket:
    """A socket for the address. Raises ValueError if there is no such host, or if the port is taken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ValueError(
            f"{host}, port {port}, cannot be served: {error.strerror or error}. Choose another --host or --port."
        ) from None


def server(app: ASGIApp, turns: Turns) -> Server:
    config = uvicorn.Config(
        app,
        http=partial(Connection, limits=turns.limits),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=turns.limits.connections,
        timeout_graceful_shutdown=FLUSHED,
    )
    return Server(config, turns)


def run(app: ASGIApp, turns: Turns, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, and return when it has stopped cleanly."""
    before = _ignored_afterwards()
    try:
        server(app, turns).run(sockets=[listener])
    except KeyboardInterrupt:  # raised by uvicorn once more, too
        pass
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _ignored_afterwards() -> Any:
    """uvicorn raises the signal that stopped it once more at its end; SIGTERM would then kill the finished process."""
    try:
        return signal.signal(signal.SIGTERM, lambda *_: None)
    except ValueError:  # another thread than the main one gets no signals
        return None
