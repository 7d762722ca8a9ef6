"""The model over HTTP, with OpenAI's API, so that existing clients can use it.

Replies are generated one at a time, since one uses all of the machine's compute. Other requests wait in a short queue,
and are refused if it is full. Sizes are limited before anything is read or computed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.serve.text import Reply, Sampling, TextModel, open_directory

MAX_BYTES = 1_000_000  # per request; a context of 2,048 tokens is about 10 kB
MAX_WAITING = 16


class SamplingRequest(BaseModel):
    """The fields that both kinds of request share. Other fields of OpenAI's API are ignored."""

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(0.8, ge=0, le=10)
    top_p: float = Field(0.95, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | list[str] | None = None
    stream: bool = False
    n: Literal[1] = 1

    def sampling(self) -> Sampling:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stop) > 4 or not all(0 < len(text) <= 100 for text in stop):
            raise ValueError("`stop` takes up to 4 strings of 1 to 100 characters.")
        most = self.max_completion_tokens or self.max_tokens or 512
        seed = secrets.randbits(31) if self.seed is None else self.seed
        return Sampling(most, self.temperature, self.top_k, self.top_p, seed, tuple(stop))


class CompletionRequest(SamplingRequest):
    prompt: str = Field(max_length=MAX_BYTES)


class Turn(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str = Field(max_length=MAX_BYTES)


class ChatRequest(SamplingRequest):
    messages: list[Turn] = Field(min_length=1, max_length=1000)


class LimitedBody:
    """Refuses a request of more than `most` bytes, by its content-length or by the bytes received."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        parts: list[Message] = []
        size = int(dict(scope["headers"]).get(b"content-length", b"0") or 0)
        while size <= self.most:
            message = await receive()
            parts.append(message)
            size = sum(len(part.get("body", b"")) for part in parts)
            if not message.get("more_body", False):
                break
        if size > self.most:
            return await _error(413, f"the request is longer than {self.most:,} bytes.")(scope, receive, send)

        async def again() -> Message:
            return parts.pop(0) if parts else await receive()

        await self.app(scope, again, send)


def _error(status: int, sentence: str) -> JSONResponse:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": sentence, "type": kind, "param": None, "code": None}}, status)


def application(text_model: TextModel, name: str, host: str = "127.0.0.1", waiting: int = MAX_WAITING) -> FastAPI:
    """The server's application, for `uvicorn` or a test. name: the model's name in responses."""
    app = FastAPI(title=name, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(LimitedBody, most=MAX_BYTES)
    if host in ("127.0.0.1", "localhost", "::1"):  # prevents DNS rebinding: web pages must not reach the server
        app.add_middleware(
            TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]", "::1", "testserver"]
        )
    turn = asyncio.Semaphore(1)
    queue = 0

    def refuse_if_full() -> None:
        if queue >= waiting:
            raise HTTPException(503, f"{queue} requests are already waiting: try again later.")

    @asynccontextmanager
    async def my_turn() -> AsyncIterator[None]:
        nonlocal queue
        refuse_if_full()
        queue += 1
        try:
            async with turn:
                yield
        finally:
            queue -= 1

    @app.exception_handler(HTTPException)
    async def _failed(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail))

    @app.exception_handler(404)
    async def _nowhere(request: Request, _: Exception) -> JSONResponse:
        return _error(404, f"{request.url.path} does not exist: use /v1/chat/completions or /v1/completions.")

    @app.exception_handler(RequestValidationError)
    async def _unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"][1:])
        return _error(400, f"`{where or 'body'}`: {first['msg'][:1].lower()}{first['msg'][1:]}.")

    @app.exception_handler(ValueError)
    async def _impossible(_: Request, error: ValueError) -> JSONResponse:
        return _error(400, str(error))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": name, "waiting": max(0, queue - 1)}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": "local"}]}

    async def respond(reply: Reply, request: SamplingRequest, chat: bool) -> Any:
        kind = "chat.completion" if chat else "text_completion"
        frame: dict[str, Any] = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}", "object": kind}
        frame |= {"created": int(time.time()), "model": name}
        refuse_if_full()
        if request.stream:
            return StreamingResponse(_events(reply, frame, chat), media_type="text/event-stream")
        text = ""
        async with my_turn():
            text = await run_in_threadpool("".join, reply)
        body = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.tokens}
        usage["total_tokens"] = reply.prompt_tokens + reply.tokens
        choice = {"index": 0, **body, "finish_reason": reply.finish, "logprobs": None}
        return frame | {"choices": [choice], "usage": usage}

    async def _events(reply: Reply, frame: dict[str, Any], chat: bool) -> AsyncIterator[str]:
        frame = frame | {"object": "chat.completion.chunk" if chat else "text_completion"}

        def event(content: dict[str, Any], finish: str | None = None) -> str:
            choice = {"index": 0, **content, "finish_reason": finish, "logprobs": None}
            return f"data: {json.dumps(frame | {'choices': [choice]}, ensure_ascii=False)}\n\n"

        try:
            async with my_turn():
                if chat:
                    yield event({"delta": {"role": "assistant", "content": ""}})
                pieces = iter(reply)
                while (piece := await run_in_threadpool(_next, pieces)) is not None:
                    yield event({"delta": {"content": piece}} if chat else {"text": piece})
                yield event({"delta": {}} if chat else {"text": ""}, reply.finish)
        except HTTPException as error:
            yield f"data: {_error(error.status_code, str(error.detail)).body.decode()}\n\n"  # type: ignore[union-attr]
        finally:
            reply.close()
        yield "data: [DONE]\n\n"

    @app.post("/v1/completions")
    async def completions(request: CompletionRequest) -> Any:
        reply = await run_in_threadpool(text_model.continue_text, request.prompt, request.sampling())
        return await respond(reply, request, chat=False)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: ChatRequest) -> Any:
        messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        reply = await run_in_threadpool(text_model.answer, messages, request.sampling())
        return await respond(reply, request, chat=True)

    return app


def _next(pieces: Iterator[str]) -> str | None:
    return next(pieces, None)


def serve(directory: str | Path, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve the model in `directory` until stopped. There is no password: anyone who can reach `host` can use it."""
    import uvicorn

    text_model = open_directory(directory)
    uvicorn.run(
        application(text_model, Path(directory).resolve().name, host), host=host, port=port, log_level="warning"
    )
