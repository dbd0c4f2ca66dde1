"""The body of a streamed response, read raw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import cast

import httpx2

from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.transport import raw_body

TAIL_S = 1.0
"""How long a stream may go on after its answer's end. Usually its end comes with it; but a server may keep
it open."""


@asynccontextmanager
async def open_body(
    response: httpx2.Response, gathers: Callable[[], bool] = bool
) -> AsyncGenerator[AsyncIterator[bytes]]:
    """The body as it comes. Leaving closes the connection, unless all has been read.

    Args:
        response: Not read yet.
        gathers: Says whether what comes within `transport.MOMENT_S` may be read together; not if left out.
    """
    body: httpx2.AsyncByteStream | httpx2.Response = response
    try:
        if "content-encoding" in response.headers:
            async with aclosing(response.aiter_bytes()) as chunks:
                yield chunks
        elif raw := raw_body(response):
            raw.gathers = gathers
            body = raw
            del response  # it need not live as long as the stream, nor the request with all the history in it
            yield aiter(raw)
        else:
            yield aiter(cast("httpx2.AsyncByteStream", response.stream))
    finally:
        await body.aclose()


async def drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of the body, so that the connection can be used again; not for long."""
    with suppress(*failures.TRANSPORT_ERRORS):
        async with asyncio.timeout(TAIL_S):
            async for _ in chunks:
                pass
