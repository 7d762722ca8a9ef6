"""A server on a socket of this process, and requests byte by byte, for tests of what clients can do wrong."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from model.serve import connection
from model.serve.limits import Turns
from model.serve.server import application


@contextmanager
def served(models, turns: Turns, keys=None, judgements=None, traces=None, look=None) -> Iterator[int]:
    """The port of a server of a model, or of several by name."""
    models = models if isinstance(models, dict) else {"tiny": models}
    made = application(models, keys=keys, turns=turns, judgements=judgements, traces=traces, look=look)
    with listening_to(made, turns) as port:
        yield port


@contextmanager
def listening_to(application, turns: Turns) -> Iterator[int]:
    """The port of a server of an application, which has to stop at the end."""
    with connection.listening("127.0.0.1", 0) as listener:
        running = connection.server(application, turns)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until(lambda: running.started)
        try:
            yield listener.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server does not stop"


def until(condition, seconds: float = 10.0) -> float:
    """Wait for the condition, and return how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen"
        time.sleep(0.005)
    return time.monotonic() - started


def head(path: str, length: int, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def sent(port: int, body: object, *headers: str, path: str = "/v1/chat/completions") -> socket.socket:
    """A connection on which the request was sent."""
    data = json.dumps(body).encode()
    link = socket.create_connection(("127.0.0.1", port), timeout=20)
    link.sendall(head(path, len(data), *headers) + data)
    return link


def answer(link: socket.socket) -> tuple[int, dict[str, str], str]:
    """(status, headers, body) of the next response on a connection, of which it reads no more."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = link.recv(65536)
        assert more, f"closed after {data!r}"
        data += more
    first, _, rest = data.partition(b"\r\n\r\n")
    status, *lines = first.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = int(headers.get("content-length", -1))
    while length < 0 or len(rest) < length:
        more = link.recv(65536)
        if not more or rest.endswith(b"\r\n0\r\n\r\n"):
            break
        rest += more
        if length < 0 and rest.endswith(b"0\r\n\r\n"):
            break
    return int(status.split()[1]), headers, rest.decode()


def closed(link: socket.socket) -> bool:
    """Whether the server closes the connection, within the socket's time-out, without another byte."""
    try:
        return link.recv(1) == b""
    except ConnectionResetError:
        return True
