"""Errors as problems: one shape, and nothing of the inside."""

from __future__ import annotations

import pytest
import structlog
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.testing import RequestFactory

from bobbin_gateway.auth import Unauthorized
from bobbin_gateway.http.problems import problem_of, problem_response
from bobbin_gateway.store import StoreUnavailable
from bobbin_protocol.requests import InvalidRequest


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("Expected `str`", "params.thread_id"), 400, "invalid_request"),
        (Unauthorized("Please sign in"), 401, "unauthorized"),
        (NotFoundException(), 404, "not_found"),
        (MethodNotAllowedException(), 405, "method_not_allowed"),
        (HTTPException(status_code=413, detail="Too large"), 413, "too_large"),
        (HTTPException(status_code=415, detail="Send JSON"), 415, "unsupported_media_type"),
        (StoreUnavailable("POST /v1/turns: connection refused"), 503, "unavailable"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
def test_every_error_has_a_status_a_code_and_a_message(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    assert problem.message == problem.detail != ""
    assert "secret" not in problem.message
    assert "/v1" not in problem.message


def test_bad_input_names_the_field() -> None:
    assert problem_of(InvalidRequest("Expected `str`", "params.thread_id")).field == "params.thread_id"


def test_what_a_bug_says_is_not_logged_and_what_a_store_says_is() -> None:
    request = RequestFactory().get("/chatkit")
    with structlog.testing.capture_logs() as logs:
        problem_response(request, ValueError("no such dish: what a user wrote"))
        problem_response(request, StoreUnavailable("POST /v1/turns: connection refused"))
    assert [entry["reason"] for entry in logs] == ["ValueError", "POST /v1/turns: connection refused"]
