"""Calls of the thread store over HTTP: how they are sent, traced and measured, and what failures mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from time import monotonic
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlencode

import msgspec

from bobbin_gateway.metrics import STORE_CALL_SECONDS
from bobbin_gateway.store_connections import Address, Answer, Connections
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

    def __init__(self, address: Address, token: str, timeout_s: float) -> None:
        self._path = address.path
        self._headers = (
            f"Host: {address.authority}\r\nAuthorization: Bearer {token}\r\n"
            f"Accept: {MSGPACK}\r\nContent-Type: "
        )
        self._timeout_s = timeout_s
        self._connections = Connections(address, _MOST_CONNECTIONS)
        self._vital = Connections(address, _MOST_VITAL_CONNECTIONS)

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
        with _span(method, path) as span:
            request = self._request(method, path, owner_id, body, query)
            try:
                status, media_type, content = await self._exchange(request, vital=vital)
            except OSError as error:
                reason = str(error) or type(error).__name__
                raise StoreUnavailable(f"{method} {path}: {reason}") from error
            span.set({"http.response.status_code": status})
            if status < _FIRST_ERROR:
                try:
                    if content and media_type == _JSON:  # MessagePack could not hold it
                        return msgspec.json.decode(content, type=answer.type)
                    return answer.decode(content or _NIL)
                except msgspec.MsgspecError as error:  # a store of another version, or a proxy's own words
                    raise StoreUnavailable(f"{method} {path}: unreadable answer: {error}") from error
            raise _refusal(status, content, f"{method} {path}")

    async def _exchange(self, request: bytes, *, vital: bool) -> Answer:
        """Send a request; again if the store hung up, as on idle connections: every call may be repeated.

        Raises:
            OSError: It was in vain, or took too long.
        """
        connections = self._vital if vital else self._connections
        async with asyncio.timeout(self._timeout_s):
            try:
                return await connections.exchange(request)
            except TimeoutError:
                raise
            except OSError:
                return await connections.exchange(request, anew=True)

    def _request(
        self,
        method: str,
        path: str,
        owner_id: str | None,
        body: msgspec.Struct | StoredItem | None,
        query: dict[str, str] | None,
    ) -> bytes:
        headers = {} if owner_id is None else {OWNER_HEADER: owner_id}
        if request_id := current_request_id():
            headers[REQUEST_ID_HEADER] = request_id
        tracing.inject(headers)
        media_type = MSGPACK
        try:
            content = b"" if body is None else _encode(body)
        except OverflowError:  # MessagePack has no form for whole numbers above 64 bits
            content, media_type = encode_json(body), _JSON
        target = f"{path}?{urlencode(query)}" if query else path
        lines = [f"{method} {self._path}{target} HTTP/1.1\r\n{self._headers}{media_type}\r\n"]
        for name, value in headers.items():
            if not value.isprintable():
                raise ValueError(f"{name} has characters that no header can have")
            lines.append(f"{name}: {value}\r\n")
        lines.append(f"Content-Length: {len(content)}\r\n\r\n")
        return "".join(lines).encode() + content

    def close(self) -> None:
        """Hang up."""
        self._connections.close()
        self._vital.close()


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
    transport = StoreTransport(Address.of(url), token, timeout_s)
    try:
        yield transport
    finally:
        transport.close()


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
_JSON = "application/json"
_FIRST_ERROR = 400
_OWN_FAULT = frozenset({401, 500, 502, 503, 504})
"""Answers that are no fault of the caller: a wrong service token is our own misconfiguration."""

_PROBLEM = msgspec.json.Decoder(Problem)
_NIL = b"\xc0"
