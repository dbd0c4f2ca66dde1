"""A reader of live feeds for tests: what it hears is checked, and it can come back where it was."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import msgspec
from msgspec import Struct, field

from bobbin_protocol.feed import FeedMessage
from tests.client import Event, check_event

OWN_KINDS = {"thread.deleted", "feed.reset"}
"""Events that the reference does not know."""


class Heard(Struct):
    """One message of a feed."""

    id: str
    at: float
    """On the monotonic clock."""
    event: Event
    thread_id: str | None = None
    turn_id: str | None = None


class Listening(Struct):
    """What a reader has heard, over any number of connections."""

    heard: list[Heard] = field(default_factory=list)
    cursor: str = ""
    """Its `Last-Event-ID`."""
    connections: int = 0
    silent: int = 0
    """Keep-alives, and positions without an event."""
    ended: bool = False
    """Whether the server ended the last connection."""
    failure: httpx.HTTPError | None = None
    """What cut the last connection off."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, enough: Callable[[Listening], bool], timeout_s: float = 15) -> None:
        """Wait until enough has been heard."""
        try:
            async with asyncio.timeout(timeout_s):
                while not enough(self):
                    assert self.failure is None, self.failure
                    self.news.clear()
                    await self.news.wait()
                    await asyncio.sleep(0.01)  # rather than look after each of thousands
        except TimeoutError:
            raise AssertionError(f"not heard in time, after {len(self.heard)}: {self.heard[-5:]}") from None

    def kinds(self, thread_id: str) -> list[str]:
        """The types of events in a thread that are of no turn, and `feed.reset`."""
        return [
            one.event["type"]
            for one in self.heard
            if one.turn_id is None and one.thread_id in {thread_id, None}
        ]

    def of_turn(self, turn_id: str) -> list[Event]:
        """The events of one turn."""
        return [one.event for one in self.heard if one.turn_id == turn_id]

    def turns_in(self, thread_id: str) -> list[list[Event]]:
        """The events of each turn in one thread, in the order in which the turns were heard of."""
        turn_ids = dict.fromkeys(one.turn_id for one in self.heard if one.thread_id == thread_id)
        return [self.of_turn(turn_id) for turn_id in turn_ids if turn_id]

    def of_thread(self, thread_id: str) -> list[Event]:
        """The events in one thread."""
        return [one.event for one in self.heard if one.thread_id == thread_id]


@asynccontextmanager
async def listening(
    http: httpx.AsyncClient,
    path: str = "/chatkit/events",
    so_far: Listening | None = None,
    **headers: str,
) -> AsyncGenerator[Listening]:
    """Listen in the background until the end of the block; with `so_far` go on from there."""
    reading = so_far or Listening()
    async with opened(http, path, reading, **headers) as response:
        task = asyncio.create_task(_listen(response, reading))
        try:
            yield reading
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def hear(http: httpx.AsyncClient, path: str, reading: Listening, blocks: int) -> None:
    """Come back, listen to so many blocks (or to the end), and leave in mid-stream."""
    async with opened(http, path, reading) as response:
        await _listen(response, reading, blocks)


@asynccontextmanager
async def opened(
    http: httpx.AsyncClient, path: str, reading: Listening, **headers: str
) -> AsyncGenerator[httpx.Response]:
    """The response to a request for a feed."""
    resume = {"last-event-id": reading.cursor} if reading.cursor else {}
    async with http.stream(
        "GET", path, headers={**resume, **headers}, timeout=httpx.Timeout(30, read=None)
    ) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        reading.ended, reading.failure = False, None
        reading.connections += 1
        yield response


async def _listen(response: httpx.Response, reading: Listening, blocks: int = 10**9) -> None:
    try:
        await _take_in(response, reading, blocks)
    except httpx.HTTPError as error:
        reading.failure = error
    finally:
        reading.news.set()


async def _take_in(response: httpx.Response, reading: Listening, blocks: int) -> None:
    """Take in block after block, as an EventSource does: an id counts also where there is no data."""
    fields: dict[bytes, bytes] = {}
    async for line in _lines(response):
        if line.startswith(b":"):
            reading.silent += 1
        elif line:
            name, _, value = line.partition(b": ")
            assert name not in fields, fields
            fields[name] = value
        elif fields:
            _take(fields, reading)
            fields = {}
            blocks -= 1
        reading.news.set()
        if blocks == 0:
            return
    reading.ended = True


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    rest = b""
    async for data in response.aiter_raw():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line
    assert rest == b"", rest


def _take(fields: dict[bytes, bytes], reading: Listening) -> None:
    assert fields.keys() <= {b"id", b"data"}, fields
    reading.cursor = fields[b"id"].decode()
    if b"data" not in fields:
        reading.silent += 1
        return
    data = fields[b"data"]
    msgspec.json.decode(data, type=FeedMessage)
    message = json.loads(data)
    if message["event"]["type"] not in OWN_KINDS:
        check_event(message["event"])
    reading.heard.append(Heard(id=reading.cursor, at=time.monotonic(), **message))
