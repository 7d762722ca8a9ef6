"""What answers have in common with what a model was trained on, where the server was given a function that knows.

The function takes a text, how many tokens a passage has at least, and how many documents of each are told; it returns
what `/v1/trace` answers. How it finds that out is no matter of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from model.serve.guard import RECORD
from model.serve.limits import Turns
from model.serve.requests import Strict

Trace = Callable[[str, int, int], dict[str, Any]]
LEAST, DOCUMENTS = 6, 3
MOST_CHARACTERS = 20_000  # of a text: longer than the answers of small models, and done in a second


class TraceRequest(Strict):
    """A text to trace: passages of at least `least` tokens, each with up to `documents` documents of each kind."""

    model: str | None = None
    text: str = Field(max_length=MOST_CHARACTERS)
    least: int = Field(LEAST, ge=1, le=1000)
    documents: int = Field(DOCUMENTS, ge=0, le=20)


def tracer_of(traces: Mapping[str, Trace], model: str) -> Trace:
    """The function for a model. Raises ValueError if there is none."""
    if model not in traces:
        raise ValueError(
            f"answers of {model} cannot be traced here: `slm make trace_index` makes the index of what it learned from,"
            " and `slm serve --trace` uses it."
        )
    return traces[model]


async def traced(trace: Trace, text: str, least: int = LEAST, documents: int = DOCUMENTS) -> dict[str, Any]:
    """What a text has in common with what a model was trained on, without holding up others."""
    return await run_in_threadpool(trace, text, least, documents)


def add_traces(app: FastAPI, traces: Mapping[str, Trace], turns: Turns, chosen: Callable[[str | None], str]) -> None:
    """Add `/v1/trace`. chosen: the model that a request means."""

    @app.post("/v1/trace")
    async def trace(request: Request, asked: TraceRequest) -> dict[str, Any]:
        known = tracer_of(traces, chosen(asked.model))
        place = turns.enter(request.scope[RECORD].key)
        try:
            await place.turn()
            return await traced(known, asked.text, asked.least, asked.documents)
        finally:
            place.leave()
