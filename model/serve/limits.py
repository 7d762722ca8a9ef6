"""What the server grants: how long each stage may take, how many may wait, and whose turn it is."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

MINUTE = 60.0


@dataclass(frozen=True)
class Limits:
    """Seconds for each stage of a request, and numbers of requests. Raises ValueError for one that is not positive."""

    headers: float = 10.0  # from the connection, or the first byte of the next request, to the end of the headers
    body: float = 30.0  # from the headers to the end of the body
    waiting: float = 120.0  # for the turn
    answer: float = 600.0  # generating
    reading: float = 30.0  # during which a client may take nothing of what is ready for it
    stopping: float = 25.0  # for answers under way when the server is to stop; Kubernetes kills after 30
    connections: int = 512  # open at once; requests on others are refused
    bytes: int = 1_000_000  # of a request's body; a context of 2,048 tokens is about 10 kB
    together: int = 16  # requests that are answered at once; each step gives every one of them a token
    places: int = 64  # requests that wait or are answered
    places_by_key: int = 0  # of one key; 0: all of them
    requests_by_minute: int = 0  # of one key; 0: any number

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in ("places_by_key", "requests_by_minute") else 1 if isinstance(value, int) else 1e-3
            if not least <= value < math.inf:
                raise ValueError(f"`{name}` of the server must be at least {least:g}, not {value}.")


class Refused(Exception):
    """A request that is not answered: the status, a sentence, and after how many seconds to try again (0: never)."""

    def __init__(self, status: int, sentence: str, retry_after: float = 0.0) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.retry_after = max(1, math.ceil(retry_after)) if retry_after else 0


def stopping() -> Refused:
    return Refused(503, "the server is stopping: try again later.", 5.0)


@dataclass(eq=False)
class Place:
    """A request's place among those that wait or are answered. `leave` gives it up, at any time, also twice."""

    turns: Turns
    key: str
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    since: float = 0.0  # when its turn came

    async def turn(self) -> None:
        """Wait for the turn. Raises Refused if it does not come in time, or if the server stops first."""
        try:
            async with asyncio.timeout(self.turns.limits.waiting):
                await self.granted
        except TimeoutError:
            seconds = self.turns.limits.waiting
            raise Refused(503, f"no turn within {seconds:g} seconds: try again later.", self.turns.wait()) from None

    def leave(self) -> None:
        self.turns.remove(self)


class Turns:
    """Some requests are answered at once, as many as share a step well; the others wait in order."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.places: deque[Place] = deque()  # the first ones are being answered
        self.stopping = False
        self.seconds = 1.0  # of an answer, a running average
        self._asked: dict[str, deque[float]] = {}

    def ask(self, key: str) -> None:
        """Count a request of a key. Raises Refused if it made too many within a minute."""
        most = self.limits.requests_by_minute
        if not most:
            return
        now, asked = time.monotonic(), self._asked.setdefault(key, deque())
        while asked and asked[0] <= now - MINUTE:
            asked.popleft()
        if len(asked) >= most:
            raise Refused(429, f"more than {most} requests within a minute: slow down.", asked[0] + MINUTE - now)
        asked.append(now)

    def enter(self, key: str) -> Place:
        """A place for a request of a key. Raises Refused if there is none."""
        if self.stopping:
            raise stopping()
        if len(self.places) >= self.limits.places:
            raise Refused(429, f"{len(self.places)} requests are already waiting: try again later.", self.wait())
        of_key, most = sum(place.key == key for place in self.places), self.limits.places_by_key
        if most and of_key >= most:
            raise Refused(429, f"{of_key} requests of this key are already waiting: try again later.", self.wait())
        place = Place(self, key)
        self.places.append(place)
        self._grant()
        return place

    def wait(self) -> float:
        """Seconds until the first of those that wait is likely to have its turn, at most a minute."""
        return min(MINUTE, self.seconds / self.limits.together)

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return max(0, len(self.places) - self.limits.together)

    def remove(self, place: Place) -> None:
        if place not in self.places:
            return
        if place.since:
            self.seconds += 0.2 * (time.monotonic() - place.since - self.seconds)
        self.places.remove(place)
        if not place.granted.cancel() and not place.granted.cancelled():
            place.granted.exception()  # asyncio complains of errors that nobody has looked at
        self._grant()

    def stop(self) -> None:
        """Let the answer under way finish, and refuse those that wait and those that come."""
        self.stopping = True
        for place in self.places:
            if not place.granted.done():
                place.granted.set_exception(stopping())

    def _grant(self) -> None:
        for place in islice(self.places, self.limits.together):
            if not place.granted.done():
                place.since = time.monotonic()
                place.granted.set_result(None)
