"""Models over HTTP, with OpenAI's API, so that existing clients can use them, and a page to talk on (`web.py`).

Answers share the steps of one thread (`engine.py`), as many at once as pays; others wait (`limits.py`). Sizes, keys and
times are checked before anything is read or computed (`guard.py`), and an answer ends when its client leaves
(`answer.py`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from model.generate import check_prompt
from model.llama import attached
from model.serve.answer import Answer, Wish
from model.serve.embeddings import embeddings, listed
from model.serve.engine import Engine
from model.serve.grammar import json_of
from model.serve.grounding import Grounds, Look, grounded
from model.serve.guard import LOG, RECORD, Guard
from model.serve.judgements import Judgements
from model.serve.keys import Keys
from model.serve.limits import Limits, Refused, Turns
from model.serve.metrics import Metrics
from model.serve.requests import ChatRequest, CompletionRequest, EmbeddingRequest, Problem, invalid, refusal, refused
from model.serve.text import TextModel
from model.serve.tracing import Trace, add_traces, tracer_of
from model.serve.web import add_page

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "What is wrong with the request."},
    401: {"model": Problem, "description": "The API key is missing or wrong."},
    404: {"model": Problem, "description": "There is no such model or path."},
    429: {"model": Problem, "description": "Too many requests; see `Retry-After`."},
    503: {"model": Problem, "description": "No turn in time, or the server is stopping."},
}
LOCAL = ("127.0.0.1", "localhost", "::1")


def application(
    models: Mapping[str, TextModel],
    host: str = "127.0.0.1",
    keys: Keys | None = None,
    turns: Turns | None = None,
    judgements: Judgements | None = None,
    traces: Mapping[str, Trace] | None = None,
    look: Look | None = None,
) -> FastAPI:
    """The server's application, for `connection.run` or a test.

    models: by their names in requests and responses; the first answers requests that name none. judgements: where
    those that people give on the page are kept. traces: by model, what finds its answers in what it was trained on.
    look: finds passages for questions that are to be answered from documents (`rag`).
    """
    traces = traces or {}
    name = next(iter(models))
    app = FastAPI(title=name, docs_url=None, redoc_url=None, responses=REFUSALS)
    turns, engine = turns or Turns(Limits()), Engine()
    metrics = _metrics(turns, engine)
    if host in LOCAL:  # prevents DNS rebinding: web pages must not reach the server
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL, "[::1]", "testserver"])
    app.add_middleware(Guard, keys=keys or Keys({}), limits=turns.limits, turns=turns, metrics=metrics)
    _explain_errors(app)
    _describe(app)
    add_page(app, models, judgements, traces, look is not None)
    _add_answers(app, models, turns, engine, traces, look)

    @app.get("/health")
    async def health() -> JSONResponse:
        status = "stopping" if turns.stopping else "ok"
        about = {"status": status, "model": name, "waiting": turns.waiting}
        return JSONResponse(about, 503 if turns.stopping else 200)

    @app.get("/v1/models")
    async def all_models() -> dict[str, Any]:
        return {"object": "list", "data": [_about(one) for one in models]}

    @app.get("/v1/models/{model}")
    async def about(model: str) -> dict[str, Any]:
        if model not in models:
            raise Refused(404, f"there is no such model here: `model` is one of {', '.join(models)}.")
        return _about(model)

    @app.get("/metrics", response_class=Response)
    async def figures() -> Response:
        if metrics is None:
            raise Refused(404, "figures need a package: start the server after `pip install -e '.[serve]'`.")
        text, kind = metrics.text()
        return Response(text, headers={"content-type": kind})

    return app


def _add_answers(
    app: FastAPI,
    models: Mapping[str, TextModel],
    turns: Turns,
    engine: Engine,
    traces: Mapping[str, Trace],
    look: Look | None,
) -> None:
    """Add what generates or computes."""
    first = next(iter(models))

    def chosen(asked: str | None) -> str:
        """The model that a request names; a server of one model answers for any name."""
        if len(models) == 1 or asked is None:
            return first
        if asked not in models:
            raise Refused(404, f"there is no such model here: `model` is one of {', '.join(models)}.")
        return asked

    async def answer(request: Request, asked: ChatRequest | CompletionRequest) -> Answer:
        name = chosen(asked.model)
        trace = tracer_of(traces, name) if asked.trace else None
        place = turns.enter(request.scope[RECORD].key)
        try:
            wish = replace(await run_in_threadpool(wished, asked, name, models[name], look), trace=trace)
        except BaseException:
            place.leave()
            raise
        return Answer(wish, place, engine)

    @app.post("/v1/completions", response_class=JSONResponse)
    async def completions(request: Request, asked: CompletionRequest) -> Answer:
        return await answer(request, asked)

    @app.post("/v1/chat/completions", response_class=JSONResponse)
    async def chat_completions(request: Request, asked: ChatRequest) -> Answer:
        return await answer(request, asked)

    @app.post("/v1/embeddings")
    async def vectors(request: Request, asked: EmbeddingRequest) -> dict[str, Any]:
        name, inputs = chosen(asked.model), asked.inputs
        record = request.scope[RECORD]
        place = turns.enter(record.key)
        try:
            found, tokens = await embeddings(request, models[name], inputs, place, engine)
        finally:
            place.leave()
        record.prompt_tokens = tokens
        return listed(found, asked.encoding_format, name, tokens)

    add_traces(app, traces, turns, chosen)


def wished(asked: ChatRequest | CompletionRequest, name: str, model: TextModel, look: Look | None = None) -> Wish:
    """What a request asks for, with its prompts as ids. Raises ValueError for what this model cannot do."""
    chat, grounds = isinstance(asked, ChatRequest), None
    if isinstance(asked, ChatRequest):
        messages: Sequence[Mapping[str, str]] = [
            {"role": turn.role, "content": str(turn.content)} for turn in asked.messages
        ]
        messages, grounds = _from_documents(asked, messages, model, look)
        prompts = [model.chat_ids(model.newest_turns(messages) if asked.leave_out_oldest else messages)]
    else:
        prompts = [model.document_ids(p) if isinstance(p, str) else model.checked_ids(p) for p in asked.prompts]
    for prompt in prompts:
        check_prompt(model.network.config, len(prompt))
    held = attached(model.network)
    if held is not None:
        held.fits(asked.n + 1)
    schema = asked.response_format.schema_of_answer if asked.response_format else None
    grammar = json_of(model, schema) if schema is not None else None
    return Wish(
        name, model, prompts, asked.options(), chat, asked.stream, asked.counts, asked.n, asked.likeliest, grammar,
        grounds=grounds,
    )  # fmt: skip


def _from_documents(
    asked: ChatRequest, messages: Sequence[Mapping[str, str]], model: TextModel, look: Look | None
) -> tuple[Sequence[Mapping[str, str]], Grounds | None]:
    """The conversation with the passages that answer its last question, if that is asked for."""
    rag = asked.from_documents
    if rag is None:
        return messages, None
    if look is None:
        raise ValueError("this server has no documents to answer from: start it with `--ground`, or leave out `rag`.")
    found = look(messages[-1]["content"], rag.passages)
    return grounded(model, messages, found, rag.threshold, asked.leave_out_oldest)


def _about(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": 0, "owned_by": "local"}


def _metrics(turns: Turns, engine: Engine) -> Metrics | None:
    try:
        return Metrics(turns, engine)
    except ImportError:
        return None


def _describe(app: FastAPI) -> None:
    """`/openapi.json` without the refusals that this server makes into others (422 into 400)."""
    described = app.openapi

    def with_own_refusals() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path in described()["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
        return described()

    app.openapi = with_own_refusals  # type: ignore[method-assign]


def _explain_errors(app: FastAPI) -> None:
    """Every refusal is one sentence, in the form that OpenAI's clients expect."""

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> JSONResponse:
        return refused(error)

    @app.exception_handler(StarletteException)  # FastAPI's own are of this kind, too
    async def _failed(_: Request, error: StarletteException) -> JSONResponse:
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
    traces: Mapping[str, Trace] | None = None,
    look: Look | None = None,
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
        run(application(models, host, keys, turns, judgements, traces, look), turns, listener)


def line_to_try(address: str, answers: bool, with_key: bool) -> str:
    """A request for a shell: a question to a model that answers, a beginning to one that only continues text."""
    key = '-H "Authorization: Bearer $SLM_API_KEY" ' if with_key else ""
    what, content = "completions", '{"prompt": "오늘은", "max_tokens": 64}'
    if answers:
        what, content = "chat/completions", '{"messages": [{"role": "user", "content": "안녕하세요?"}]}'
    return f"curl {address}/{what} {key}-H 'Content-Type: application/json' -d '{content}'"
