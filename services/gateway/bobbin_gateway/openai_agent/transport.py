"""aiohttp below the openai package.

The package brings a transport of this kind. This one does without what costs most in the life of a stream: a
new timer and three layers of iterators for each chunk. And it keeps no cookies: all users of a process would
share them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import lru_cache

import aiohttp
import httpx2

from bobbin_gateway.watchdog import Watchdog
from bobbin_telemetry import tracing

MOMENT_S = 1 / 60
"""What comes within a moment can be read together: no screen shows it sooner."""

_BODY = "bobbin.body"


@lru_cache(maxsize=256)
def _text(raw: bytes) -> str:
    return raw.decode("latin-1")


def raw_body(response: httpx2.Response) -> RawBody | None:
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
        body = RawBody(response, silence_s)
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


class RawBody(httpx2.AsyncByteStream):
    """A body as it comes, given up when there is no more of it for a while. To be read once.

    Attributes:
        gathers: Says whether what comes within a moment may be read together. To wake up for a piece costs
            far more than the piece does.
    """

    def __init__(self, response: aiohttp.ClientResponse, silence_s: float | None) -> None:
        self._response = response
        self._content = response.content
        self._silence_s = silence_s or _FOR_EVER_S
        self._silence = Watchdog(self._silence_s, self._give_up)
        self._is_waiting = False
        self.gathers: Callable[[], bool] = bool  # it may not
        self._loop = asyncio.get_running_loop()
        self._moment_ends = 0.0
        self._is_fast = False
        """Whether the last chunk came within a moment of the one before."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._of_moment() if self._is_fast and self.gathers() else b""
        if not chunk:
            chunk = await self._next()
            self._is_fast = self._loop.time() < self._moment_ends
        self._moment_ends = self._loop.time() + MOMENT_S
        return chunk

    async def _of_moment(self) -> bytes:
        """What has come when the moment ends that began with the last chunk."""
        if not self._content.is_eof():
            await asyncio.sleep(self._moment_ends - self._loop.time())
        # All there is, even if the connection has broken since: that is said when it is read on.
        return self._content._read_nowait(-1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    async def _next(self) -> bytes:
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
