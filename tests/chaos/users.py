"""Users with good clients: they ask again until they are answered, and resume until there is nothing left."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
from msgspec import Struct, field

from tests.client import Event, message
from tests.stack import JWT_SECRET

_WORDS = ["thread", "bobbin", "spool", "loom", "weft", "warp", "knot", "fibre", "twist", "yarn", "stitch"]


class Said(Struct):
    """One message and its answer, as far as its user knows."""

    owner: str
    key: str
    text: str
    """The message: there is no other like it."""
    expected: str
    """The whole answer."""
    body: bytes
    """The request, the same each time it is sent again."""
    thread_id: str | None
    """Where it was said; None until its thread has been made."""
    message_id: str | None = None
    """Once the server has acknowledged it."""
    turn_id: str | None = None
    numbers: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    """Those with numbers."""
    done: bool = False
    stopped: bool = False
    """The user has pressed Stop."""
    history: list[str] = field(default_factory=list)
    """What its client did and met, for people."""

    @property
    def deltas(self) -> str:
        """What was read of it."""
        updates = (event["update"] for event in self.events if event["type"] == "thread.item.updated")
        return "".join(
            update["delta"]
            for update in updates
            if update["type"] == "assistant_message.content_part.text_delta"
        )

    def note(self, what: str) -> None:
        self.history.append(f"{time.strftime('%H:%M:%S')} {what}")


class Habits(Struct, frozen=True):
    """How users behave."""

    turns: int = 3
    """At least."""
    leaves: float = 0.15
    """How often a client loses its connection by itself, per connection."""
    stops: float = 0.04
    """How often the user presses Stop, each time that the client comes back."""
    words: tuple[int, int] = (3, 40)
    """In an answer."""
    delay_ms: tuple[int, int] = (30, 120)
    """Between two words of an answer."""


class User:
    """One account, one message after the other."""

    def __init__(
        self,
        number: int,
        gateways: list[httpx.AsyncClient],
        habits: Habits,
        dice: random.Random,
        tally: Counter[str],
    ) -> None:
        self.owner = f"user-{number}"
        self._gateways = gateways
        self._habits = habits
        self._dice = dice
        self._tally = tally
        claims = {"sub": self.owner, "exp": int(time.time()) + 7200}
        self._headers = {
            "authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, algorithm='HS256')}",
            "content-type": "application/json",
            "chatkit-resumable": "1",
        }
        self.said: list[Said] = []
        self.problems: list[str] = []
        """What a client should never meet."""

    async def live(self, enough: Callable[[], bool]) -> None:
        """Talk until it is enough, but several times at least."""
        thread_id: str | None = None
        while not (enough() and len(self.said) >= self._habits.turns):
            await asyncio.sleep(self._dice.uniform(0, 1))
            said = self._next_message(thread_id)
            self.said.append(said)
            while not said.done:
                await self._attempt(said)
            thread_id = None if self._dice.random() < _NEW_THREAD else said.thread_id

    def _next_message(self, thread_id: str | None) -> Said:
        place = f"{self.owner}/{len(self.said)}"
        words = " ".join(self._dice.choices(_WORDS, k=self._dice.randint(*self._habits.words)))
        key = f"{place}/{self._dice.getrandbits(64):x}"
        text, answer = f"What of {place}?", f"{place}: {words}"
        script = urlencode(
            {"text": answer, "size": 5, "delay_ms": self._dice.randint(*self._habits.delay_ms)}
        )
        params: dict[str, Any] = {"input": message(text, model=f"script:{script}")}
        kind = "threads.create"
        if thread_id is not None:
            kind, params["thread_id"] = "threads.add_user_message", thread_id
        body = json.dumps({"type": kind, "params": params}).encode()
        return Said(owner=self.owner, key=key, text=text, expected=answer, body=body, thread_id=thread_id)

    async def _attempt(self, said: Said) -> None:
        """One request for what is still missing; to either gateway."""
        number = self._dice.randrange(len(self._gateways))
        events = self._dice.randint(1, 12) if self._dice.random() < self._habits.leaves else None
        stop = said.turn_id is not None and not said.stopped and self._dice.random() < self._habits.stops
        try:
            if stop:
                await self._stop(self._gateways[number], said)
            elif said.turn_id is None:
                await self._ask(self._gateways[number], said, events)
            else:
                await self._resume(self._gateways[number], said, events)
        except httpx.TransportError as error:
            self._tally["connections broken"] += 1
            said.note(f"gateway {number + 1}: {error!r}")
            await asyncio.sleep(self._dice.uniform(0.1, 0.6))

    async def _ask(self, http: httpx.AsyncClient, said: Said, events: int | None) -> None:
        self._tally["requests"] += 1
        headers = {**self._headers, "idempotency-key": said.key}
        async with http.stream("POST", "/chatkit", content=said.body, headers=headers) as response:
            said.note(f"asked {http.base_url}: {response.status_code}")
            if response.status_code == 200:
                await self._read(response, said, events)
                return
        await self._refused(response, said)

    async def _resume(self, http: httpx.AsyncClient, said: Said, events: int | None) -> None:
        headers = {**self._headers, "last-event-id": f"{said.turn_id}:{said.numbers[-1]}"}
        async with http.stream("GET", f"/chatkit/turns/{said.turn_id}/events", headers=headers) as response:
            said.note(f"resumed {http.base_url} after {said.numbers[-1]}: {response.status_code}")
            if response.status_code == 204:
                said.done = True
                return
            if response.status_code == 200:
                self._tally["resumes"] += 1
                await self._read(response, said, events)
                return
        await self._refused(response, said)

    async def _stop(self, http: httpx.AsyncClient, said: Said) -> None:
        said.stopped = True
        said.note(f"stop at {http.base_url}")
        response = await http.post(f"/chatkit/turns/{said.turn_id}/cancel", headers=self._headers)
        said.note(f"stop: {response.status_code}")
        self._tally["stops"] += 1

    async def _refused(self, response: httpx.Response, said: Said) -> None:
        self._tally[f"HTTP {response.status_code}"] += 1
        if response.status_code not in _LATER:
            self.problems.append(f"{said.key}: HTTP {response.status_code}: {said.history[-1]}")
        await asyncio.sleep(self._dice.uniform(0.2, 0.8))

    async def _read(self, response: httpx.Response, said: Said, events: int | None) -> None:
        async for event_id, data in _blocks(response):
            event = json.loads(data)
            self._take(said, event_id, event)
            if events is not None:
                events -= 1
                if events == 0:
                    self._tally["connections left"] += 1
                    said.note("left")
                    return
        if said.turn_id is None:
            await asyncio.sleep(self._dice.uniform(0.2, 0.8))

    def _take(self, said: Said, event_id: str, event: Event) -> None:
        if not event_id:
            said.note(f"unnumbered: {event}")
            self._tally["unnumbered events"] += 1
            if event["type"] != "error":
                self.problems.append(f"{said.key}: unnumbered event: {event}")
            return
        self._tally["events"] += 1
        turn_id, _, number = event_id.rpartition(":")
        if said.turn_id not in {None, turn_id}:
            self.problems.append(f"{said.key}: moved from turn {said.turn_id} to {turn_id}")
        said.turn_id = turn_id
        said.numbers.append(int(number))
        said.events.append(event)
        if event["type"] == "thread.item.done" and event["item"]["type"] == "user_message":
            said.message_id = event["item"]["id"]
            said.thread_id = event["item"]["thread_id"]


_NEW_THREAD = 0.2
_LATER = frozenset({429, 502, 503, 504})


async def _blocks(response: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """Id and data of each server-sent event."""
    event_id = data = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            event_id = value
        elif name == "data":
            data = value
        elif not line and data:
            yield event_id, data
            event_id = data = ""


def open_gateways(urls: list[str]) -> list[httpx.AsyncClient]:
    """A client for each gateway; who is silent for so long is taken for dead."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    timeout = httpx.Timeout(_SILENCE_S, pool=None)
    return [httpx.AsyncClient(base_url=url, limits=limits, timeout=timeout) for url in urls]


_SILENCE_S = 10.0
