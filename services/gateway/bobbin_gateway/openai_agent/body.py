"""The body of a streamed response, read raw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

import httpx2

from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.transport import chunks_of

_SENT = httpx2.Request("POST", "http://sent")

TAIL_S = 1.0
"""How long a stream may go on after its answer's end. Usually its end comes with it; but a server may keep
it open."""


@asynccontextmanager
async def open_body(response: httpx2.Response) -> AsyncGenerator[AsyncIterator[bytes]]:
    """The body as it comes. Leaving closes the connection, unless all has been read."""
    try:
        if "content-encoding" in response.headers:
            async with aclosing(response.aiter_bytes()) as chunks:
                yield chunks
        else:
            # Headers, and the request with all the history in it, need not live as long as the stream.
            response.headers, response.request = httpx2.Headers(), _SENT
            yield chunks_of(response)
    finally:
        await response.aclose()


async def drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of the body, so that the connection can be used again; not for long."""
    with suppress(*failures.TRANSPORT_ERRORS):
        async with asyncio.timeout(TAIL_S):
            async for _ in chunks:
                pass
