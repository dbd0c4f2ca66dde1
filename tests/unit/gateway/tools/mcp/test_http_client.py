"""What is read from servers behind HTTP has bounds; the rest is tested with whole servers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest

from bobbin_gateway.tools.mcp.configuration import Address
from bobbin_gateway.tools.mcp.http_client import Refusals, open_http_client
from bobbin_gateway.tools.mcp.limits import MAX_MESSAGE_BYTES


@asynccontextmanager
async def answering(head: str, body: bytes = b"") -> AsyncIterator[str]:
    """An HTTP server with one answer to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\n".encode() + body)
        with suppress(ConnectionError):  # the client has read enough
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"


async def read(url: str, refusals: Refusals | None = None, **headers: str) -> bytes:
    address = Address(url=url, headers={"X-Key": "1"})
    async with (
        open_http_client(address, refusals or Refusals()) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        assert response.request.headers["x-key"] == "1"
        return await response.aread()


async def test_a_document_as_large_as_a_message_is_read() -> None:
    async with answering("200 OK", b"x" * MAX_MESSAGE_BYTES) as url:
        assert len(await read(url)) == MAX_MESSAGE_BYTES


async def test_a_larger_one_is_not() -> None:
    async with answering("200 OK\r\nContent-Type: application/json", b"x" * (MAX_MESSAGE_BYTES + 1)) as url:
        with pytest.raises(httpx2.StreamError, match="larger than 16777216 bytes"):
            await read(url)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_what_could_unfold_to_any_size_is_not_unfolded(kind: str) -> None:
    bomb = gzip.compress(b"x" * (4 * MAX_MESSAGE_BYTES))
    async with answering(f"200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: gzip", bomb) as url:
        with pytest.raises(httpx2.StreamError, match="compressed"):
            await read(url)


async def test_an_event_stream_may_be_longer() -> None:
    events = b"data: x\n\n" * (MAX_MESSAGE_BYTES // 8)
    async with answering("200 OK\r\nContent-Type: text/event-stream", events) as url:
        assert len(await read(url)) == len(events)


@pytest.mark.parametrize(
    ("status", "session", "expired"),
    [(404, "abc", True), (404, None, False), (401, "abc", False), (500, None, False)],
)
async def test_refusals_are_noted(status: int, session: str | None, expired: bool) -> None:
    refusals = Refusals()
    headers = {"mcp-session-id": session} if session else {}
    async with answering(f"{status} No") as url:
        await read(url, refusals, **headers)
    assert (refusals.status, refusals.expired) == (status, expired)
