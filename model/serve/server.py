"""Models over HTTP, with OpenAI's API, so that existing clients can use them, and a page to talk on (`web.py`).

Answers are generated one at a time, since one uses all of the machine's compute (`limits.py`). Sizes, keys and times
are checked before anything is read or computed (`guard.py`), and an answer ends when its client leaves (`answer.py`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from model.serve.answer import Answer
from model.serve.guard import LOG, RECORD, Guard
from model.serve.judgements import Judgements
from model.serve.keys import Keys
from model.serve.limits import Limits, Refused, Turns
from model.serve.requests import ChatRequest, CompletionRequest, SamplingRequest, invalid, refusal, refused
from model.serve.text import Reply, ReplyOptions, TextModel
from model.serve.web import add_page

LOCAL = ("127.0.0.1", "localhost", "::1")


def application(
    models: Mapping[str, TextModel],
    host: str = "127.0.0.1",
    keys: Keys | None = None,
    turns: Turns | None = None,
    judgements: Judgements | None = None,
) -> FastAPI:
    """The server's application, for `connection.run` or a test.

    models: by their names in requests and responses; the first answers requests that name none. judgements: where
    those that people give on the page are kept.
    """
    name = next(iter(models))
    app = FastAPI(title=name, docs_url=None, redoc_url=None, openapi_url=None)
    turns = turns or Turns(Limits())
    if host in LOCAL:  # prevents DNS rebinding: web pages must not reach the server
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL, "[::1]", "testserver"])
    app.add_middleware(Guard, keys=keys or Keys({}), limits=turns.limits, turns=turns)
    _explain_errors(app)
    add_page(app, models, judgements)

    def chosen(asked: SamplingRequest) -> str:
        """The model that a request names; a server of one model answers for any name."""
        if len(models) == 1 or asked.model is None:
            return name
        if asked.model not in models:
            raise Refused(404, f"there is no such model here: `model` is one of {', '.join(models)}.")
        return asked.model

    @app.get("/health")
    async def health() -> JSONResponse:
        status = "stopping" if turns.stopping else "ok"
        about = {"status": status, "model": name, "waiting": max(0, len(turns.places) - 1)}
        return JSONResponse(about, 503 if turns.stopping else 200)

    @app.get("/v1/models")
    async def listed() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": one, "object": "model", "owned_by": "local"} for one in models]}

    async def answer(
        request: Request, asked: SamplingRequest, begin: Callable[[TextModel, ReplyOptions], Reply]
    ) -> Answer:
        model = chosen(asked)
        place = turns.enter(request.scope[RECORD].key)
        try:
            reply = await run_in_threadpool(begin, models[model], asked.options())
        except BaseException:
            place.leave()
            raise
        return Answer(reply, place, model, isinstance(asked, ChatRequest), asked.stream, asked.counts)

    @app.post("/v1/completions")
    async def completions(request: Request, asked: CompletionRequest) -> Answer:
        return await answer(request, asked, lambda model, options: model.continue_text(asked.prompt, options))

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request, asked: ChatRequest) -> Answer:
        messages: list[Mapping[str, str]] = [
            {"role": turn.role, "content": str(turn.content)} for turn in asked.messages
        ]

        def begin(model: TextModel, options: ReplyOptions) -> Reply:
            return model.answer(model.newest_turns(messages) if asked.leave_out_oldest else messages, options)

        return await answer(request, asked, begin)

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


def serve(
    models: Mapping[str, TextModel],
    host: str = "127.0.0.1",
    port: int = 8000,
    keys: Keys | None = None,
    limits: Limits | None = None,
    judgements: Judgements | None = None,
) -> None:
    """Serve the models until SIGTERM or Ctrl-C; prints the address, and logs requests on stderr.

    Without keys, anyone who can reach `host` can use them. Raises ValueError if the address cannot be served.
    """
    from model.serve.connection import listening, run

    turns = Turns(limits or Limits())
    with listening(host, port) as listener:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        LOG.addHandler(handler)
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
        if host not in LOCAL and not (keys and keys.digests):
            LOG.warning("there is no API key: anyone who can reach %s can use the model (see `--api-key`).", host)
        address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{listener.getsockname()[1]}"
        print(f"{' and '.join(models)}: talk on {address}, or use OpenAI's API on {address}/v1", flush=True)
        asked = line_to_try(f"{address}/v1", next(iter(models.values())).answers, bool(keys and keys.digests))
        print(f"try it (Ctrl-C here stops the server):\n  {asked}", flush=True)
        run(application(models, host, keys, turns, judgements), turns, listener)


def line_to_try(address: str, answers: bool, with_key: bool) -> str:
    """A request for a shell: a question to a model that answers, a beginning to one that only continues text."""
    key = '-H "Authorization: Bearer $SLM_API_KEY" ' if with_key else ""
    what, content = "completions", '{"prompt": "오늘은", "max_tokens": 64}'
    if answers:
        what, content = "chat/completions", '{"messages": [{"role": "user", "content": "안녕하세요?"}]}'
    return f"curl {address}/{what} {key}-H 'Content-Type: application/json' -d '{content}'"
