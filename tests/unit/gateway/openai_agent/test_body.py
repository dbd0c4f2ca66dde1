"""The raw body of a streamed response, over a real connection."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from bobbin_gateway.openai_agent.body import TAIL_S, drain, open_body
from tests.unit.gateway.openai_agent.raw_server import Reply, piece, raw_server, start


@asynccontextmanager
async def asked(reply: Reply) -> AsyncGenerator[httpx2.Response]:
    async with raw_server(reply) as server, httpx2.AsyncClient() as client:
        request = client.build_request("POST", server.url, json={})
        yield await client.send(request, stream=True)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_it_is_read_whether_compressed_or_not(encoding: str) -> None:
    text = b"Hello " * 100

    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        body, headers = (
            (gzip.compress(text), ["content-encoding: gzip"]) if encoding == "gzip" else (text, [])
        )
        writer.write(start("200 OK", *headers) + piece(body[:50]) + piece(body[50:]) + piece(b""))

    async with asked(reply) as response, open_body(response) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == text
    assert response.is_closed


async def test_leaving_early_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(start() + piece(b"Hello"))
        with pytest.raises(ConnectionError):  # noqa: PT012 - one of the writes meets the closed connection
            while True:
                writer.write(piece(b"and so on"))
                await writer.drain()
                await asyncio.sleep(0.01)
        closed.set()

    async with asked(reply) as response:
        async with open_body(response) as chunks:
            await anext(chunks)
        await asyncio.wait_for(closed.wait(), 5)


async def test_draining_reads_to_the_end_but_does_not_wait_for_ever() -> None:
    async def reply(_: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(start() + piece(b"Hello"))

    async with asked(reply) as response, open_body(response) as chunks:
        started = time.monotonic()
        await drain(chunks)
        assert TAIL_S * 0.9 < time.monotonic() - started < TAIL_S + 3
