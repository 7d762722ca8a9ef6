"""One answer: generated in a thread, written as it comes or as a whole, and ended as soon as its client has left.

Generation never waits for a client: its pieces are kept until they are written, so that somebody who reads slowly does
not hold up those who wait for their turn.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from model.serve.guard import RECORD, Record, failed
from model.serve.limits import Place, Refused
from model.serve.requests import problem, refused
from model.serve.text import Reply


class Answer(Response):
    """The response to a request for text. Its place is given up when nothing is generated any more."""

    def __init__(self, reply: Reply, place: Place, model: str, chat: bool, stream: bool, counts: bool = False) -> None:
        super().__init__()
        self.reply, self.place, self.chat, self.stream, self.counts = reply, place, chat, stream, counts
        kind = "chat.completion" if chat else "text_completion"
        self.frame: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}",
            "object": f"{kind}.chunk" if chat and stream else kind,
            "created": int(time.time()),
            "model": model,
        }
        # Pieces of text, then None, or the reason why there are no more.
        self.pieces: asyncio.Queue[str | Refused | None] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record: Record = scope[RECORD]
        work = asyncio.create_task(self._generate(record))
        left = asyncio.create_task(_until_left(receive))
        write = asyncio.create_task(self._write(scope, receive, send))
        try:
            await asyncio.wait({write, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            broken_off = not write.done()
            self.reply.stop()
            left.cancel()
            write.cancel()
            if not self.place.granted.done():
                work.cancel()
            await asyncio.wait({work, left, write})
            record.prompt_tokens, record.tokens = self.reply.prompt_tokens, self.reply.tokens
            if broken_off:
                record.finish = "left"
        if not write.cancelled():
            write.result()

    async def _generate(self, record: Record) -> None:
        """Generate the reply when its turn has come, in a thread that a stopped reply ends after a token."""
        loop, seconds = asyncio.get_running_loop(), self.place.turns.limits.answer
        late = False

        def too_late() -> None:
            nonlocal late
            late = True
            self.reply.stop()

        def run() -> None:
            for piece in self.reply:
                loop.call_soon_threadsafe(self.pieces.put_nowait, piece)

        timer: asyncio.TimerHandle | None = None
        end: Refused | None = None
        try:
            await self.place.turn()
            timer = loop.call_later(seconds, too_late)
            await run_in_threadpool(run)
            record.finish = self.reply.finish
            if late:
                end = Refused(504, f"the answer was not complete within {seconds:g} seconds: set `max_tokens` lower.")
        except Refused as error:
            end = error
        except Exception as error:
            failed(record, error)
            end = Refused(500, f"request {record.id} failed: the server's log has it.")
        finally:
            if timer:
                timer.cancel()
            self.place.leave()
        if end:
            record.finish = "refused" if end.status == 503 else "failed"
        self.pieces.put_nowait(end)

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        piece = await self.pieces.get()
        if self.stream and not isinstance(piece, Refused):
            return await self._write_events(piece, send)
        text: list[str] = []
        while isinstance(piece, str):
            text.append(piece)
            piece = await self.pieces.get()
        response = refused(piece) if piece else JSONResponse(self._whole("".join(text)))
        await response(scope, receive, send)

    async def _write_events(self, piece: str | Refused | None, send: Send) -> None:
        """Server-sent events, one a piece. What goes wrong after the first is an event, too."""
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def event(content: Any, more: bool = True) -> None:
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            await send({"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": more})

        if self.chat:
            await event(self._choice({"delta": {"role": "assistant", "content": ""}}))
        while isinstance(piece, str):
            await event(self._choice({"delta": {"content": piece}} if self.chat else {"text": piece}))
            piece = await self.pieces.get()
        if piece:
            await event(problem(piece.status, piece.sentence))
        else:
            await event(self._choice({"delta": {}} if self.chat else {"text": ""}, self.reply.finish))
            if self.counts:
                await event(self.frame | {"choices": [], "usage": self._usage()})
        await event("[DONE]", more=False)

    def _choice(self, content: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return self.frame | {"choices": [{"index": 0, **content, "finish_reason": finish, "logprobs": None}]}

    def _whole(self, text: str) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        return self._choice(content, self.reply.finish) | {"usage": self._usage()}

    def _usage(self) -> dict[str, int]:
        used = {"prompt_tokens": self.reply.prompt_tokens, "completion_tokens": self.reply.tokens}
        return used | {"total_tokens": sum(used.values())}


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
