"""Every error as an RFC 9457 problem: one table from what went wrong to what the caller is told."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeAlias

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from bobbin_protocol.problem import MEDIA_TYPE, Problem, ProblemCode
from bobbin_protocol.store import OWNER_HEADER
from bobbin_protocol.wire import encode_json
from bobbin_store.errors import (
    Conflict,
    InvalidRequest,
    KeyReused,
    LeaseLost,
    NoPendingCall,
    NotFound,
    NotPending,
    StoreError,
    ThreadClosed,
    ThreadLocked,
    TurnRunning,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    WrongSender,
)
from bobbin_telemetry.requests import route_of

log = structlog.stdlib.get_logger()

AnyRequest: TypeAlias = "Request[Any, Any, Any]"

RETRY_AFTER_S = 1

MISSING_PARAMETER = re.compile(r"Missing required \w+ parameter '([^']+)'")
"""How Litestar says it; the rest of its sentence repeats the URL."""


class Kind(NamedTuple):
    status: int
    code: ProblemCode
    title: str


KINDS: dict[type[StoreError], Kind] = {
    InvalidRequest: Kind(400, "invalid_request", "Invalid request"),
    WrongSender: Kind(400, "wrong_sender", "Wrong sender"),
    Unauthorized: Kind(401, "unauthorized", "Unauthorized"),
    NotFound: Kind(404, "not_found", "Not found"),
    Conflict: Kind(409, "conflict", "Conflict"),
    ThreadLocked: Kind(409, "thread_locked", "Thread locked"),
    ThreadClosed: Kind(409, "thread_closed", "Thread closed"),
    NoPendingCall: Kind(409, "no_pending_call", "No pending call"),
    NotPending: Kind(409, "not_pending", "Not pending"),
    TurnRunning: Kind(409, "turn_running", "Turn running"),
    LeaseLost: Kind(409, "lease_lost", "Lease lost"),
    UnsupportedMediaType: Kind(415, "unsupported_media_type", "Unsupported media type"),
    KeyReused: Kind(422, "key_reused", "Idempotency key reused"),
    Unavailable: Kind(503, "unavailable", "Unavailable"),
}

BY_STATUS: dict[int, Kind] = {
    KINDS[error].status: KINDS[error]
    for error in (InvalidRequest, Unauthorized, NotFound, Conflict, UnsupportedMediaType, Unavailable)
} | {
    405: Kind(405, "method_not_allowed", "Method not allowed"),
    413: Kind(413, "too_large", "Too large"),
}
INTERNAL = Kind(500, "internal", "Internal error")

HEADERS: dict[int, dict[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    503: {"Retry-After": str(RETRY_AFTER_S)},
}


def on_store_error(_: AnyRequest, error: StoreError) -> Response[bytes]:
    field, turn_id = getattr(error, "field", None), getattr(error, "turn_id", None)
    return _answer(KINDS[type(error)], str(error), field, turn_id=turn_id)


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Answer what the framework refuses: unknown routes, wrong methods and parameters, bodies too large."""
    kind = BY_STATUS.get(error.status_code, INTERNAL)
    match error:
        case ValidationException(extra=[{"key": "data"}, *_]):
            return _answer(kind, "The body is missing", "$")
        case ValidationException(extra=[{"message": str(message), "key": str(name)}, *_]):
            return _answer(kind, message, OWNER_HEADER if name == "owner" else name)
        case ValidationException(detail=detail):
            missing = MISSING_PARAMETER.match(detail)
            return _answer(kind, missing[0] if missing else detail, missing[1] if missing else None)
        case _ if kind is INTERNAL:
            return on_bug(request, error)
        case _:
            return _answer(kind, error.detail, None, error.headers)


def on_bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Tell the log everything and the caller nothing."""
    log.error("request failed", method=request.method, route=route_of(request.scope), exc_info=error)
    return _answer(INTERNAL, "Something went wrong in the store", None)


def _answer(
    kind: Kind,
    detail: str,
    field: str | None,
    headers: dict[str, str] | None = None,
    turn_id: str | None = None,
) -> Response[bytes]:
    problem = Problem(
        title=kind.title,
        status=kind.status,
        code=kind.code,
        detail=detail,
        message=detail,
        field=field,
        turn_id=turn_id,
    )
    return Response(
        encode_json(problem),
        status_code=kind.status,
        media_type=MEDIA_TYPE,
        headers=(headers or {}) | HEADERS.get(kind.status, {}),
    )
