"""An HTTP server of a few lines, for what a well-behaved model server can't be made to do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

Reply = Callable[[dict[str, Any], asyncio.StreamWriter], Awaitable[None]]


class RawServer(msgspec.Struct):
    url: str = ""
    connections: int = 0
    requests: list[dict[str, Any]] = msgspec.field(default_factory=list)
    """Their bodies; empty where there is none."""
    heads: list[str] = msgspec.field(default_factory=list)
    """Their request lines and headers."""


@asynccontextmanager
async def raw_server(reply: Reply) -> AsyncGenerator[RawServer]:
    """Serve until left; `reply` writes the whole response, status line included."""
    served = RawServer()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.connections += 1
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = msgspec.json.decode(await reader.readexactly(int(length[1]) if length else 0) or b"{}")
                served.requests.append(body)
                served.heads.append(head.decode())
                await reply(body, writer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    served.url = "http://127.0.0.1:{1}/v1".format(*server.sockets[0].getsockname())
    try:
        yield served
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await server.wait_closed()


def start(status: str = "200 OK", *headers: str) -> bytes:
    """The head of a response whose body comes in chunks."""
    lines = [f"HTTP/1.1 {status}", "content-type: text/event-stream", "transfer-encoding: chunked", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def piece(data: bytes) -> bytes:
    """One chunk of a body; the empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)
