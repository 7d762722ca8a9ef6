"""`slm annotate serve`: a page on which one person judges the tasks of a folder, by keys alone if they like.

Every judgement is written when it is made, so the page can be closed at any time and resumes where it was. It shows
texts and never models; on which side an answer stands differs from person to person, so that a habit for one side does
not favour a model. It is served to this machine only. What the page needs otherwise (its files' headers, the limits on
requests) is that of `slm serve` (`model/serve/`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import xxhash
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from model.serve.connection import listening, run
from model.serve.guard import Guard
from model.serve.keys import Keys
from model.serve.limits import Limits, Refused, Turns
from model.serve.requests import Strict, refusal, refused
from model.serve.server import LOCAL
from model.serve.web import FOLDER, HEADERS, SCRIPT, STYLE
from pipeline.annotation.tasks import FIRST, SECOND, VERDICTS, Judgement, Task, read_judgements, read_tasks, record

NAME = "page"
HERE = Path(__file__).parent / "page"
FILES = {
    "/": (HERE / "judge.html", "text/html; charset=utf-8"),
    "/judge.js": (HERE / "judge.js", SCRIPT),
    "/judge.css": (HERE / "judge.css", STYLE),
    "/page.css": (FOLDER / "page.css", STYLE),
}
SIDES = {"left": 0, "right": 1}


class Said(Strict):
    """A judgement as the page sends it; None takes it back."""

    task: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    said: Literal["left", "right", "tie", "good", "bad", "keep", "drop"] | None


class Desk:
    """The tasks of a folder before one person."""

    def __init__(self, folder: Path, judge: str) -> None:
        self.folder, self.judge = folder, judge
        self.tasks = {task.task: task for task in read_tasks(folder)}
        self._lock = threading.Lock()

    def turned(self, task: Task) -> bool:
        """Whether this person sees the second answer on the left."""
        return task.kind == "pair" and xxhash.xxh3_64_intdigest(f"{self.judge}/{task.task}".encode()) % 2 == 1

    def shown(self, task: Task) -> dict[str, Any]:
        texts = task.texts[::-1] if self.turned(task) else task.texts
        return {"task": task.task, "kind": task.kind, "prompt": task.prompt, "texts": texts}

    def said(self) -> dict[str, str]:
        """What this person has said so far, by task, in the words of the page."""
        mine = [one for one in read_judgements(self.folder) if one.judge == self.judge and one.task in self.tasks]
        return {one.task: self._on_page(self.tasks[one.task], one.verdict) for one in mine}

    def judge_task(self, given: Said) -> None:
        """Write what was said. Raises Refused for an unknown task, or a word that its kind does not have."""
        task = self.tasks.get(given.task)
        if task is None:
            raise Refused(404, "there is no such task here: load the page again.")
        if given.said is None:
            with self._lock:
                record(self.folder, [(task.task, self.judge)])
            return
        verdict = self._in_order(task, given.said)
        if verdict not in VERDICTS[task.kind]:
            raise Refused(400, f"`{given.said}` is no judgement of this task: use another key.")
        with self._lock:
            record(self.folder, [Judgement(task.task, self.judge, verdict, NAME)])

    def _in_order(self, task: Task, side: str) -> str:
        """The verdict for a side of the page."""
        if side not in SIDES:
            return side
        return (FIRST, SECOND)[SIDES[side] ^ self.turned(task)]

    def _on_page(self, task: Task, verdict: str) -> str:
        if verdict not in (FIRST, SECOND):
            return verdict
        return ("left", "right")[(verdict == SECOND) ^ self.turned(task)]


def application(desk: Desk, turns: Turns) -> FastAPI:
    """The page's application, for `serve` or a test."""
    app = FastAPI(title="annotate", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOCAL, "[::1]", "testserver"])
    app.add_middleware(Guard, keys=Keys({}), limits=turns.limits, turns=turns)
    _explain_errors(app)
    for path, (file, kind) in FILES.items():
        app.add_api_route(path, _sent(file.read_bytes(), kind), methods=["GET"], include_in_schema=False)

    @app.get("/tasks")
    async def listed() -> dict[str, Any]:
        return {"tasks": list(desk.tasks), "said": await run_in_threadpool(desk.said)}

    @app.get("/tasks/{name}")
    async def one(name: str) -> dict[str, Any]:
        if name not in desk.tasks:
            raise Refused(404, "there is no such task here: load the page again.")
        return desk.shown(desk.tasks[name])

    @app.post("/judgements")
    async def judged(request: Request, given: Said) -> JSONResponse:
        origin = request.headers.get("origin")
        if origin and urlsplit(origin).netloc != request.headers.get("host"):
            raise Refused(403, "judgements are taken from the server's own page only.")
        await run_in_threadpool(desk.judge_task, given)
        return JSONResponse({"kept": True})

    return app


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> JSONResponse:
        return refused(error)

    @app.exception_handler(RequestValidationError)
    async def _unreadable(_: Request, error: RequestValidationError) -> JSONResponse:
        where = ".".join(str(step) for step in error.errors()[0]["loc"][1:])
        return refusal(400, f"`{where or 'body'}` of a judgement is not as the page sends it: load the page again.")


def _sent(content: bytes, kind: str) -> Any:
    async def sent() -> Response:
        return Response(content, headers=HEADERS, media_type=kind)

    return sent


def serve(desk: Desk, port: int, said: Sequence[str] = ()) -> None:
    """Serve the page on this machine until SIGTERM or Ctrl-C; prints its address.

    said: lines to print after the address. Raises ValueError if the port is taken.
    """
    turns = Turns(Limits())
    with listening("127.0.0.1", port) as listener:
        print(f"judge on http://127.0.0.1:{listener.getsockname()[1]} (Ctrl-C here stops it)", flush=True)
        for line in said:
            print(line, flush=True)
        run(application(desk, turns), turns, listener)
