"""A Hugging Face hub on loopback: the few routes that a client uses to list and read a data set's files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """Data sets and models by name, each a dict of files by commit. `gated` ones want the token `secret`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.datasets: dict[str, dict[str, dict[str, bytes]]] = {}
        self.models: dict[str, dict[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []  # names of files that were sent
        self.gated: set[str] = set()
        self.sent = 0  # bytes of files
        self.failing = False

    def push(self, dataset: str, files: dict[str, bytes], model: bool = False) -> str:
        """A new commit on main that holds exactly these files."""
        commits = (self.models if model else self.datasets).setdefault(dataset, {})
        commit = hashlib.sha1(f"{dataset}{len(commits)}".encode()).hexdigest()
        commits[commit] = files
        return commit

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        fields = json.loads(raw) if raw.startswith("{") else parse_qs(raw)
        self.do_GET(fields)

    def do_GET(self, posted: dict | None = None) -> None:
        pieces = [unquote(piece) for piece in urlsplit(self.path).path.strip("/").split("/")]
        api = pieces[0] == "api"
        pieces = pieces[1:] if api else pieces
        kind = pieces[0] if pieces[0] in ("datasets", "models") else None
        if kind is None and not api:  # the files of models have no prefix
            pieces, kind = ["models", *pieces], "models"
        if kind is None or len(pieces) < 3 or self.server.failing:
            return self.answer(503 if self.server.failing else 404, {"error": "no such route"})
        dataset, rest = "/".join(pieces[1:3]), pieces[3:]
        commits = (self.server.datasets if kind == "datasets" else self.server.models).get(dataset)
        if commits is None:
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if dataset in self.server.gated and self.headers.get("Authorization") != "Bearer secret":
            return self.answer(403, {"error": "Access is restricted"}, {"X-Error-Code": "GatedRepo"})
        revision = rest[1] if len(rest) > 1 else "main"
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            return self.answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        files = commits[commit]
        if api and (not rest or rest[0] == "revision"):
            siblings = [{"rfilename": name} for name in files]
            return self.answer(200, {"_id": "0", "id": dataset, "sha": commit, "siblings": siblings})
        if api and rest[0] == "tree":
            folder = "/".join(rest[2:])
            found = [entry(name, raw) for name, raw in files.items() if not folder or name.startswith(f"{folder}/")]
            return self.answer(200, found) if found or not folder else self.missing()
        if api and rest[0] == "paths-info":
            paths = (posted or {}).get("paths", [])
            return self.answer(200, [entry(name, files[name]) for name in paths if name in files])
        if not api and rest[0] == "resolve":
            name = "/".join(rest[2:])
            self.server.asked += [name] if self.command == "GET" else []
            return self.send_file(files[name], commit) if name in files else self.missing()
        self.answer(404, {"error": "no such route"})

    def missing(self) -> None:
        self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    def answer(self, code: int, content: object, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def send_file(self, raw: bytes, commit: str) -> None:
        asked = self.headers.get("Range")
        start, end = 0, len(raw) - 1
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last), end) if last else end
        data = raw[start : end + 1]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(raw)}")
        self.send_header("ETag", f'"{hashlib.sha256(raw).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.server.sent += len(data)
            self.wfile.write(data)


def entry(name: str, raw: bytes) -> dict[str, object]:
    sha256 = hashlib.sha256(raw).hexdigest()
    blob = hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()  # as git names it
    large = name.endswith((".parquet", ".safetensors"))
    lfs = {"lfs": {"oid": sha256, "size": len(raw), "pointerSize": 134}} if large else {}
    return {"type": "file", "oid": blob, "size": len(raw), "path": name, **lfs}


@contextmanager
def running_hub() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
