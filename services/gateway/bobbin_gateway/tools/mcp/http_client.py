"""The HTTP client for servers that run somewhere: it bounds what is read, and looks at what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import cast

import httpx2
from mcp.client.streamable_http import MCP_SESSION_ID

from bobbin_gateway.tools.mcp.configuration import Address
from bobbin_gateway.tools.mcp.limits import MAX_MESSAGE_BYTES

CONNECT_TIMEOUT_S = 10.0


class Refusals:
    """What a server has refused on the level of HTTP, where the package's own errors say too little."""

    def __init__(self) -> None:
        self.status: int | None = None
        """The last one of 400 and more."""
        self.expired = False
        """Whether the server does not know our session (any more): what it was asked then, it has not done,
        and only a new session helps."""

    def note(self, response: httpx2.Response) -> None:
        """Take a response in."""
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            self.status = response.status_code
        # https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#session-management
        if response.status_code == HTTPStatus.NOT_FOUND and MCP_SESSION_ID in response.request.headers:
            self.expired = True


def open_http_client(address: Address, refusals: Refusals) -> httpx2.AsyncClient:
    """A client for `mcp.client.streamable_http`, which bounds event streams itself.

    The address's headers go with every request; the package never leaves the address's origin.
    """

    async def look_at(response: httpx2.Response) -> None:
        refusals.note(response)
        stream = cast("httpx2.AsyncByteStream", response.stream)
        if response.headers.get("content-encoding", "identity") != "identity":
            response.stream = _Bounded(stream, 0, "it is compressed, though that was not asked for")
        elif not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _Bounded(
                stream, MAX_MESSAGE_BYTES, f"it is larger than {MAX_MESSAGE_BYTES} bytes"
            )

    return httpx2.AsyncClient(
        headers=address.headers | {"Accept-Encoding": "identity"},
        # A call may be silent for as long as its own timeout says, an event stream for ever.
        timeout=httpx2.Timeout(CONNECT_TIMEOUT_S, read=None, pool=None),
        event_hooks={"response": [look_at]},
    )


class _Bounded(httpx2.AsyncByteStream):
    """A body up to a number of bytes; what the package makes of the rest is an error of that one call."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, complaint: str) -> None:
        self._stream = stream
        self._limit = limit
        self._complaint = complaint

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > self._limit:
                raise httpx2.StreamError(self._complaint)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
