"""A hub on loopback that takes models, too: the routes by which a client creates one, sends files and commits them."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub.constants
import pytest

from tests.ingest.hub import Handler, Hub

LARGE = (".safetensors",)
TOKEN = "hf_writes"


class WritableHub(Hub):
    """Keeps large files as soon as they have arrived; `breaking` closes the connection before the commit."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = WritingHandler
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        self.received: list[str] = []  # hashes of large files that were sent
        self.breaking = False


class WritingHandler(Handler):
    server: WritableHub

    def do_PUT(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        oid = hashlib.sha256(raw).hexdigest()
        self.server.large[oid] = raw
        self.server.received.append(oid)
        self.answer(200, {})

    def do_GET(self, posted: dict | None = None) -> None:
        pieces = self.path.partition("?")[0].strip("/").split("/")
        name = "/".join(pieces[2:4])
        hidden = self.server.private.get(name) or self.server.private.get("/".join(pieces[:2]))
        if hidden and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if pieces[:2] == ["api", "models"] and len(pieces) == 4 and name in self.server.models:
            commit = list(self.server.models[name])[-1]
            about = {"_id": "0", "id": name, "sha": commit, "private": self.server.private[name], "siblings": []}
            return self.answer(200, about)
        super().do_GET(posted)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(403, {"error": "Forbidden"})
        path = self.path.partition("?")[0].strip("/")
        pieces = path.split("/")
        if path == "api/repos/create":
            asked = json.loads(raw)
            name = f"{asked['organization']}/{asked['name']}"
            self.server.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.server.push(name, {}, model=True)
            return self.answer(200, {"url": f"{self.server.address}/{name}"})
        if path == "api/validate-yaml":
            wrong = "license: no-such" in json.loads(raw)["content"]
            errors = [{"message": '"license" must be one of [apache-2.0, mit ...]'}] if wrong else []
            return self.answer(400 if wrong else 200, {"errors": errors, "warnings": []})
        if path.endswith("info/lfs/objects/batch"):
            return self.answer(
                200, {"transfer": "basic", "objects": list(map(self.action, json.loads(raw)["objects"]))}
            )
        if "preupload" in pieces:
            files = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                 "shouldIgnore": False}
                for one in json.loads(raw)["files"]
            ]  # fmt: skip
            return self.answer(200, {"files": files})
        if "commit" in pieces:
            return self.commit("/".join(pieces[2:4]), raw)
        self.answer(404, {"error": "no such route"})

    def action(self, asked: dict) -> dict:
        known = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self.server.large:
            return known
        return known | {"actions": {"upload": {"href": f"{self.server.address}/large/{asked['oid']}", "header": {}}}}

    def commit(self, name: str, raw: bytes) -> None:
        if self.server.breaking:
            self.close_connection = True
            return self.connection.close()
        files = dict(list(self.server.models[name].values())[-1])
        for line in map(json.loads, raw.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        commit = self.server.push(name, files, model=True)
        url = f"{self.server.address}/{name}/commit/{commit}"
        self.answer(200, {"commitUrl": url, "commitOid": commit, "hookOutput": "", "success": True})


@contextmanager
def running() -> Iterator[WritableHub]:
    with WritableHub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[WritableHub]:
    with running() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found
