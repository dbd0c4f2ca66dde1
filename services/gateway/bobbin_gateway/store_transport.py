"""Calls of the thread store over HTTP: how they are sent, traced and measured, and what failures mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec, TypeVar

import aiohttp
import msgspec

from bobbin_gateway.metrics import STORE_CALL_SECONDS
from bobbin_protocol.items import StoredItem
from bobbin_protocol.problem import Problem
from bobbin_protocol.store import MSGPACK, OWNER_HEADER
from bobbin_protocol.wire import encode_json
from bobbin_telemetry import tracing
from bobbin_telemetry.requests import REQUEST_ID_HEADER, current_request_id

T = TypeVar("T")
P = ParamSpec("P")

_encode = msgspec.msgpack.Encoder().encode


class StoreRefused(Exception):
    """The store understood the call and said no; the problem is fit for the caller's eyes."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class StoreUnavailable(Exception):
    """The store, or its database, cannot be reached or did not answer in time; worth another try."""


def measured(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A call whose time and outcome are written down under its name."""

    @wraps(call)
    async def timed(*args: P.args, **options: P.kwargs) -> T:
        began, outcome = monotonic(), "cancelled"
        try:
            answer = await call(*args, **options)
            outcome = "ok"
        except StoreRefused:
            outcome = "refused"
            raise
        except StoreUnavailable:
            outcome = "unavailable"
            raise
        finally:
            STORE_CALL_SECONDS.labels(call.__name__, outcome).observe(monotonic() - began)
        return answer

    return timed


class StoreTransport:
    """Connections to one store. Those for vital calls are apart: whatever users do, they are there."""

    def __init__(self, session: aiohttp.ClientSession, vital: aiohttp.ClientSession) -> None:
        self._session = session
        self._vital = vital

    async def call(
        self,
        answer: msgspec.msgpack.Decoder[T],
        owner_id: str | None,
        method: str,
        path: str,
        body: msgspec.Struct | StoredItem | None = None,
        *,
        query: dict[str, str] | None = None,
        vital: bool = False,
    ) -> T:
        """What the store answers.

        Raises:
            StoreRefused: It says no.
            StoreUnavailable: It cannot be reached, or not understood.
        """
        session = self._vital if vital else self._session
        with _span(method, path) as span:
            content, media_type, status = await self._exchange(session, method, path, owner_id, body, query)
            span.set({"http.response.status_code": status})
            if status < _FIRST_ERROR:
                try:
                    if content and media_type == _JSON:  # MessagePack could not hold it
                        return msgspec.json.decode(content, type=answer.type)
                    return answer.decode(content or _NIL)
                except msgspec.MsgspecError as error:  # a store of another version, or a proxy's own words
                    raise StoreUnavailable(f"{method} {path}: unreadable answer: {error}") from error
            raise _refusal(status, content, f"{method} {path}")

    @staticmethod
    async def _exchange(
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        owner_id: str | None,
        body: msgspec.Struct | StoredItem | None,
        query: dict[str, str] | None,
    ) -> tuple[bytes, str, int]:
        """Send a request; again if the store hung up on an idle connection: every call may be repeated."""
        headers = {} if owner_id is None else {OWNER_HEADER: owner_id}
        if request_id := current_request_id():
            headers[REQUEST_ID_HEADER] = request_id
        tracing.inject(headers)
        try:
            data = None if body is None else _encode(body)
        except OverflowError:  # MessagePack has no form for whole numbers above 64 bits
            data, headers["Content-Type"] = encode_json(body), _JSON

        async def send() -> tuple[bytes, str, int]:
            async with session.request(method, path, params=query, data=data, headers=headers) as response:
                return await response.read(), response.content_type, response.status

        try:
            try:
                return await send()
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await send()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StoreUnavailable(f"{method} {path}: {str(error) or type(error).__name__}") from error


def _refusal(status: int, content: bytes, call: str) -> Exception:
    try:
        problem = _PROBLEM.decode(content)
    except msgspec.MsgspecError:
        return StoreUnavailable(f"{call}: status {status} without a problem")
    if status in _OWN_FAULT:
        return StoreUnavailable(f"{call}: status {status}: {problem.detail}")
    return StoreRefused(problem)


@asynccontextmanager
async def open_transport(url: str, token: str, timeout_s: float) -> AsyncGenerator[StoreTransport]:
    """Connections to a store that live as long as the block."""

    def session(most_connections: int) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Content-Type": MSGPACK, "Accept": MSGPACK},
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_S),
            connector=aiohttp.TCPConnector(
                limit=most_connections, keepalive_timeout=30, ttl_dns_cache=_ADDRESSES_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),  # the store asks for neither
        )

    async with session(_MOST_CONNECTIONS) as users, session(_MOST_VITAL_CONNECTIONS) as vital:
        yield StoreTransport(users, vital)
    await asyncio.sleep(0)  # aiohttp: lets the transports of closed connections go


def _span(method: str, path: str) -> tracing.Span:
    if not tracing.is_on():
        return tracing.NOTHING
    parts = path.split("/")
    parts[3::2] = ["{id}"] * len(parts[3::2])  # /v1/things/{id}/things/{id}
    route = "/".join(parts)
    attributes = {"http.request.method": method, "url.template": route}
    return tracing.span(f"{method} {route}", attributes, "client")


_MOST_CONNECTIONS = 32
_MOST_VITAL_CONNECTIONS = 8
_CONNECT_S = 3
"""Longest wait for a connection: a machine that is gone says nothing at all."""
_ADDRESSES_S = 1
"""How long the store's addresses are good: less than it takes to replace one store after the other."""
_JSON = "application/json"
_FIRST_ERROR = 400
_OWN_FAULT = frozenset({401, 500, 502, 503, 504})
"""Answers that are no fault of the caller: a wrong service token is our own misconfiguration."""

_PROBLEM = msgspec.json.Decoder(Problem)
_NIL = b"\xc0"
