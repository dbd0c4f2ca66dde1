"""The openai package, set up once per process.

Its aiohttp transport is used: reading a streamed chunk costs half the CPU of the standard one.
"""

from __future__ import annotations

from typing import cast

import httpx2
from openai import AsyncOpenAI, DefaultAioHttpClient, Omit

from bobbin_gateway.openai_agent import failures

_LONGEST_RETRY_WAIT_S = 3.0
"""A provider that asks for more is not waited for: a person would see nothing. They are told instead."""
_MAX_CONNECTIONS = 10_000
"""One per running turn; the limits on turns are set elsewhere."""
_KEEPALIVE_S = 60.0
_CONNECT_TIMEOUT_S = 10.0
_MAX_ERROR_SIZE = 65_536
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


def open_client(*, api_key: str, base_url: str, read_timeout_s: float) -> AsyncOpenAI:
    """A client for one model service.

    Args:
        api_key: Empty for a service that needs none.
        base_url: Empty: where the package goes by itself, which is OpenAI.
        read_timeout_s: Longest silence of the service, before its answer or within it.
    """
    timeout = httpx2.Timeout(read_timeout_s, connect=_CONNECT_TIMEOUT_S, pool=_CONNECT_TIMEOUT_S)
    limits = httpx2.Limits(max_connections=_MAX_CONNECTIONS, keepalive_expiry=_KEEPALIVE_S)
    transport = DefaultAioHttpClient(
        timeout=timeout, limits=limits, event_hooks={"response": [_stop_vain_retries]}
    )
    return AsyncOpenAI(
        api_key=api_key or "none",
        base_url=base_url or None,
        timeout=timeout,
        http_client=transport,
        # `Omit` is the package's own way to leave a header out; its annotation does not know.
        default_headers=cast("dict[str, str]", dict.fromkeys(_TELEMETRY, Omit())),
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
