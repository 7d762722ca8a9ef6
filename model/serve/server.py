"""The model over HTTP, with OpenAI's API, so that existing clients can use it.

Answers are generated one at a time, since one uses all of the machine's compute (`limits.py`). Sizes, keys and times
are checked before anything is read or computed (`guard.py`), and an answer ends when its client leaves (`answer.py`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from model.serve.answer import Answer
from model.serve.guard import LOG, RECORD, Guard
from model.serve.keys import Keys
from model.serve.limits import Limits, Refused, Turns
from model.serve.requests import ChatRequest, CompletionRequest, SamplingRequest, invalid, refusal, refused
from model.serve.text import Reply, ReplyOptions, TextModel, open_directory

LOCAL = ("127.0.0.1", "localhost", "::1")


def application(
    text_model: TextModel,
    name: str,
    host: str = "127.0.0.1",
    keys: Keys | None = None,
    turns: Turns | None = None,
) -> FastAPI:
    """The server's application, for `connection.run` or a test. name: the model's name in responses."""
    app = FastAPI(title=name, docs_url=None, redoc_url=None, openapi_url=None)
    turns = turns or Turns(Limits())
    if host in LOCAL:  # prevents DNS rebinding: web pages must not reach the server
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL, "[::1]", "testserver"])
    app.add_middleware(Guard, keys=keys or Keys({}), limits=turns.limits, turns=turns)
    _explain_errors(app)

    @app.get("/health")
    async def health() -> JSONResponse:
        status = "stopping" if turns.stopping else "ok"
        about = {"status": status, "model": name, "waiting": max(0, len(turns.places) - 1)}
        return JSONResponse(about, 503 if turns.stopping else 200)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "local"}]}

    async def answer(request: Request, asked: SamplingRequest, begin: Callable[[ReplyOptions], Reply]) -> Answer:
        place = turns.enter(request.scope[RECORD].key)
        try:
            reply = await run_in_threadpool(begin, asked.options())
        except BaseException:
            place.leave()
            raise
        return Answer(reply, place, name, isinstance(asked, ChatRequest), asked.stream)

    @app.post("/v1/completions")
    async def completions(request: Request, asked: CompletionRequest) -> Answer:
        return await answer(request, asked, lambda options: text_model.continue_text(asked.prompt, options))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request, asked: ChatRequest) -> Answer:
        messages = [{"role": turn.role, "content": turn.content} for turn in asked.messages]
        return await answer(request, asked, lambda options: text_model.answer(messages, options))

    return app


def _explain_errors(app: FastAPI) -> None:
    """Every refusal is one sentence, in the form that OpenAI's clients expect."""

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> JSONResponse:
        return refused(error)

    @app.exception_handler(HTTPException)
    async def _failed(_: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail))

    @app.exception_handler(404)
    async def _nowhere(request: Request, _: Exception) -> JSONResponse:
        return refusal(404, f"{request.url.path} does not exist: use /v1/chat/completions or /v1/completions.")

    @app.exception_handler(RequestValidationError)
    async def _unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        return refusal(400, invalid(request.scope["path"], error))

    @app.exception_handler(ValueError)
    async def _impossible(_: Request, error: ValueError) -> JSONResponse:
        return refusal(400, str(error))


@dataclass(frozen=True)
class Introduction:
    """What a server says of its model."""

    name: str  # in responses, too
    answers: bool | None = None  # else it only continues text; None: as its tokenizer suggests


def serve(
    directory: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    dtype: torch.dtype | None = None,
    keys: Keys | None = None,
    limits: Limits | None = None,
    introduced: Introduction | None = None,
) -> None:
    """Serve the model in `directory` until SIGTERM or Ctrl-C; prints the address, and logs requests on stderr.

    dtype: converts its weights, such as to bf16 where a machine multiplies faster in it. introduced: by which name;
    default: the folder's. Without keys, anyone who can reach `host` can use it. Raises ValueError if there is no model,
    or if the address cannot be served.
    """
    from model.serve.connection import listening, run

    introduced = introduced or Introduction(Path(directory).resolve().name)
    with listening(host, port) as listener:  # a taken port is noticed before a model is read
        text_model, turns = open_directory(directory, dtype), Turns(limits or Limits())
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        LOG.addHandler(handler)
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
        if host not in LOCAL and not (keys and keys.digests):
            LOG.warning("there is no API key: anyone who can reach %s can use the model (see `--api-key`).", host)
        address = f"http://{host}:{listener.getsockname()[1]}/v1"
        asks = text_model.chats if introduced.answers is None else introduced.answers
        print(f"{introduced.name} answers on {address}", flush=True)
        print(f"try it (Ctrl-C here stops the server):\n  {line_to_try(address, asks, bool(keys and keys.digests))}", flush=True)
        run(application(text_model, introduced.name, host, keys, turns), turns, listener)


def line_to_try(address: str, answers: bool, with_key: bool) -> str:
    """A request for a shell: a question to a model that answers, a beginning to one that only continues text."""
    key = '-H "Authorization: Bearer $SLM_API_KEY" ' if with_key else ""
    what, content = "completions", '{"prompt": "오늘은", "max_tokens": 64}'
    if answers:
        what, content = "chat/completions", '{"messages": [{"role": "user", "content": "안녕하세요?"}]}'
    return f"curl {address}/{what} {key}-H 'Content-Type: application/json' -d '{content}'"
