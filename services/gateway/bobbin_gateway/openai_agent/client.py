"""The openai package, set up once per process.

It goes over aiohttp: reading a streamed chunk costs half the CPU of the standard transport.
"""

from __future__ import annotations

import asyncio
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import monotonic
from typing import Any, cast
from urllib.request import getproxies

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient, Omit
from openai._models import FinalRequestOptions

from bobbin_gateway import metrics
from bobbin_gateway.openai_agent import failures
from bobbin_gateway.openai_agent.transport import AiohttpTransport

_LONGEST_RETRY_WAIT_S = 3.0
"""A provider that asks for more is not waited for: a person would see nothing. They are told instead."""
_MAX_CONNECTIONS = 10_000
"""One per running turn; the limits on turns are set elsewhere."""
_KEEPALIVE_S = 60.0
_CONNECT_TIMEOUT_S = 10.0
_MAX_ERROR_SIZE = 65_536
_USER_AGENT = f"AsyncOpenAI/Python {openai.__version__}"
"""As the package names itself; it would name its subclass."""
JSON = {"Content-Type": "application/json"}
_TELEMETRY = (
    "X-Stainless-Arch",
    "X-Stainless-Async",
    "X-Stainless-Lang",
    "X-Stainless-OS",
    "X-Stainless-Package-Version",
    "X-Stainless-Runtime",
    "X-Stainless-Runtime-Version",
)
"""What the package tells about this machine with each request: nobody asked, and it costs CPU and memory."""


class ModelClient(AsyncOpenAI):
    """The package's client; each streamed request is made after the model of the first.

    All that differs from one to the next is the body. The package's own way to a request (options, URL and
    headers merged, parsed and checked) costs as much as everything that is then sent and received.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._options: dict[str, FinalRequestOptions] = {}
        self._requests: dict[tuple[str, int], httpx2.Request] = {}

    async def open_stream(self, path: str, body: bytes) -> httpx2.Response:
        """Post a JSON body; gives the response with its body still to be read.

        Raises:
            openai.OpenAIError: As the package's own calls do.
        """
        if path not in self._options:
            self._options[path] = FinalRequestOptions.construct(method="post", url=path, headers=JSON)
        response = await self.request(
            httpx2.Response,
            self._options[path].model_copy(update={"content": body}),
            stream=True,
            stream_cls=AsyncStream[Any],
        )
        # Asked to cast to the bare response, the package gives that, unread, whatever its signature says.
        return cast("httpx2.Response", response)

    def _idempotency_key(self) -> str:
        return ""  # the package makes one per request, and OpenAI's API has no header for it

    def _build_request(self, options: FinalRequestOptions, *, retries_taken: int = 0) -> httpx2.Request:
        body = options.content
        template = self._options.get(options.url)
        if template is None or options.headers is not template.headers or not isinstance(body, bytes):
            return super()._build_request(options, retries_taken=retries_taken)
        key = options.url, retries_taken
        if key not in self._requests:
            bare = options.model_copy(update={"content": b""})
            self._requests[key] = super()._build_request(bare, retries_taken=retries_taken)
        first = self._requests[key]
        stream = httpx2.ByteStream(body)
        request = httpx2.Request(
            first.method, first.url, headers=first.headers, stream=stream, extensions=first.extensions
        )
        request.headers["Content-Length"] = str(len(body))
        request.read()
        return request


class _MeasuredHttpClient(DefaultAioHttpClient):
    """Counts every request that is really sent: the package tries again by itself, and tells nobody."""

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        began, outcome = monotonic(), "unreachable"
        try:
            response = await super().send(request, **options)
            outcome = str(response.status_code)
        except httpx2.TimeoutException:
            outcome = "timeout"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            metrics.MODEL_REQUESTS.labels(outcome).inc()
        metrics.MODEL_RESPONSE_SECONDS.observe(monotonic() - began)
        return response


def open_client(*, api_key: str, base_url: str, read_timeout_s: float) -> ModelClient:
    """A client for one model service.

    Args:
        api_key: Empty for a service that needs none.
        base_url: Empty: where the package goes by itself, which is OpenAI.
        read_timeout_s: Longest silence of the service, before its answer or within it.
    """
    timeout = httpx2.Timeout(read_timeout_s, connect=_CONNECT_TIMEOUT_S, pool=_CONNECT_TIMEOUT_S)
    limits = httpx2.Limits(max_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEEPALIVE_S)
    http_client = _MeasuredHttpClient(
        timeout=timeout,
        limits=limits,
        transport=None if getproxies() else AiohttpTransport(limits),  # the package's own knows proxies
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # all users of a process would share them
        event_hooks={"response": [_stop_vain_retries]},
    )
    return ModelClient(
        api_key=api_key or "none",
        base_url=base_url or None,
        timeout=timeout,
        http_client=http_client,
        # `Omit` is the package's own way to leave a header out; its annotation does not know.
        default_headers=cast(
            "dict[str, str]", {**dict.fromkeys(_TELEMETRY, Omit()), "User-Agent": _USER_AGENT}
        ),
    )


async def _stop_vain_retries(response: httpx2.Response) -> None:
    """Tell the package, in the way a provider would, not to try again where that helps nobody."""
    if response.status_code not in {429, 503}:
        return
    wait_s = failures.retry_after_s(response.headers)
    if wait_s is not None and wait_s > _LONGEST_RETRY_WAIT_S:
        response.headers["x-should-retry"] = "false"
        return
    await response.aread()
    if b"insufficient_quota" in response.content[:_MAX_ERROR_SIZE]:
        response.headers["x-should-retry"] = "false"
