"""An S3 server on loopback with a proxy before it that answers with errors, late, half or not at all, by a seed."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = ("503", "500", "late", "half", "none", "unheard")
OVERLOAD = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>Please try again</Message></Error>"


class Proxy(ThreadingHTTPServer):
    """Passes requests on to `address` (host, port); so great a share of them meets a fault."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], share: float, seed: int):
        super().__init__(("127.0.0.1", 0), Handler)
        self.address, self.share = address, share
        self.met: Counter[str] = Counter()
        self._chance, self._lock = random.Random(seed), threading.Lock()

    def fault(self) -> str:
        """What the next request meets."""
        with self._lock:
            found = self._chance.choice(FAULTS) if self._chance.random() < self.share else ""
            self.met[found] += 1
            return found


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *given: object) -> None:
        pass

    def passed_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault()
        if fault in ("503", "500"):
            code = b"ServiceUnavailable" if fault == "503" else b"InternalError"
            self.answer(int(fault), {"Content-Type": "application/xml"}, OVERLOAD % code)
            return
        if fault == "none":  # the connection ends, and the request was not heard
            self.close_connection = True
            return
        if fault == "late":
            time.sleep(0.3)
        there = http.client.HTTPConnection(*self.server.address)
        there.request(self.command, self.path, body, dict(self.headers))
        answer = there.getresponse()
        content = answer.read()
        there.close()
        if fault == "unheard":  # it was done, and nobody hears of it
            self.close_connection = True
            return
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in ("connection", "date")}
        self.answer(answer.status, headers, content, len(content) // 2 if fault == "half" else None)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = passed_on

    def answer(self, code: int, headers: dict[str, str], content: bytes, cut: int | None = None) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True


@contextmanager
def faulty(address: tuple[str, int], share: float, seed: int) -> Iterator[Proxy]:
    """The proxy at work, on `server_port` of this machine."""
    proxy = Proxy(address, share, seed)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
