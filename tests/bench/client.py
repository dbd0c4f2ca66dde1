"""A load client that costs little: requests as ready bytes, answers counted and not parsed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from msgspec import Struct

_END = b"\r\n0\r\n\r\n"
"""The last chunk of a chunked body, and the line end of the one before it (RFC 9112, section 7.1)."""
_OK = b"HTTP/1.1 200 "


class BrokenRun(Exception):
    """A server did not do what it was measured for; figures would mean nothing."""


class Request(Struct, frozen=True):
    """A streaming request, and how to tell that its answer is right."""

    data: bytes
    marker: bytes
    """Stands once in each delta of the answer."""
    deltas: int


class Answer:
    """A streamed answer, as far as it has come."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.sent_at = time.perf_counter()
        self.first_delta_at: float | None = None
        self.deltas = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._segments: list[bytes] = []
        self._tail = b""

    @property
    def body(self) -> bytes:
        """All of the response as it came, with its head and the chunks' framing."""
        return b"".join(self._segments)

    @property
    def events(self) -> int:
        """Number of server-sent events."""
        return self.body.count(b"\ndata: ")

    @property
    def first_delta_s(self) -> float:
        """From the request to the first delta."""
        assert self.first_delta_at is not None
        return self.first_delta_at - self.sent_at

    def take(self, data: bytes) -> None:
        """Count what is in the next bytes."""
        self._segments.append(data)
        marker = self.request.marker
        window = self._tail + data
        self.deltas += window.count(marker)
        if self.deltas and self.first_delta_at is None:
            self.first_delta_at = time.perf_counter()
        if window.endswith(_END):
            self._end()
        self._tail = window[1 - len(marker) :]

    def _end(self) -> None:
        if not self._segments[0].startswith(_OK) or self.deltas != self.request.deltas:
            self.fail(f"{self.deltas} deltas, not {self.request.deltas}: {self.body[:2000]!r}")
        elif not self.ended.done():
            self.ended.set_result(None)

    def fail(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(BrokenRun(reason))


class Connection(asyncio.Protocol):
    """A connection that is kept open; one request at a time."""

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if self._answer is not None:
            self._answer.take(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None:
            self._answer.fail(f"connection lost after {self._answer.body[-500:]!r}")

    def send(self, request: Request) -> Answer:
        """Start a request; the answer fills up by itself."""
        assert self._transport is not None
        self._answer = Answer(request)
        self._transport.write(request.data)
        return self._answer

    async def ask(self, request: Request) -> Answer:
        """Send a request and wait for the end of its answer."""
        answer = self.send(request)
        await answer.ended
        return answer

    def close(self) -> None:
        """Hang up, as a client that loses interest."""
        if self._answer is not None:
            self._answer.ended.cancel()
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def connections(port: int, count: int) -> AsyncGenerator[list[Connection]]:
    """So many connections to a local server."""
    loop = asyncio.get_running_loop()
    opened: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
            opened.append(connection)
        yield opened
    finally:
        for connection in opened:
            connection.close()
        await asyncio.sleep(0)  # lets the transports go


async def closed_loop(
    clients: Sequence[Connection], turns: int, request: Callable[[int], Request], *, ramp_s: float = 0
) -> list[Answer]:
    """Let each client send one request after another until `turns` have been sent in all.

    Args:
        clients: What sends.
        turns: Number of requests.
        request: Makes each request, from its number.
        ramp_s: The clients start evenly spread over this time.
    """
    numbers = iter(range(turns))
    answers: list[Answer] = []

    async def client(index: int, connection: Connection) -> None:
        await asyncio.sleep(ramp_s * index / len(clients))
        for number in numbers:
            answer = await connection.ask(request(number))
            answers.append(answer)

    async with asyncio.TaskGroup() as tasks:
        for index, connection in enumerate(clients):
            tasks.create_task(client(index, connection))
    return answers


def http_post(path: str, body: dict[str, Any]) -> bytes:
    """A request as bytes."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
