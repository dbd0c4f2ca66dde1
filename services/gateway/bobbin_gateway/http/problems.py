"""Errors before the first byte of an answer: one table from what happened to an RFC 9457 problem."""

from __future__ import annotations

import structlog
from litestar import Response
from litestar.exceptions import HTTPException

from bobbin_gateway.agent import AgentError
from bobbin_gateway.auth import HttpRequest, KeysUnavailable, Unauthorized
from bobbin_gateway.files.attachments import AlreadyUploaded
from bobbin_gateway.files.blobs import BlobMissing, BlobsUnavailable
from bobbin_gateway.files.sniffing import WrongType
from bobbin_gateway.files.uploads import TooLarge, WrongSize
from bobbin_gateway.files.urls import BadUrl
from bobbin_gateway.store import StoreRefused, StoreUnavailable
from bobbin_gateway.turns.outcome import UNAVAILABLE, Draining
from bobbin_protocol.problem import MEDIA_TYPE, Problem, ProblemCode
from bobbin_protocol.requests import InvalidRequest
from bobbin_protocol.wire import encode_json
from bobbin_telemetry.requests import route_of

log = structlog.get_logger()


def problem_of(error: Exception) -> Problem:
    """What the caller is told about an error."""
    match error:
        case InvalidRequest():
            return _problem(400, "Invalid request", "invalid_request", str(error), field=error.field)
        case Unauthorized():
            return _problem(401, "Unauthorized", "unauthorized", str(error))
        case StoreRefused():
            return error.problem
        case StoreUnavailable() | Draining():
            return _problem(503, "Unavailable", "unavailable", UNAVAILABLE)
        case KeysUnavailable():
            return _problem(503, "Unavailable", "unavailable", "Sign-in cannot be checked right now")
        case AgentError():
            return _problem(422, "Agent failed", "agent_failed", error.message)
        case BadUrl() | AlreadyUploaded() | TooLarge() | WrongSize() | WrongType() | BlobMissing():
            return _file_problem(error)
        case BlobsUnavailable():
            return _problem(503, "Unavailable", "unavailable", "Files cannot be reached right now")
        case HTTPException():
            title, code = _HTTP.get(error.status_code, ("Invalid request", "invalid_request"))
            return _problem(error.status_code, title, code, error.detail)
        case _:
            return _problem(500, "Internal error", "internal", "Something went wrong on our side")


def _file_problem(
    error: BadUrl | AlreadyUploaded | TooLarge | WrongSize | WrongType | BlobMissing,
) -> Problem:
    """Why a file was not taken, or is not given."""
    match error:
        case BadUrl():
            return _problem(403, "Forbidden", "forbidden", str(error))
        case AlreadyUploaded():
            return _problem(409, "Conflict", "conflict", "The file has already been uploaded")
        case TooLarge():
            return _problem(413, "Too large", "too_large", str(error))
        case WrongSize():
            return _problem(400, "Invalid request", "invalid_request", str(error), field="body")
        case WrongType():
            return _problem(415, "Unsupported media type", "unsupported_media_type", str(error))
        case BlobMissing():
            return _problem(404, "Not found", "not_found", "There is no such file")


def problem_response(request: HttpRequest, error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    problem = problem_of(error)
    if problem.status >= _SERVER_FAULT:
        expected = isinstance(error, StoreUnavailable | BlobsUnavailable | KeysUnavailable | Draining)
        log.error(
            "request failed",
            route=route_of(request.scope),
            reason=str(error) if expected else type(error).__name__,
            exc_info=None if expected else error,
        )
    headers = {"Cache-Control": "no-store"}
    if problem.code in {"unavailable", "too_many_requests"}:
        headers["Retry-After"] = "1"
    if problem.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    return Response(encode_json(problem), status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _problem(status: int, title: str, code: ProblemCode, detail: str, *, field: str | None = None) -> Problem:
    return Problem(title=title, status=status, code=code, detail=detail, message=detail, field=field)


_SERVER_FAULT = 500
_HTTP: dict[int, tuple[str, ProblemCode]] = {
    404: ("Not found", "not_found"),
    405: ("Method not allowed", "method_not_allowed"),
    413: ("Too large", "too_large"),
    415: ("Unsupported media type", "unsupported_media_type"),
    500: ("Internal error", "internal"),
}
