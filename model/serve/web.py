"""The page on which one talks to a model, and the little that it needs beside the API: files, models, judgements."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from model.serve.judgements import Judgement, Judgements
from model.serve.limits import Refused
from model.serve.text import TextModel

FOLDER = Path(__file__).parent / "page"
SCRIPT, STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page/page.css": ("page.css", STYLE),
    "/page/page.js": ("page.js", SCRIPT),
    "/page/talk.js": ("talk.js", SCRIPT),
    "/page/trace.js": ("trace.js", SCRIPT),
    "/page/words.js": ("words.js", SCRIPT),
}
HEADERS = {
    # Nothing from elsewhere, nothing inline, in nobody's frame.
    "Content-Security-Policy": "default-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_page(
    app: FastAPI,
    models: Mapping[str, TextModel],
    judgements: Judgements | None,
    traced: Container[str] = (),
    documents: bool = False,
) -> None:
    """Add the page to a server's application. judgements: where they are kept; None: the page does not ask for them.

    traced: the models whose answers can be. documents: whether answers can be taken from documents.
    """
    for path, (name, kind) in FILES.items():
        app.add_api_route(path, _file(FOLDER / name, kind), methods=["GET"], include_in_schema=False)

    @app.get("/page/about")
    async def about() -> dict[str, Any]:
        known = [described(name, model) | {"traced": name in traced} for name, model in models.items()]
        return {"models": known, "judgements": bool(judgements), "documents": documents}

    @app.post("/page/judgements")
    async def judge(request: Request, judgement: Judgement) -> JSONResponse:
        if judgements is None:
            raise Refused(404, "this server keeps no judgements: start it with `--judgements FOLDER`.")
        origin = request.headers.get("origin")
        if origin and urlsplit(origin).netloc != request.headers.get("host"):
            raise Refused(403, "judgements are taken from the server's own page only.")
        await run_in_threadpool(judgements.record, judgement)
        return JSONResponse({"kept": True})


def described(name: str, model: TextModel) -> dict[str, Any]:
    """What clients may want to know of a model: whether it can chat, and whether it was taught to."""
    return {
        "id": name,
        "chats": model.chats,
        "answers": model.answers,
        "context": model.network.config.context,
        "parameters": model.network.parameters_count(),
    }


def _file(path: Path, kind: str) -> Any:
    content = path.read_bytes()

    async def sent() -> Response:
        return Response(content, headers=HEADERS, media_type=kind)

    return sent
