"""What a client can ask for, and how a refusal looks: OpenAI's API, as far as the server knows it."""

from __future__ import annotations

import secrets
from typing import Any, Literal, Self

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from model.sampling import Sampling
from model.serve.limits import Limits, Refused
from model.serve.text import DEFAULT, ReplyOptions

MAX_BYTES = Limits.bytes
MOST_TEXTS = 16  # of a request
MOST_INPUTS = 256
KINDS = {401: "authentication_error", 429: "rate_limit_error"}  # of an error; others by their status


class Strict(BaseModel):
    """Refuses unknown fields, so that no client takes for done what was ignored."""

    model_config = ConfigDict(extra="forbid")


class StreamOptions(Strict):
    """`include_usage`: a last event with the numbers of tokens."""

    include_usage: bool = False


class Schema(Strict):
    """A JSON schema, with a name that OpenAI's API wants and nothing here depends on."""

    name: str | None = None
    description: str | None = None
    strict: bool | None = None  # answers keep to the schema either way
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Strict):
    """What an answer has to be: any text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: Schema | None = None

    @model_validator(mode="after")
    def _with_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("`json_schema` belongs to the type json_schema, and to no other")
        return self

    @property
    def schema_of_answer(self) -> dict[str, Any] | None:
        """The JSON schema that an answer keeps to; None where any text will do."""
        if self.json_schema is not None:
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None


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
    n: int = Field(1, ge=1, le=MOST_TEXTS)
    response_format: ResponseFormat | None = None
    trace: bool = False  # also say what the answer has in common with what the model was trained on
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    stream_options: StreamOptions | None = None
    user: str | None = None  # whom it is for, says OpenAI's API; nothing depends on it

    @property
    def counts(self) -> bool:
        """Whether a stream ends with the numbers of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def likeliest(self) -> int | None:
        """Of how many tokens log probabilities are asked for beside the chosen one's; None: of none at all."""
        raise NotImplementedError

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
    """One text or several, or their ids."""

    prompt: str | list[str] | list[int] | list[list[int]] = Field(max_length=MAX_BYTES)
    logprobs: int | None = Field(None, ge=0, le=5)

    @field_validator("logprobs", mode="before")
    @classmethod
    def _none(cls, given: Any) -> Any:
        return None if given is False else given  # libraries send false where nobody asks for any

    @property
    def likeliest(self) -> int | None:
        return self.logprobs

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """All of them. Raises ValueError for none, or for more texts than MOST_TEXTS."""
        found = listed(self.prompt)
        if not 0 < len(found) * self.n <= MOST_TEXTS:
            raise ValueError(f"`prompt` and `n` make {len(found) * self.n} texts: ask for 1 to {MOST_TEXTS}.")
        return found


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


class Rag(Strict):
    """How an answer is taken from the server's documents."""

    passages: int = Field(3, ge=1, le=20)  # at most; as many as fit are given to the model
    threshold: float | None = Field(None, ge=0, le=1)  # of certainty, in place of the server's own


class ChatRequest(SamplingRequest):
    messages: list[Turn] = Field(min_length=1, max_length=1000)
    leave_out_oldest: bool = False  # turns, until a quarter of the context is free for the answer
    rag: bool | Rag = False  # whether to answer from the server's documents
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)

    @property
    def from_documents(self) -> Rag | None:
        """How to answer from documents; None if that is not asked for. Raises ValueError where nobody asks anything."""
        if self.rag is not False and self.messages[-1].role != "user":
            raise ValueError("`rag` answers a question: the last of `messages` has to be a user's.")
        return Rag() if self.rag is True else self.rag or None

    @property
    def likeliest(self) -> int | None:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("`top_logprobs` needs `logprobs: true`.")
        return (self.top_logprobs or 0) if self.logprobs else None


class EmbeddingRequest(Strict):
    """Texts, or their ids, of which vectors are wanted."""

    input: str | list[str] | list[int] | list[list[int]] = Field(max_length=MAX_BYTES)
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None

    @property
    def inputs(self) -> list[str] | list[list[int]]:
        """All of them. Raises ValueError for none, or for more than MOST_INPUTS."""
        found = listed(self.input)
        if not 0 < len(found) <= MOST_INPUTS:
            raise ValueError(f"`input` has {len(found)} texts: send 1 to {MOST_INPUTS}.")
        return found


def listed(given: str | list[str] | list[int] | list[list[int]]) -> list[str] | list[list[int]]:
    """Several texts (or their ids) as they are, and one as a list of one."""
    if isinstance(given, str):
        return [given]
    if given and isinstance(given[0], int):
        return [given]  # type: ignore[list-item]
    return given  # type: ignore[return-value]


REQUESTS: dict[str, type[Strict]] = {
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatRequest,
    "/v1/embeddings": EmbeddingRequest,
}


def invalid(path: str, error: RequestValidationError) -> str:
    """A sentence that names the unknown fields of a request, or else the first wrong one. It quotes no values."""
    errors = error.errors()
    unknown = [problem["loc"][1:] for problem in errors if problem["type"] == "extra_forbidden"]
    if unknown:
        names = ", ".join(f"`{'.'.join(map(str, place))}`" for place in unknown)
        said = f"unknown {'fields' if len(unknown) > 1 else 'field'} {names}"
        if (len(unknown[0]) > 1 and unknown[0][0] != "messages") or path not in REQUESTS:
            return f"{said}: leave them out." if len(unknown) > 1 else f"{said}: leave it out."
        fields = Turn.model_fields if len(unknown[0]) > 1 else REQUESTS[path].model_fields
        return f"{said}: use only {', '.join(fields)}."
    if errors[0]["type"] == "json_invalid":
        return f"the body is no JSON at character {errors[0]['loc'][-1]}: {errors[0]['ctx']['error']}."
    where = ".".join(str(step) for step in errors[0]["loc"][1:])
    return f"`{where or 'body'}`: {errors[0]['msg'][:1].lower()}{errors[0]['msg'][1:]}."


class Details(BaseModel):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Problem(BaseModel):
    """A refusal, in the form that OpenAI's clients expect."""

    error: Details


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
