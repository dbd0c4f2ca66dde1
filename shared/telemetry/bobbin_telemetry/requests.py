"""Requests by name: an id that whoever calls may give, that both services log, and that the answer carries.

With `ACCESS_LOG` a line for each request, once its answer has ended. It names the route, not the path: the
URLs of files are as good as passwords.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import time
from collections.abc import Awaitable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final, cast

import structlog

from bobbin_telemetry.asgi import Application, Message, Receive, Scope, Send

log = structlog.stdlib.get_logger()

REQUEST_ID_HEADER: Final = "X-Request-Id"

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The id of the request that is being served, or that has begun this task; empty if there is none."""
    return _request_id.get()


class NamedRequests:
    """ASGI middleware around a whole application."""

    def __init__(self, app: Application, *, access_log: bool) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request under its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given(scope["headers"]) or _new_id()
        token = _request_id.set(request_id)
        answering = Answering(send, request_id)
        began = time.perf_counter()
        try:
            await self._app(scope, receive, answering)
        finally:
            if self._access_log:
                _log_request(scope, answering, time.perf_counter() - began)
            _request_id.reset(token)


class Answering:
    """An ASGI `send` that adds the id to the head of the answer."""

    __slots__ = ("_request_id", "_send", "head")

    def __init__(self, send: Send, request_id: str) -> None:
        self.head: Message | None = None
        self._request_id = request_id
        self._send = send

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a part of the answer."""
        if self.head is None and message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (_HEADER, self._request_id.encode())]
            self.head = message
        return self._send(message)


def with_body_send(app: Application) -> Application:
    """The application, whose streams can pass by all that is put around its `send` on the way in.

    Those layers look at the head of an answer only, but each of them costs every event a call.
    """

    def serve(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        scope[_BODY_SEND] = send
        return app(scope, receive, send)

    return serve


def body_send(scope: Mapping[str, object], send: Send) -> Send:
    """What to send the body of a stream with, once its head is sent."""
    return cast("Send", scope.get(_BODY_SEND, send))


def route_of(scope: Any) -> str:
    """The pattern of the path that was asked for, as Litestar finds it; empty for an unknown one."""
    return str(scope.get("path_template") or "")


def _given(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == _HEADER:
            return value.decode() if _SANE.fullmatch(value) else ""
    return ""


def _new_id() -> str:
    """An id that no other process makes, at next to no cost."""
    return f"{_maker.prefix}-{next(_maker.numbers):x}"


class _Maker:
    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.prefix = secrets.token_hex(8)
        self.numbers = itertools.count(1)


def _log_request(scope: Scope, answering: Answering, duration_s: float) -> None:
    route = route_of(scope)
    if route.startswith(_UNSAID):
        return
    head: Message = answering.head or {"status": 500, "headers": ()}
    ids = {
        name: value
        for name, value in scope.get("path_params", {}).items()
        if name.endswith("_id") and isinstance(value, str) and _SANE.fullmatch(value.encode())
    }
    turn_id = next((value.decode() for name, value in head["headers"] if name == _TURN_ID), None)
    if turn_id is not None:
        ids["turn_id"] = turn_id
    log.info(
        "request",
        method=scope["method"],
        route=route,
        status=head["status"],
        duration_ms=round(duration_s * 1000, 1),
        **ids,
    )


_maker: Final = _Maker()
os.register_at_fork(after_in_child=_maker.renew)
_BODY_SEND: Final = "bobbin.body_send"
_HEADER: Final = REQUEST_ID_HEADER.lower().encode()
_TURN_ID: Final = b"chatkit-turn-id"
_SANE: Final = re.compile(rb"[A-Za-z0-9._:=+/\-]{1,128}")
_UNSAID: Final = ("/health", "/metrics")
"""Routes that something asks for every few seconds."""
