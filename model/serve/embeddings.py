"""Vectors of texts: means of the network's last hidden states, in the form of OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import Request

from model.serve.engine import Engine
from model.serve.limits import Place, Refused
from model.serve.text import TextModel


async def embeddings(
    request: Request, model: TextModel, inputs: Sequence[str] | Sequence[list[int]], place: Place, engine: Engine
) -> tuple[list[list[float]], int]:
    """(the vector of each text, how many tokens they have in all), computed between the steps of answers.

    Raises Refused where that takes too long, ValueError for a text without tokens or one longer than the context.
    """
    await place.turn()
    until = time.monotonic() + place.turns.limits.answer
    ids = [model.encode(text) if isinstance(text, str) else model.checked_ids(text) for text in inputs]
    vectors: list[list[float]] = []
    for one in ids:
        if time.monotonic() > until:
            seconds = place.turns.limits.answer
            raise Refused(504, f"the vectors were not complete within {seconds:g} seconds: send fewer texts at once.")
        if len(vectors) % 8 == 7 and await request.is_disconnected():
            raise Refused(499, "the client has left.")
        vectors.append(await asyncio.wrap_future(engine.run(lambda one=one: model.embedding(one))))  # type: ignore[misc]
    return vectors, sum(map(len, ids))


def listed(vectors: Sequence[list[float]], form: str, name: str, tokens: int) -> dict[str, Any]:
    """The response; base64 is of little-endian numbers in fp32, as OpenAI's client asks for it."""

    def written(vector: list[float]) -> list[float] | str:
        if form == "float":
            return vector
        return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()

    data = [{"object": "embedding", "index": i, "embedding": written(vector)} for i, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": name, "usage": usage}
