"""What a client can ask for, and how a refusal looks: OpenAI's API, as far as the server knows it."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator

from model.sampling import Sampling
from model.serve.limits import Limits, Refused
from model.serve.text import DEFAULT, ReplyOptions

MAX_BYTES = Limits.bytes
KINDS = {401: "authentication_error", 429: "rate_limit_error"}  # of an error; others by their status


class Strict(BaseModel):
    """Refuses unknown fields, so that no client takes for done what was ignored."""

    model_config = ConfigDict(extra="forbid")


class StreamOptions(Strict):
    """`include_usage`: a last event with the numbers of tokens."""

    include_usage: bool = False


class SamplingRequest(Strict):
    """The fields that both kinds of request share: OpenAI's, and vLLM's `top_k`, `min_p` and `repetition_penalty`."""

    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(DEFAULT.temperature, ge=0, le=10)
    top_p: float = Field(DEFAULT.top_p, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: str | list[str] | None = None
    stream: bool = False
    n: Literal[1] = 1
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    stream_options: StreamOptions | None = None
    user: str | None = None  # whom it is for, says OpenAI's API; nothing depends on it
    logprobs: Literal[False] | None = None  # libraries send these even where nobody asks for them

    @property
    def counts(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def options(self) -> ReplyOptions:
        """The same for a reply. Raises ValueError for stop strings that are too many, empty or too long."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stop) > 4 or not all(0 < len(text) <= 100 for text in stop):
            raise ValueError("`stop` takes up to 4 strings of 1 to 100 characters.")
        most = self.max_completion_tokens or self.max_tokens or 512
        seed = secrets.randbits(31) if self.seed is None else self.seed
        sampling = Sampling(
            self.temperature, self.top_k, self.top_p, self.min_p, self.repetition_penalty, seed,
            self.presence_penalty, self.frequency_penalty,
        )  # fmt: skip
        return ReplyOptions(sampling, most, tuple(stop))


class CompletionRequest(SamplingRequest):
    prompt: str = Field(max_length=MAX_BYTES)


class Part(Strict):
    type: Literal["text"]
    text: str = Field(max_length=MAX_BYTES)


class Turn(Strict):
    """What somebody said: text, or parts of it, which are joined (OpenAI's API has pictures, too; this has not)."""

    role: Literal["system", "user", "assistant"]
    content: str | list[Part] = Field(max_length=MAX_BYTES)

    @field_validator("content")
    @classmethod
    def _joined(cls, content: str | list[Part]) -> str:
        return content if isinstance(content, str) else "".join(part.text for part in content)


class ChatRequest(SamplingRequest):
    messages: list[Turn] = Field(min_length=1, max_length=1000)
    leave_out_oldest: bool = False  # turns, until a quarter of the context is free for the answer


REQUESTS: dict[str, type[SamplingRequest]] = {
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatRequest,
}


def invalid(path: str, error: RequestValidationError) -> str:
    """A sentence that names the unknown fields of a request, or else the first wrong one. It quotes no values."""
    errors = error.errors()
    unknown = [problem["loc"][1:] for problem in errors if problem["type"] == "extra_forbidden"]
    if unknown:
        names = ", ".join(f"`{'.'.join(map(str, place))}`" for place in unknown)
        fields = Turn.model_fields if len(unknown[0]) > 1 else REQUESTS[path].model_fields
        return f"unknown {'fields' if len(unknown) > 1 else 'field'} {names}: use only {', '.join(fields)}."
    where = ".".join(str(step) for step in errors[0]["loc"][1:])
    return f"`{where or 'body'}`: {errors[0]['msg'][:1].lower()}{errors[0]['msg'][1:]}."


def problem(status: int, sentence: str) -> dict[str, Any]:
    """An error as OpenAI's clients expect it."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": sentence, "type": kind, "param": None, "code": None}}


def refusal(status: int, sentence: str, retry_after: int = 0) -> JSONResponse:
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == 408:
        headers["Connection"] = "close"
    return JSONResponse(problem(status, sentence), status, headers)


def refused(error: Refused) -> JSONResponse:
    return refusal(error.status, error.sentence, error.retry_after)
