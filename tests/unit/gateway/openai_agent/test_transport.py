"""What is read together of a stream, and what is not; `test_client` goes all the way through the package."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from bobbin_gateway.openai_agent.transport import MOMENT_S, AiohttpTransport, RawBody, raw_body
from tests.unit.gateway.openai_agent.raw_server import Reply, piece, raw_server, start

PIECES = 100
MANY = 1000
"""So many that what they take in all tells more of us than of a machine that is busy for a moment."""


@asynccontextmanager
async def asked(reply: Reply) -> AsyncGenerator[RawBody]:
    async with raw_server(reply) as server:
        transport = AiohttpTransport(httpx2.Limits())
        try:
            body = raw_body(await transport.handle_async_request(httpx2.Request("POST", server.url, json={})))
            assert body is not None
            yield body
            await body.aclose()
        finally:
            await transport.aclose()


def pieces(count: int, pause_s: float, *, after: asyncio.Event | None = None, whole: bool = True) -> Reply:
    """So many numbers, with a pause after each.

    Args:
        count: How many.
        pause_s: The pause.
        after: Is set whenever one has been read; the next waits for that.
        whole: Whether the body ends as it should; else the connection breaks.
    """

    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(start())
        for number in range(count):
            writer.write(piece(b"%d " % number))
            await writer.drain()
            if after is not None:
                await after.wait()
                after.clear()
            await asyncio.sleep(pause_s)
        if whole:
            writer.write(piece(b""))
        else:
            writer.close()

    return reply


def text(count: int) -> bytes:
    """So many numbers."""
    return b"".join(b"%d " % number for number in range(count))


async def test_pieces_that_come_faster_than_anyone_sees_are_read_together() -> None:
    async with asked(pieces(PIECES, MOMENT_S / 10)) as body:
        body.gathers = lambda: True
        began = time.monotonic()
        chunks = [chunk async for chunk in body]
        moments = (time.monotonic() - began) / MOMENT_S
    assert b"".join(chunks) == text(PIECES)
    assert len(chunks) <= moments + 3


async def test_pieces_that_come_slowly_are_read_as_they_come() -> None:
    was_read, count = asyncio.Event(), 0
    async with asked(pieces(5, 2 * MOMENT_S, after=was_read)) as body:
        body.gathers = lambda: True
        async for _ in body:
            count += 1
            was_read.set()
    assert count == 5


async def test_what_is_waited_for_is_read_at_once() -> None:
    """The first words, and the end."""
    was_read, read = asyncio.Event(), b""
    async with asked(pieces(MANY, 0, after=was_read)) as body:
        began = time.monotonic()
        async for chunk in body:
            read += chunk
            was_read.set()
        took_s = time.monotonic() - began
    assert read == text(MANY)
    assert took_s < MANY / 2 * MOMENT_S


async def test_the_end_of_a_fast_stream_is_not_waited_for() -> None:
    async with asked(pieces(MANY, 0)) as body:
        body.gathers = lambda: True
        began = time.monotonic()
        assert b"".join([chunk async for chunk in body]) == text(MANY)
    assert time.monotonic() - began < MANY / 2 * MOMENT_S


async def test_a_connection_that_breaks_takes_nothing_that_came_before() -> None:
    read = b""
    async with asked(pieces(PIECES, MOMENT_S / 10, whole=False)) as body:
        body.gathers = lambda: True
        with pytest.raises(httpx2.ReadError):  # noqa: PT012 (what was read till then counts)
            async for chunk in body:
                read += chunk
    assert read == text(PIECES)
