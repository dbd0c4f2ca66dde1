"""Every failure of a model service: what the user reads, whether to try again, and what the log gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import httpx2
import openai
import pytest

from bobbin_gateway.openai_agent import failures

REQUEST = httpx2.Request("POST", "http://model/v1/responses")
SECRET = "org-secret sk-...1234"


def status_error(status: int, body: object = None, **headers: str) -> openai.APIStatusError:
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    return openai.APIStatusError(f"Error code: {status}", response=response, body=body)


@pytest.mark.parametrize(
    ("status", "body", "words", "allow_retry"),
    [
        (400, {"code": "context_length_exceeded"}, "too long", False),
        (400, {"message": "This model's maximum context length is 4096 tokens"}, "too long", False),
        (413, None, "too long", False),
        (400, {"code": "content_filter"}, "content filter", False),
        (400, {"code": "invalid_value"}, "could not use the request", False),
        (400, "plain text", "could not use the request", False),
        (401, {"code": "invalid_api_key"}, "key", False),
        (402, {"message": "pay"}, "credit", False),
        (403, None, "key", False),
        (404, {"code": "model_not_found"}, "not available", False),
        (404, "<html>", "not available", False),
        (408, None, "try again", True),
        (409, None, "try again", True),
        (422, {"message": "bad field"}, "could not use the request", False),
        (429, {"code": "rate_limit_exceeded"}, "busy", True),
        (429, {"code": "insufficient_quota"}, "credit", False),
        (429, {"code": None, "type": "insufficient_quota"}, "credit", False),
        (500, None, "has a problem", True),
        (502, "<html>", "has a problem", True),
        (503, {"error": {"message": "overloaded"}}, "has a problem", True),
        (529, {"type": "overloaded_error"}, "has a problem", True),
    ],
)
def test_a_refused_request(status: int, body: object, words: str, allow_retry: bool) -> None:
    failure = failures.from_exception(status_error(status, body))
    assert words in failure.message
    assert failure.allow_retry is allow_retry
    assert str(status) in failure.detail


def test_the_provider_s_words_go_into_the_record_and_neither_to_the_user_nor_to_the_log() -> None:
    body = {"message": SECRET, "code": "tool_use_failed", "failed_generation": SECRET}
    failure = failures.from_exception(status_error(400, body, **{"x-request-id": "req_7"}))
    assert SECRET not in failure.message
    assert SECRET in failure.detail
    assert "req_7" in failure.detail
    assert failure.logged == {
        "reason": "model_bad_request",
        "status": 400,
        "code": "tool_use_failed",
        "provider_request_id": "req_7",
    }
    in_stream = failures.from_stream({"error": {"message": SECRET, "code": SECRET, "status_code": 500}})
    assert in_stream.logged == {"reason": "model_server_error", "status": 500}
    assert failures.unreadable(SECRET).logged == {"reason": "model_unreadable"}
    assert SECRET not in str(failures.from_exception(aiohttp.ClientPayloadError(SECRET)).logged)


def test_what_the_operating_system_says_is_logged() -> None:
    failure = failures.from_exception(aiohttp.ClientOSError(111, "Connection refused"))
    assert failure.logged["reason"] == "model_unreachable"
    assert "Connection refused" in str(failure.logged["cause"])


def test_the_record_is_not_flooded() -> None:
    assert len(failures.from_exception(status_error(500, {"message": "x" * 10**6})).detail) < 10_000


@pytest.mark.parametrize(
    ("retry_after", "words"),
    [
        ("20", "in 20 seconds"),
        ("1.2", "in 2 seconds"),
        ("600", "in 10 minutes"),
        ("0", "in a moment"),
        ("-5", "in a moment"),
        ("soon", "in a moment"),
        ("inf", "in a moment"),
        ("", "in a moment"),
    ],
)
def test_a_busy_service_says_when_to_come_back(retry_after: str, words: str) -> None:
    failure = failures.from_exception(status_error(429, None, **{"retry-after": retry_after}))
    assert words in failure.message
    assert failure.allow_retry


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    wait_s = failures.retry_after_s({"retry-after": date})
    assert wait_s is not None
    assert 25 < wait_s <= 30


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (openai.APITimeoutError(REQUEST), "in time"),
        (httpx2.ReadTimeout("silence"), "in time"),
        (TimeoutError(), "in time"),
        (httpx2.ReadError("reset"), "broke off"),
        (httpx2.RemoteProtocolError("peer closed"), "broke off"),
        (aiohttp.ClientPayloadError("not whole"), "broke off"),
        (openai.APIConnectionError(request=REQUEST), "can't be reached"),
        (httpx2.ConnectError("refused"), "can't be reached"),
        (aiohttp.ClientError("odd"), "can't be reached"),
    ],
)
def test_trouble_on_the_way_may_be_over_at_the_next_try(error: Exception, words: str) -> None:
    assert isinstance(error, failures.TRANSPORT_ERRORS)
    failure = failures.from_exception(error)
    assert words in failure.message
    assert failure.allow_retry
    assert type(error).__name__ in failure.detail


def test_a_connection_that_the_package_takes_for_slow_is_named_as_refused() -> None:
    try:
        try:
            raise aiohttp.ClientConnectionError("refused")
        except aiohttp.ClientError as cause:
            raise openai.APITimeoutError(REQUEST) from cause
    except openai.APITimeoutError as error:
        failure = failures.from_exception(error)
    assert "can't be reached" in failure.message
    assert "refused" in failure.detail


@pytest.mark.parametrize(
    ("error", "words", "allow_retry"),
    [
        ({"error": {"code": "insufficient_quota"}}, "credit", False),
        ({"code": "context_length_exceeded", "message": "x"}, "too long", False),
        ({"code": 401}, "key", False),
        ({"code": "502"}, "has a problem", True),
        ({"type": "server_error"}, "has a problem", True),
        ({"code": "tool_use_failed", "status_code": 400}, "stopped with an error", True),
        ({"code": 12, "message": None}, "stopped with an error", True),
        ({"error": "boom"}, "stopped with an error", True),
        ("boom", "stopped with an error", True),
        (None, "stopped with an error", True),
    ],
)
def test_an_error_in_the_middle_of_an_answer(error: Any, words: str, allow_retry: bool) -> None:
    failure = failures.from_stream(error)
    assert words in failure.message
    assert failure.allow_retry is allow_retry
    assert repr(error) in failure.detail
