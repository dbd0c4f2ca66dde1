"""aiohttp below the openai package.

The package brings a transport of this kind. This one does without what costs most in the life of a stream: a
new timer and three layers of iterators for each chunk. And it keeps no cookies: all users of a process would
share them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import lru_cache

import aiohttp
import httpx2

from bobbin_gateway.watchdog import Watchdog
from bobbin_telemetry import tracing

_BODY = "bobbin.body"


@lru_cache(maxsize=256)
def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def raw_body(response: httpx2.Response) -> httpx2.AsyncByteStream | None:
    """The body of a response of ours as it comes over the wire, without the layers between it and us."""
    return response.extensions.get(_BODY)


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends requests; their timeouts count in the package's way."""

    def __init__(self, limits: httpx2.Limits) -> None:
        self._limits = limits
        self._ssl = httpx2.create_ssl_context()
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and give the response with its body still to be read.

        Raises:
            httpx2.TimeoutException, httpx2.ConnectError: There is no response.
        """
        timeout: dict[str, float | None] = request.extensions.get("timeout", {})
        silence_s = timeout.get("read")
        try:
            async with asyncio.timeout(silence_s):
                response = await self._open_session().request(
                    request.method,
                    str(request.url),
                    headers=_headers(request),
                    data=await request.aread() or None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        connect=timeout.get("pool"), sock_connect=timeout.get("connect")
                    ),
                )
        except TimeoutError as error:
            raise httpx2.TimeoutException(str(error)) from error
        except aiohttp.ClientError as error:
            raise httpx2.ConnectError(str(error)) from error
        body = _Body(response, silence_s)
        return httpx2.Response(
            response.status, headers=response.raw_headers, stream=body, extensions={_BODY: body}
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._limits.max_connections or 0,
                    keepalive_timeout=self._limits.keepalive_expiry,
                    ssl=self._ssl,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


def _headers(request: httpx2.Request) -> list[tuple[str, str]]:
    """The request's headers, and to which trace it belongs.

    That is two random numbers, which tell a model service nothing; one of one's own (vLLM, a proxy) adds its
    spans there. What callers add to theirs (`tracestate`) stays here.
    """
    trace: dict[str, str] = {}
    tracing.inject(trace)
    # They live as long as the stream, and are nearly the same for all.
    headers = [(_text(name), _text(value)) for name, value in request.headers.raw]
    if "traceparent" in trace:
        headers.append(("traceparent", trace["traceparent"]))
    return headers


class _Body(httpx2.AsyncByteStream):
    """A body as it comes, given up when there is no more of it for a while. To be read once."""

    def __init__(self, response: aiohttp.ClientResponse, silence_s: float | None) -> None:
        self._response = response
        self._content = response.content
        self._silence_s = silence_s or _FOR_EVER_S
        self._silence = Watchdog(self._silence_s, self._give_up)
        self._is_waiting = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._silence.renew(self._silence_s)
        self._is_waiting = True
        try:
            chunk = await self._content.readany()
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(str(error)) from error
        self._is_waiting = False
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def _give_up(self) -> None:
        if self._is_waiting:
            self._content.set_exception(httpx2.ReadTimeout("the service fell silent"))

    async def aclose(self) -> None:
        """Close the connection, unless all has been read."""
        self._silence.cancel()
        self._response.close()


_FOR_EVER_S = 86_400.0
